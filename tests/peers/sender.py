# SPDX-License-Identifier: MPL-2.0
"""The usual OpenCV sender: sends a scaled clip as length-prefixed base64 JPEGs to one client.

Prints "port N" when it listens, "sent SHA256" for each JPEG, "frames N" at the end.
"""

import argparse
import hashlib
import socket
import sys

import cv2

import framing


def resize(picture, width):
    height = int(picture.shape[0] * width / picture.shape[1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def jpegs(clip, width, quality):
    capture = cv2.VideoCapture(clip)
    if not capture.isOpened():
        sys.exit(f"{clip}: OpenCV cannot open it")
    while True:
        good, picture = capture.read()
        if not good:
            return
        _, jpeg = cv2.imencode(".jpg", resize(picture, width), [cv2.IMWRITE_JPEG_QUALITY, quality])
        yield jpeg.tobytes()


def send(args, stream):
    count = 0
    for jpeg in jpegs(args.clip, args.width, args.quality):
        stream.write(framing.wrap(framing.encode(jpeg, args.payload), args.header))
        print("sent", hashlib.sha256(jpeg).hexdigest())
        count += 1
    print("frames", count)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    framing.add_arguments(parser)
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--quality", type=int, default=80)
    parser.add_argument("--record", metavar="FILE", help="write the stream to FILE instead")
    parser.add_argument("clip")
    args = parser.parse_args()

    if args.record:
        with open(args.record, "wb") as file:
            send(args, file)
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        print("port", server.getsockname()[1], flush=True)
        client, _ = server.accept()
    with client, client.makefile("wb") as stream:
        send(args, stream)


if __name__ == "__main__":
    main()
