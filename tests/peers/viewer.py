# SPDX-License-Identifier: MPL-2.0
"""The usual viewer: a Socket.IO client that decodes the JPEG of each event with OpenCV.

Prints "connected", and for each JPEG "frame [CAMERA] WIDTHxHEIGHT SHA256". Fails if OpenCV
cannot decode a JPEG.
"""

import argparse
import base64
import hashlib
import os
import traceback

import cv2
import numpy

import socketio_client


def show(picture, *camera):
    if isinstance(picture, str):
        _, _, text = picture.rpartition(",")  # without a prefix "data:image/jpeg;base64,"
        picture = base64.b64decode(text, validate=True)
    height, width = cv2.imdecode(numpy.frombuffer(picture, numpy.uint8), cv2.IMREAD_COLOR).shape[:2]
    print("frame", *camera, f"{width}x{height}", hashlib.sha256(picture).hexdigest(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    socketio_client.add_arguments(parser)
    args = parser.parse_args()
    client = socketio_client.client(args)

    @client.on("connect", namespace=args.namespace)
    def connect():
        print("connected", flush=True)

    @client.on(args.event, namespace=args.namespace)
    def stream(data):
        try:
            if isinstance(data, dict):
                for camera, picture in data.items():
                    show(picture, camera)
            else:
                show(data)
        except Exception:
            # Otherwise the client would continue after the exception.
            traceback.print_exc()
            os._exit(1)

    socketio_client.connect(client, args)
    client.wait()


if __name__ == "__main__":
    main()
