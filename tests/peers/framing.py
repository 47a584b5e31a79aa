# SPDX-License-Identifier: MPL-2.0
"""The framings that scripts use: every header with every payload."""

import base64
import struct

LENGTHS = {
    "be32": struct.Struct(">L"),
    "le32": struct.Struct("<L"),
    "be64": struct.Struct(">Q"),
    "le64": struct.Struct("<Q"),  # a plain "Q" or "L" on common machines
}
HEADERS = (*LENGTHS, "ascii16", "ascii16-zero", "lines", "none")
PAYLOADS = ("base64", "jpeg")

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def add_arguments(parser):
    parser.add_argument("--header", choices=HEADERS, default="be32")
    parser.add_argument("--payload", choices=PAYLOADS, default="base64")


def encode(jpeg, payload="base64"):
    return base64.b64encode(jpeg) if payload == "base64" else jpeg


def decode(body, payload="base64"):
    return base64.b64decode(body, validate=True) if payload == "base64" else body


def wrap(body, header="be32", length=None):
    """The frame around a body; `length` overrides the length in the header."""
    length = len(body) if length is None else length
    if header in LENGTHS:
        return LENGTHS[header].pack(length) + body
    if header == "ascii16":
        return str(length).ljust(16).encode() + body
    if header == "ascii16-zero":
        return str(length).zfill(16).encode() + body
    if header == "lines":
        return body + b"\n"
    return body


def bodies(stream, header="be32"):
    """Yields the body of each frame until the sender closes the connection."""
    if header == "lines":
        for line in stream:
            yield line.rstrip(b"\r\n")
    elif header == "none":
        yield from jpegs_back_to_back(stream)
    else:
        width = LENGTHS[header].size if header in LENGTHS else 16
        while head := stream.read(width):
            length = LENGTHS[header].unpack(head)[0] if header in LENGTHS else int(head)
            body = stream.read(length)
            if len(body) < length:
                raise EOFError(f"{len(body)} of {length} bytes, then the stream ended")
            yield body


def jpegs_back_to_back(stream):
    buffer = b""
    while data := stream.read1(65536):
        buffer += data
        while (end := buffer.find(EOI)) >= 0:
            yield buffer[buffer.find(SOI) : end + 2]
            buffer = buffer[end + 2 :]
    if buffer:
        raise EOFError(f"{len(buffer)} bytes of a JPEG, then the stream ended")
