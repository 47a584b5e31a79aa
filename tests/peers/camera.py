# SPDX-License-Identifier: MPL-2.0
"""The loop of a common camera process, for the benches: JPEG, base64, a Socket.IO event.

The film is a file of raw BGR frames of 1280x720, as OpenCV stores them, or a directory of
JPEGs. Executes commands from standard input and prints "done" after each: "wait ..." until
it is connected, "push COUNT RATE ..." to send COUNT frames.
"""

import argparse
import base64
import itertools
import pathlib
import sys
import time

import cv2
import numpy
import simplejpeg
import socketio

QUALITY = 80
ENCODERS = {
    "simplejpeg": lambda frame: simplejpeg.encode_jpeg(frame, QUALITY, "BGR", "420"),
    "cv2": lambda frame: cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1],
    None: lambda jpeg: jpeg,
}


def load(film):
    if film.is_dir():
        return [jpeg.read_bytes() for jpeg in sorted(film.glob("*.jpg"))]
    return list(numpy.fromfile(film, numpy.uint8).reshape(-1, 720, 1280, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=[name for name in ENCODERS if name])
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("url")
    parser.add_argument("film", type=pathlib.Path)
    args = parser.parse_args()

    encode = ENCODERS[args.encoder]
    frames = itertools.cycle(load(args.film))
    client = socketio.Client()
    client.connect(args.url)
    for line in sys.stdin:
        command, count, *more = line.split()
        if command == "push":
            due = time.monotonic()
            for frame in itertools.islice(frames, int(count)):
                time.sleep(max(0, due - time.monotonic()))
                due += 1 / float(more[0])
                jpeg = encode(frame)
                client.emit("stream", bytes(jpeg) if args.binary else base64.b64encode(jpeg).decode())
        print("done", flush=True)
    client.disconnect()


if __name__ == "__main__":
    main()
