# SPDX-License-Identifier: MPL-2.0
"""Serves numbered JPEGs through the sink of a pipeline, or with sendall.

Prints "port=N" when it listens, "begins" at the first frame, the client messages, and the
resources used after a tenth, half and all of the frames.
"""

import argparse
import base64
import socket
import threading
import time

import gi

from common import LENGTH, NumberedJpegs, stop_on_sigterm, measure, stamped, report_figures

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # GstApp adds methods to appsrc


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", help="serving elements, one of which is named sink")
    parser.add_argument("--sendall", metavar="HOST", help="serve one client on HOST with sendall, without a pipeline")
    parser.add_argument("--frames", type=int, default=1 << 40)
    parser.add_argument("--size", type=int, default=20000, help="bytes of a JPEG")
    parser.add_argument("--fps", type=float, default=0, help="0 for as fast as possible")
    parser.add_argument("--clients", type=int, default=0, help="wait for this many clients")
    parser.add_argument("--linger", type=float, default=0, help="seconds between EOS and NULL")
    return parser.parse_args()


def numbers(args, stop):
    """Yields the number of each frame when it is due."""
    marks = {args.frames // 10: "start", args.frames // 2: "middle", args.frames - 1: "end"}
    start = time.monotonic()
    print("begins", flush=True)
    for number in range(args.frames):
        if args.fps:
            time.sleep(max(0, start + number / args.fps - time.monotonic()))
        if stop.is_set():
            return
        yield number
        if number in marks:
            measure(marks[number])
    report_figures(seconds=time.monotonic() - start)


class Pipeline:
    def __init__(self, args):
        # With a frame rate, the source is live.
        live = "is-live=true do-timestamp=true" if args.fps else ""
        self.pipeline = Gst.parse_launch(
            f"appsrc name=src format=time block=true max-buffers=2 max-bytes=0 {live} "
            f"caps=image/jpeg,width=32,height=24,framerate=25/1 ! {args.sink}"
        )
        self.sink = self.pipeline.get_by_name("sink")
        self.sink.connect("client-added", self.on_client)
        self.clients = threading.Semaphore(0)
        self.ended = threading.Event()
        self.error = None
        self.bus = self.pipeline.get_bus()
        threading.Thread(target=self.listen, daemon=True).start()

    def on_client(self, *_):
        self.clients.release()

    def listen(self):
        while not self.ended.is_set():
            message = self.bus.timed_pop(Gst.SECOND // 10)
            if message is None:
                continue
            if message.type == Gst.MessageType.ELEMENT:
                print(message.get_structure().to_string(), flush=True)
            elif message.type in (Gst.MessageType.WARNING, Gst.MessageType.ERROR):
                text = message.get_structure().get_value("gerror").message
                print(message.type.first_value_nick, text, flush=True)
                if message.type == Gst.MessageType.ERROR:
                    self.error = text
            if message.type in (Gst.MessageType.EOS, Gst.MessageType.ERROR):
                self.ended.set()

    def serve(self, args, stop):
        source = self.pipeline.get_by_name("src")
        pictures = NumberedJpegs(args.size)
        self.pipeline.set_state(Gst.State.PLAYING)
        report_figures(port=self.sink.get_property("current-port"))
        for _ in range(args.clients):
            while not self.clients.acquire(timeout=0.1):
                if stop.is_set() or self.ended.is_set():
                    return
        for number in numbers(args, stop):
            if self.ended.is_set() or source.push_buffer(Gst.Buffer.new_wrapped(pictures.jpeg(number))):
                break
        source.end_of_stream()
        if not self.ended.wait(60):
            self.error = "no EOS within 60 s"
        time.sleep(args.linger)

    def run(self, args, stop):
        try:
            self.serve(args, stop)
        finally:
            self.pipeline.set_state(Gst.State.NULL)
        if self.error:
            raise SystemExit(self.error)


def sendall(args, stop):
    """Sends the newest frame each time, as from a camera, which does not wait."""
    pictures = NumberedJpegs(args.size)
    with socket.create_server((args.sendall, 0)) as server:
        report_figures(port=server.getsockname()[1])
        client, _ = server.accept()
    with client:
        start = time.monotonic()
        sent = -1
        print("begins", flush=True)
        while not stop.is_set():
            number = max(sent + 1, int((time.monotonic() - start) * args.fps))
            if number >= args.frames:
                return
            time.sleep(max(0, start + number / args.fps - time.monotonic()))
            text = base64.b64encode(stamped(pictures.jpeg(number), time.time_ns()))
            try:
                client.sendall(LENGTH.pack(len(text)) + text)
            except OSError:
                return
            sent = number


def main():
    args = parse_arguments()
    stop = stop_on_sigterm()
    if args.sendall:
        sendall(args, stop)
        return
    Gst.init(None)
    Pipeline(args).run(args, stop)


if __name__ == "__main__":
    main()
