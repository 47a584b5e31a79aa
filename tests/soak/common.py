# SPDX-License-Identifier: MPL-2.0
"""Shared by the programs of tests/soak.sh: numbered JPEGs, and output for the script."""

import base64
import os
import pathlib
import random
import signal
import struct
import threading

LENGTH = struct.Struct(">L")
SOI, COM = b"\xff\xd8", b"\xff\xfe"
STAMP = COM + b"\x00\x32b64jpeg capture-time-unix-ns="
STAMP_LEN = len(STAMP) + 19
DIGITS = 12


class NumberedJpegs:
    """JPEGs of `size` bytes that differ only in their number.

    The number and a filler are in a comment segment after SOI, aligned for base64, so that all
    other bytes can be compared.
    """

    def __init__(self, size):
        grey = pathlib.Path(__file__).parents[1].joinpath("vectors/grey.jpg").read_bytes()
        head = SOI + COM
        filler = size - len(head) - 2 - DIGITS - len(grey) + len(SOI)
        if not 0 <= filler <= 65000:
            raise SystemExit("a JPEG must have 400 to 65000 bytes")
        self.head = head + struct.pack(">H", 2 + DIGITS + filler)
        self.tail = random.Random(size).randbytes(filler) + grey[len(SOI) :]
        # The same parts within a frame.
        text = base64.b64encode(self.jpeg(0))
        self.wire_len = LENGTH.size + len(text)
        at = LENGTH.size + len(self.head) // 3 * 4
        self.wire_number = slice(at, at + DIGITS // 3 * 4)
        self.wire_head = LENGTH.pack(len(text)) + text[: at - LENGTH.size]
        self.wire_tail = text[self.wire_number.stop - LENGTH.size :]

    def jpeg(self, number):
        return self.head + b"%0*d" % (DIGITS, number) + self.tail

    def number_in_jpeg(self, jpeg):
        """The number of a JPEG with or without a capture time; None if a byte is wrong."""
        skip = STAMP_LEN if jpeg[2 : 2 + len(STAMP)] == STAMP else 0
        head, at = jpeg[2 + skip : skip + len(self.head)], skip + len(self.head)
        if jpeg[:2] + head != self.head or jpeg[at + DIGITS :] != self.tail:
            return None
        return int(jpeg[at : at + DIGITS])

    def number_in_frame(self, frame):
        """The number in a complete frame without a capture time; None if a byte is wrong."""
        number = self.wire_number
        if frame[: number.start] != self.wire_head or frame[number.stop :] != self.wire_tail:
            return None
        return int(base64.b64decode(frame[number]))


def stamped(jpeg, unix_ns):
    return SOI + STAMP + b"%019d" % unix_ns + jpeg[2:]


def report_figures(**figures):
    """Prints a line `name=value` for each figure."""
    for name, value in figures.items():
        print(f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}", flush=True)


def measure(when):
    """Reports CPU seconds, resident kilobytes and open files of this process."""
    times = os.times()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    report_figures(
        **{
            f"cpu_{when}": times.user + times.system,
            f"rss_{when}": pages * os.sysconf("SC_PAGESIZE") // 1024,
            # Without the descriptor of the listing itself.
            f"fds_{when}": len(os.listdir("/proc/self/fd")) - 1,
        }
    )


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def stop_on_sigterm():
    """Returns an event that is set by SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop
