# SPDX-License-Identifier: MPL-2.0
"""Sends the JPEGs of a recording (be32, base64) to one client, with a chosen fault at a chosen frame.

Prints "port N" when it listens. It is no error if the client disconnects early.
"""

import argparse
import pickle
import random
import socket

import framing

RANDOM = random.Random(2)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(500)


class Wire:
    """The framing of the stream, with headers that may contain a wrong length."""

    def __init__(self, header, payload):
        self.header, self.payload = header, payload

    def body(self, jpeg):
        return framing.encode(jpeg, self.payload)

    def frame(self, body, length=None):
        return framing.wrap(body, self.header, length)


def chops(stream, longest):
    start = 0
    while start < len(stream):
        end = start + RANDOM.randint(1, longest)
        yield stream[start:end]
        start = end


def flipped(body):
    return body[:100] + b"!" + body[101:]


def numpy_frame(protocol=None):
    """The output of `pickle.dumps(frame)` for an OpenCV frame."""
    import numpy  # only needed here, and slow to import

    return pickle.dumps(numpy.zeros((48, 64, 3), numpy.uint8), protocol)


# Valid streams, cut into pieces.
CHUNKED = {
    "chops": lambda stream: chops(stream, 5000),
    "bytes": lambda stream: chops(stream, 1),
}
# Bytes that replace one frame, made from its payload.
IN_A_STREAM = {
    "garbage": lambda wire, body: RANDOM.randbytes(1000) + wire.frame(body),
    "garbage-log-line": lambda wire, body: b"[ WARN] camera is slow\r\n" + wire.frame(body),
    "garbage-small-frame": lambda wire, body: wire.frame(b"keepalive") + wire.frame(body),
    "torn": lambda wire, body: wire.frame(body)[:200] + wire.frame(body),
    "beheaded": lambda wire, body: wire.frame(body)[200:],
    "zero-length": lambda wire, body: wire.frame(b"") + wire.frame(body),
    "length-4gib": lambda wire, body: wire.frame(body, 0xFFFF_FFFF),
    "length-50mib": lambda wire, body: wire.frame(body, 50 << 20),
    "length-short": lambda wire, body: wire.frame(body, len(body) - 3),
    "length-long": lambda wire, body: wire.frame(body, len(body) + 3),
    "length-far-too-long": lambda wire, body: wire.frame(body, len(body) + 1000),
    "not-a-jpeg": lambda wire, body: wire.frame(wire.body(PNG)),
    "flipped-character": lambda wire, body: wire.frame(flipped(body)),
}
# Bytes that replace one frame and end the stream.
AT_THE_END = {
    "stop-in-frame": lambda wire, body: wire.frame(body)[:1000],
    "stop-in-header": lambda wire, body: wire.frame(body)[:3],
    "all-flipped": lambda wire, body: wire.frame(flipped(body)) * 30,
}
# Foreign data from the first byte on.
FOREIGN = {
    "pickle": lambda: numpy_frame(),
    "pickle-protocol-0": lambda: numpy_frame(0),
    "pickle-be32": lambda: framing.wrap(numpy_frame(), "be32"),
    "pickle-native": lambda: framing.wrap(numpy_frame(), "le64"),
    "http": lambda: b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html></html>\n",
    "multipart": lambda: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    "data-url": lambda: b"data:image/jpeg;base64,",
}


def chunks(fault, wire, jpegs, at):
    bodies = [wire.body(jpeg) for jpeg in jpegs]
    before, after = ([wire.frame(body) for body in part] for part in (bodies[:at], bodies[at + 1 :]))
    if fault in IN_A_STREAM:
        return [*before, IN_A_STREAM[fault](wire, bodies[at]), *after]
    if fault in AT_THE_END:
        return [*before, AT_THE_END[fault](wire, bodies[at])]
    if fault in FOREIGN:
        return [FOREIGN[fault](), *bodies]
    return CHUNKED[fault](b"".join(wire.frame(body) for body in bodies))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    framing.add_arguments(parser)
    parser.add_argument("--at", type=int, default=0, help="the frame, counted from 0")
    parser.add_argument("fault", choices=[*CHUNKED, *IN_A_STREAM, *AT_THE_END, *FOREIGN])
    parser.add_argument("recording")
    args = parser.parse_args()

    with open(args.recording, "rb") as file:
        jpegs = [framing.decode(text) for text in framing.bodies(file)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        print("port", server.getsockname()[1], flush=True)
        client, _ = server.accept()
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for chunk in chunks(args.fault, Wire(args.header, args.payload), jpegs, args.at):
                client.sendall(chunk)
        except ConnectionError:
            pass


if __name__ == "__main__":
    main()
