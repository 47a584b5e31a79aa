# SPDX-License-Identifier: MPL-2.0
"""The usual OpenCV receiver, which compares each decoded frame with that of the clip.

Prints "frame WIDTHxHEIGHT PSNR SHA256" for each JPEG and "frames N" at the end.
Fails on a truncated frame and on a JPEG that OpenCV cannot decode.
"""

import argparse
import hashlib
import socket
import struct
import sys

import cv2
import numpy

import framing


def bodies_as_most_do(server):
    """The loop of most scripts. It never ends if the server closes inside a frame."""
    data = b""
    while True:
        while len(data) < 4:
            packet = server.recv(4096)
            if not packet:
                return
            data += packet
        size = struct.unpack(">L", data[:4])[0]
        data = data[4:]
        while len(data) < size:
            data += server.recv(4096)
        yield data[:size]
        data = data[size:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    framing.add_arguments(parser)
    parser.add_argument("--as-most-do", action="store_true", help="read as most scripts do; be32 only")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("clip")
    args = parser.parse_args()

    clip = cv2.VideoCapture(args.clip)
    count = 0
    with socket.create_connection(("127.0.0.1", args.port)) as server, server.makefile("rb") as stream:
        bodies = bodies_as_most_do(server) if args.as_most_do else framing.bodies(stream, args.header)
        for body in bodies:
            jpeg = framing.decode(body, args.payload)
            picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                sys.exit(f"frame {count}: imdecode returned None")
            good, source = clip.read()
            if not good:
                sys.exit(f"frame {count}: the clip has ended")
            height, width = picture.shape[:2]
            source = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
            psnr = cv2.PSNR(picture, source)
            print("frame", f"{width}x{height}", f"{psnr:.2f}", hashlib.sha256(jpeg).hexdigest())
            count += 1
    print("frames", count)


if __name__ == "__main__":
    main()
