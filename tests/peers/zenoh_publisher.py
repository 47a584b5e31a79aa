# SPDX-License-Identifier: MPL-2.0
"""Publishes data with Zenoh that no camera sends, and JPEGs without or with false caps."""

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
parser.add_argument("--picture", type=pathlib.Path, help="a JPEG to send, whole or damaged")
parser.add_argument("key")
parser.add_argument("what", nargs="+")


def sample(what, picture):
    """The payload and the attachment of a sample."""
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
            # In the announcement of a camera: code for the shell, for gst-launch-1.0, for a terminal.
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
    sys.exit(f"unknown sample {what!r}")


def main():
    args = parser.parse_args()
    config = zenoh.Config()
    options = {"mode": args.mode, "scouting/multicast/enabled": False}
    for side, endpoint in [("connect", args.connect), ("listen", args.listen)]:
        options[f"{side}/endpoints"] = [endpoint] if endpoint else []
    if args.tls:
        certificate, key, authority = args.tls
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
    except Exception as error:  # the type differs between versions
        print("refused:", error)
        return
    # Time for the subscribers to be discovered.
    time.sleep(1)
    print("connected", flush=True)
    picture = args.picture.read_bytes() if args.picture else None
    for what in args.what:
        payload, attachment = sample(what, picture)
        more = {"attachment": attachment} if attachment else {}
        for _ in range(5):
            session.put(args.key, payload, **more)
            time.sleep(0.05)
        print("sent", what, flush=True)
    # Time for the data to be sent.
    time.sleep(1)
    session.close()
    print("done")


main()
