# SPDX-License-Identifier: MPL-2.0
"""Decodes a stream from a server or a file with OpenCV, and writes its frames as RGB to a file."""

import argparse
import socket
import sys

import cv2
import numpy

import framing


def decode_stream(stream, out):
    for count, body in enumerate(framing.bodies(stream)):
        jpeg = numpy.frombuffer(framing.decode(body), numpy.uint8)
        picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        if picture is None:
            sys.exit(f"frame {count}: imdecode returned None")
        out.write(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--port", type=int)
    source.add_argument("--file")
    parser.add_argument("out")
    args = parser.parse_args()

    with open(args.out, "wb") as out:
        if args.file:
            with open(args.file, "rb") as stream:
                decode_stream(stream, out)
            return
        with socket.create_connection(("127.0.0.1", args.port)) as server, server.makefile("rb") as stream:
            decode_stream(stream, out)


if __name__ == "__main__":
    main()
