# SPDX-License-Identifier: MPL-2.0
"""Publishes with Zenoh what no camera sends, and pictures of which nothing else is told."""

import argparse
import json
import pathlib
import sys
import time

import zenoh

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--mode", default="client")
parser.add_argument("--connect")
parser.add_argument("--listen")
parser.add_argument("--tls", nargs=3, metavar=("CERT", "KEY", "CA"))
parser.add_argument("--picture", type=pathlib.Path, help="a JPEG to send, or to make worse")
parser.add_argument("key")
parser.add_argument("what", nargs="+")


def sample(what, picture):
    """What is published, and what is attached to it."""
    match what:
        case "text":
            return b"hello, camera", None
        case "zeros":
            return bytes(50_000), None
        case "nothing":
            return b"", None
        case "beginning":
            return picture[:20], None
        case "picture":
            return picture, None
        case "20 MB":
            return picture[:2] + bytes(20 << 20), None
        case "hello":
            return b"hello cam/good/jpeg x\n", None
        case "evil":
            # As a camera's hello: for the shell, for gst-launch-1.0, for a terminal.
            keys = ["$(touch evil)", "`touch evil`", "\\", 'evil" ! evil', "\x1b[31mevil"]
            lines = [f"hello cam/{key}/jpeg x\n" for key in keys]
            lines += ["WARNING: session initialization failed: \x1b[31mevil at /x\n"]
            return "".join(lines).encode(), None
        case "garbage attached":
            return picture, b"\x00\xff" * 100
        case "false caps":
            return picture, b"gst.version=1.1\ngst.caps=video/x-raw,format=RGB,width=1,height=1\n"
        case "open caps":
            return picture, b"gst.version=1.1\ngst.caps=image/jpeg,width=[1,100]\n"
        case "endless caps":
            return picture, b"gst.version=1.1\ngst.caps=a/b,c=" + b"<" * 20_000 + b"\n"
    sys.exit(f"what is {what!r}?")


def main():
    asked = parser.parse_args()
    config = zenoh.Config()
    options = {"mode": asked.mode, "scouting/multicast/enabled": False}
    for side, endpoint in [("connect", asked.connect), ("listen", asked.listen)]:
        options[f"{side}/endpoints"] = [endpoint] if endpoint else []
    if asked.tls:
        certificate, key, authority = asked.tls
        options["transport/link/tls"] = {
            "root_ca_certificate": authority,
            "enable_mtls": True,
            "connect_certificate": certificate,
            "connect_private_key": key,
        }
    for name, value in options.items():
        config.insert_json5(name, json.dumps(value))
    try:
        session = zenoh.open(config)
    except Exception as error:  # what it is differs between versions
        print("not let in:", error)
        return
    # Until whoever wants it has been heard of.
    time.sleep(1)
    print("let in", flush=True)
    picture = asked.picture.read_bytes() if asked.picture else None
    for what in asked.what:
        payload, attachment = sample(what, picture)
        more = {"attachment": attachment} if attachment else {}
        for _ in range(5):
            session.put(asked.key, payload, **more)
            time.sleep(0.05)
        print("sent", what, flush=True)
    # Until it has gone out.
    time.sleep(1)
    session.close()
    print("done")


main()
