# SPDX-License-Identifier: MPL-2.0
"""Encodes cases.json with python-socketio to python.txt, or compares it with --check.

Each line is an Engine.IO payload: packets separated by 1e, binary ones as base64 after a "b".
"""

import base64
import json
import sys
from pathlib import Path

from engineio.packet import MESSAGE, Packet, packet_names
from engineio.payload import Payload
from socketio.packet import Packet as SocketPacket

HERE = Path(__file__).parent


def value(data):
    if isinstance(data, dict):
        if "$binary" in data:
            return base64.b64decode(data["$binary"])
        return {key: value(item) for key, item in data.items()}
    return [value(item) for item in data] if isinstance(data, list) else data


def packets(case):
    if "engine" in case:
        kind = packet_names.index(case["engine"].upper())
        return [Packet(kind, case.get("data"))]
    data = value(case["data"]) if "data" in case else None
    parts = SocketPacket(case["type"], data, case["nsp"], case.get("id")).encode()
    return [Packet(MESSAGE, part) for part in (parts if isinstance(parts, list) else [parts])]


cases = json.loads(HERE.joinpath("cases.json").read_text("utf-8"))
text = "".join(Payload(packets(case)).encode() + "\n" for case in cases)
python = HERE / "python.txt"
if "--check" not in sys.argv:
    python.write_text(text, "utf-8")
elif python.read_text("utf-8") != text:
    sys.exit("python.txt differs from the output of python-socketio")
