# SPDX-License-Identifier: MPL-2.0
"""Writes the golden streams and their manifest, or compares them with --check.

The JPEGs were made once with OpenCV. Each has a different base64 padding and a different
feature: restart.jpg has restart markers (no padding), grey.jpg has one component (=),
thumbnail.jpg is progressive and contains a whole JPEG in a JFXX segment (==).
"""

import argparse
import base64
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "peers"))

import framing

NAMES = ("restart.jpg", "grey.jpg", "thumbnail.jpg")
JPEGS = [HERE.joinpath(name).read_bytes() for name in NAMES]

MANIFEST = """\
# file, header, payload, whether our encoder writes these bytes (exact) or our
# decoder only reads them (accepted), and the JPEGs it holds in order
"""


def stream(header, payload):
    return b"".join(framing.wrap(framing.encode(jpeg, payload), header) for jpeg in JPEGS)


def altered(change, header="be32"):
    return b"".join(framing.wrap(change(framing.encode(jpeg)), header) for jpeg in JPEGS)


def vectors():
    """Yields name, header, payload, exact, bytes."""
    for payload in framing.PAYLOADS:
        for header in (*framing.LENGTHS, "ascii16"):
            yield f"{header}-{payload}", header, payload, True, stream(header, payload)
        yield f"ascii16-zero-{payload}", "ascii16", payload, False, stream("ascii16-zero", payload)
    yield "lines-base64", "lines", "base64", True, stream("lines", "base64")
    yield "none-jpeg", "none", "jpeg", True, stream("none", "jpeg")

    # Variants that some senders write and Python's own decoder accepts.
    odd = {
        "be32-unpadded": altered(lambda text: text.rstrip(b"=")),
        "be32-line-breaks": altered(lambda text: base64.encodebytes(base64.b64decode(text))),
        "be32-zero-lengths": b"".join(
            # Not in front of the first frame: the stream would begin like be64 then.
            framing.wrap(framing.encode(jpeg)) + bytes(zeros)
            for jpeg, zeros in zip(JPEGS, (8, 0, 4))
        ),
        "lines-crlf": altered(lambda text: text + b"\r", "lines"),
        "lines-blank": altered(lambda text: text + b"\n", "lines"),
    }
    for name, data in odd.items():
        yield name, name.split("-")[0], "base64", False, data


def files():
    manifest = MANIFEST
    made = {}
    for name, header, payload, exact, data in vectors():
        made[f"{name}.bin"] = data
        kind = "exact" if exact else "accepted"
        manifest += f"{name}.bin {header} {payload} {kind} {' '.join(NAMES)}\n"
    return {"manifest.txt": manifest.encode(), **made}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()

    made = files()
    if not args.check:
        for name, data in made.items():
            HERE.joinpath(name).write_bytes(data)
        return
    found = {path.name: path.read_bytes() for path in HERE.iterdir() if path.suffix in (".bin", ".txt")}
    wrong = sorted(name for name in found.keys() | made.keys() if found.get(name) != made.get(name))
    if wrong:
        sys.exit(f"differs from the output of {Path(__file__).name}: {' '.join(wrong)}")


if __name__ == "__main__":
    main()
