# SPDX-License-Identifier: MPL-2.0
"""The usual pair of OpenCV programs without their window: a sender and a receiver.

send CLIP prints "port N" when it listens. Each frame is scaled as `imutils.resize` does it.
receive PORT prints "frame=N" after every tenth frame.

With --live SECONDS the sender is a camera that repeats the first frames of the clip, and
the receiver prints the age of its frames in microseconds every SECONDS:
"decoded MEDIAN P99 MAX". The capture time follows the JPEG, where decoders ignore it.
"""

import argparse
import base64
import itertools
import socket
import struct
import time

import cv2
import numpy

WIDTH, QUALITY = 800, 80
FILM, RATE = 30, 30


def frames(clip):
    capture = cv2.VideoCapture(clip)
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield frame


def camera(clip):
    film = list(itertools.islice(frames(clip), FILM))
    due = time.monotonic()
    for frame in itertools.cycle(film):
        time.sleep(max(0, due - time.monotonic()))
        due += 1 / RATE
        yield frame


def send(clip, live):
    with socket.create_server(("127.0.0.1", 0)) as server:
        print("port", server.getsockname()[1], flush=True)
        client, _ = server.accept()
    with client:
        for frame in camera(clip) if live else frames(clip):
            stamp = struct.pack(">Q", time.time_ns()) if live else b""
            height, width = frame.shape[:2]
            size = (WIDTH, int(height * (WIDTH / float(width))))
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            text = base64.b64encode(jpeg.tobytes() + stamp if stamp else jpeg)
            client.sendall(struct.pack(">L", len(text)) + text)


def receive(port, live):
    ages, begin = [], time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as server, server.makefile("rb") as stream:
        for count in itertools.count(1):
            header = stream.read(4)
            if not header:
                return
            jpeg = base64.b64decode(stream.read(struct.unpack(">L", header)[0]))
            picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            if not live:
                if count % 10 == 0:
                    print(f"frame={count}", flush=True)
                continue
            ages.append((time.time_ns() - struct.unpack(">Q", jpeg[-8:])[0]) // 1000)
            if time.monotonic() > begin + live:
                ages.sort()
                print("decoded", ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1], flush=True)
                ages, begin = [], begin + live


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=float, default=0, metavar="SECONDS")
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("what", metavar="CLIP|PORT")
    args = parser.parse_args()
    if args.role == "send":
        send(args.what, args.live)
    else:
        receive(int(args.what), args.live)


if __name__ == "__main__":
    main()
