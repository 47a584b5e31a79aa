# SPDX-License-Identifier: MPL-2.0
"""The usual camera process: a Socket.IO client that emits the frames of a clip repeatedly.

Prints "connected", and for each JPEG "sent [CAMERA] SHA256". Pauses while it is not
connected. First it emits each line of JSON from standard input.
"""

import argparse
import base64
import hashlib
import itertools
import json
import sys
import time

import socketio_client
from sender import jpegs

FORMS = {
    "base64": lambda jpeg: base64.b64encode(jpeg).decode(),
    "base64-bytes": base64.b64encode,  # as scripts send it that omit decode()
    "url": lambda jpeg: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
    "binary": lambda jpeg: jpeg,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    socketio_client.add_arguments(parser)
    parser.add_argument("--form", choices=FORMS, action="append", help="several take turns")
    parser.add_argument("--camera", action="append", default=[], help="may be repeated; frames are then sent in a dict")
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("clip")
    args = parser.parse_args()

    forms = itertools.cycle(args.form or ["base64"])
    frames = itertools.cycle(list(jpegs(args.clip, args.width, 80)))

    def frame(form, *camera):
        jpeg = next(frames)
        print("sent", *camera, hashlib.sha256(jpeg).hexdigest(), flush=True)
        return FORMS[form](jpeg)

    client = socketio_client.client(args)

    @client.on("connect", namespace=args.namespace)
    def connect():
        print("connected", flush=True)

    socketio_client.connect(client, args)
    for line in sys.stdin:
        client.emit(args.event, json.loads(line), namespace=args.namespace)
    for form in forms:
        time.sleep(1 / args.fps)
        if args.namespace not in client.namespaces:
            continue
        data = {camera: frame(form, camera) for camera in args.camera} or frame(form)
        client.emit(args.event, data, namespace=args.namespace)


if __name__ == "__main__":
    main()
