# SPDX-License-Identifier: MPL-2.0
"""Receives numbered JPEGs through the source of a pipeline until EOS or SIGTERM.

Prints "begins N" at each start of the stream (DISCONT), the connection messages of the
source, and at the end the counts, the delays by capture time, and the resources used.
A damaged frame, a frame out of order, or an error of the pipeline is a failure.
"""

import argparse
import time

import gi

from common import NumberedJpegs, stop_on_sigterm, measure, percentile, report_figures

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # GstApp adds methods to appsink


class Watcher:
    def __init__(self, args):
        self.pictures = NumberedJpegs(args.size)
        self.frames = self.begun = self.missing = 0
        self.last = None
        self.delays = []
        # Frame numbers at which to measure the resources.
        self.marks = {args.frames // 10: "start", args.frames // 2: "middle"}
        self.pipeline = Gst.parse_launch(f"{args.source} ! appsink name=sink sync=false max-buffers=4")
        self.sink = self.pipeline.get_by_name("sink")
        self.bus = self.pipeline.get_bus()

    def picture(self, buffer):
        number = self.pictures.number_in_jpeg(buffer.extract_dup(0, buffer.get_size()))
        if number is None:
            raise SystemExit(f"damaged after {self.frames} frames: {buffer.get_size()} bytes")
        if buffer.has_flags(Gst.BufferFlags.DISCONT):
            self.begun += 1
            print("begins", number, flush=True)
        elif number <= self.last:
            raise SystemExit(f"frame {self.last} is followed by {number}")
        else:
            self.missing += number - self.last - 1
        self.last = number
        self.frames += 1
        if meta := buffer.get_reference_timestamp_meta(None):
            self.delays.append((time.time_ns() - meta.timestamp) / 1e6)
        if self.frames in self.marks:
            measure(self.marks[self.frames])

    def messages(self):
        """Prints the messages on the bus; returns the error, if there is one."""
        while message := self.bus.pop():
            if message.type == Gst.MessageType.ELEMENT:
                print(message.get_structure().to_string(), flush=True)
            elif message.type in (Gst.MessageType.WARNING, Gst.MessageType.ERROR):
                text = message.get_structure().get_value("gerror").message
                print(message.type.first_value_nick, text, flush=True)
                if message.type == Gst.MessageType.ERROR:
                    return text
        return None

    def run(self, stop):
        error = None
        self.pipeline.set_state(Gst.State.PLAYING)
        while not (stop.is_set() or error or self.sink.is_eos()):
            if sample := self.sink.try_pull_sample(Gst.SECOND // 10):
                self.picture(sample.get_buffer())
            error = self.messages()
        self.report()
        self.pipeline.set_state(Gst.State.NULL)
        if error:
            raise SystemExit(error)

    def report(self):
        measure("end")
        report_figures(frames=self.frames, begun=self.begun, missing=self.missing)
        third = len(self.delays) // 3
        if third:
            for when, delays in (("early", self.delays[:third]), ("late", self.delays[-third:])):
                for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1)):
                    report_figures(**{f"{when}_{name}": round(percentile(delays, share))})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="elements that produce image/jpeg")
    parser.add_argument("--size", type=int, default=20000, help="bytes of a JPEG")
    parser.add_argument("--frames", type=int, default=0, help="expected number of frames")
    args = parser.parse_args()
    Gst.init(None)
    Watcher(args).run(stop_on_sigterm())


if __name__ == "__main__":
    main()
