#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Computes the tables of scale.md: how many machines a number of viewers needs.

    docs/scale.py           prints them
    docs/scale.py --write   writes them to scale.md
    docs/scale.py --check   fails if the tables in scale.md differ

The measurements are in scale.json, which `cargo bench --bench scale -- --json
docs/scale.json` writes. The constants below are the assumptions.
"""

import json
import pathlib
import re
import sys
from math import ceil

HERE = pathlib.Path(__file__).parent
MEASURED = json.loads((HERE / "scale.json").read_text())

VIEWERS = [10, 1_000, 100_000]
NICS = [1, 10]  # Gbit/s
# The share of a network interface or a processor that is used: the rest is for bursts and
# other programs.
FILL = 0.7
# Bytes on Ethernet for each byte in TCP: a frame of 1538 bytes, with gap, headers and timestamps,
# carries 1448.
WIRE = 1538 / 1448
# Zenoh accepts 1000 sessions (transport.unicast.max_sessions), and each edge uses two.
MOST_EDGES = 1000 // 2

PICTURE = MEASURED["picture"]
RATE = MEASURED["rate"]
BASE64 = 4 * ceil(PICTURE / 3) + 4
PROTOCOLS = {"tcp": ("TCP, base64", BASE64), "web": ("web, binary", PICTURE), "mjpeg": ("MJPEG", PICTURE)}

# Bytes of a JPEG of a film at 800x450, and at other qualities and widths.
FILM = 52_620
SMALLER = [("quality 50", 31_343), ("640 wide", 38_787), ("400 wide", 21_973)]
# Mbit/s that Apple recommends for H.264 at 960x540.
H264 = 2.0


def rows(table, **fields):
    """The measurements with these values in their fields."""
    wanted = {"table": table, **fields}
    return [row for row in MEASURED["rows"] if wanted.items() <= row.items()]


def line(points):
    """The straight line through points: its value at zero, and its slope."""
    count = len(points)
    x, y = (sum(values) / count for values in zip(*points))
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return y - slope * x, slope


def cost(machine, table, by, what="us", **fields):
    return line([(row[by], row[machine][what]) for row in rows(table, **fields)])


def mbit(size, rate=RATE):
    """The bandwidth of a stream of frames."""
    return size * 8 * rate * WIRE / 1e6


def fitting(size, nic, rate=RATE):
    """How many streams one network interface can send."""
    return int(FILL * nic * 1000 / mbit(size, rate))


def cores(machine_cost, streams):
    base, each = machine_cost
    return (base + each * streams) * RATE / 1e6


def last(size, streams, nic):
    """The time until the last copy of a frame has been sent, in ms."""
    return size * 8 * WIRE * streams / nic / 1e6


ORIGIN = cost("origin", "edges", "edges", way="zenoh", routers=0)
ROUTER = cost("router", "edges", "edges", way="zenoh", routers=1)
EDGE = {door: cost("edge", "viewers", "viewers", door=door) for door in PROTOCOLS}


def delay(routers):
    """The delay that the programs add until a viewer has a frame, in ms."""
    (row,) = rows("edges", way="zenoh", routers=routers, edges=1)
    return row["seen_ms"][0]


class Plan:
    """The machines for a number of viewers."""

    def __init__(self, viewers, nic, size):
        self.per_edge = fitting(size, nic)
        # One machine is both origin and edge.
        self.edges = 0 if viewers <= self.per_edge else ceil(viewers / self.per_edge)
        fan_out = min(fitting(PICTURE, nic), MOST_EDGES)
        self.tiers = []
        below = self.edges
        while below > fan_out:
            below = ceil(below / fan_out)
            self.tiers.insert(0, below)
        # An origin is connected to one router at a time.
        if below > 1 and self.tiers:
            self.tiers.insert(0, 1)
        # The number of copies that each tier sends to the next one.
        tiers = [1, *self.tiers, *([self.edges] if self.edges else []), viewers]
        self.streams = [ceil(low / high) for high, low in zip(tiers, tiers[1:])]
        self.machines = sum(tiers[:-1])
        sizes = [PICTURE] * (len(self.streams) - 1) + [size]
        # The programs, then the link of each tier, in whole ms, so that the sums agree.
        delays = [delay(min(len(self.tiers), 2))]
        delays += [last(size, streams, nic) for size, streams in zip(sizes, self.streams)]
        self.delays = [round(delay) for delay in delays]


def table(head, lines):
    """A table in Markdown; the first column is text."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in [head, rule, *lines])


def count(number):
    return f"{number:,}"


def rate(megabits):
    return f"{megabits / 1000:.1f} Gbit/s" if megabits >= 1000 else f"{megabits:.0f} Mbit/s"


def measured_edges():
    lines = []
    for row in rows("edges"):
        name = {"zenoh": "Zenoh", "relays": "TCP relays"}[row["way"]]
        name += ["", ", router", ", 2 routers"][row["routers"]]
        router = f"{row['router']['us']:.0f}" if row["router"] else ""
        ages = [f"{median:.1f} ({p99:.1f})" for median, p99 in (row["arrived_ms"], row["seen_ms"])]
        cpu = [f"{row['origin']['us']:.0f}", router, f"{row['edge']['us']:.0f}"]
        lines.append([name, row["edges"], *cpu, *ages])
    lines.sort(key=lambda cells: ("relays" in cells[0], "2" in cells[0], "router" in cells[0]))
    return table(["", "edges", "origin", "router", "edge", "at the edge", "at the viewer"], lines)


def measured_viewers():
    lines = []
    for row in rows("viewers"):
        median, p99 = row["seen_ms"]
        cells = [f"{row['edge']['us']:.0f}", f"{row['edge']['mb']:.0f}", f"{median:.1f} ({p99:.1f})"]
        lines.append([PROTOCOLS[row["door"]][0], row["viewers"], *cells])
    return table(["one edge", "viewers", "CPU", "MB", "at the viewer"], lines)


def limits():
    def limit(name, size, cpu, memory):
        (base, each), (mb, mb_each) = cpu, memory
        nics = [count(fitting(size, nic)) for nic in NICS]
        core = count(int((FILL * 1e6 / RATE - base) / each))
        return [name, f"{mbit(size):.1f}", *nics, core, f"{mb:.0f}", f"{max(mb_each, 0) * 1000:.0f}"]

    def memory(machine, table, by, **fields):
        return cost(machine, table, by, "mb", **fields)

    lines = [
        limit(f"edge, {name}", size, EDGE[door], memory("edge", "viewers", "viewers", door=door))
        for door, (name, size) in PROTOCOLS.items()
    ]
    for machine, cpu, routers in [("origin", ORIGIN, 0), ("router", ROUTER, 1)]:
        used = memory(machine, "edges", "edges", way="zenoh", routers=routers)
        lines.append(limit(f"{machine}, to edges", PICTURE, cpu, used))
    nics = [f"fill {nic} Gbit/s" for nic in NICS]
    return table(["", "Mbit/s each", *nics, "fill a core", "MB", "KB more for each"], lines)


def plans():
    lines = []
    for viewers in VIEWERS:
        for nic in NICS:
            # It needs as many bytes as MJPEG, and more CPU.
            for door, name in [("tcp", "TCP, base64"), ("web", "web, MJPEG")]:
                size = PROTOCOLS[door][1]
                plan = Plan(viewers, nic, size)
                routers = " + ".join(map(count, plan.tiers)) or "0"
                inner, outer = plan.streams[:-1], plan.streams[-1]
                sends = [rate(streams * mbit(PICTURE)) for streams in inner] + [rate(outer * mbit(size))]
                busy = [cores(ORIGIN, inner[0])] if inner else []
                busy += [cores(ROUTER, streams) for streams in inner[1:]]
                busy += [cores(EDGE[door], outer)]
                lines.append([
                    f"{count(viewers)}, {nic} Gbit/s, {name}".replace(" ", "\u00a0"),
                    count(plan.machines), routers, count(plan.edges),
                    " → ".join(sends), " → ".join(f"{cores:.1f}" for cores in busy),
                    " + ".join(map(str, plan.delays)) + f" = {sum(plan.delays)} ms",
                ])
    head = ["viewers, network, protocol", "machines", "routers", "edges"]
    return table([*head, "each sends: origin → … → edge", "cores of each", "last viewer after"], lines)


def changes():
    viewers = VIEWERS[-1]
    small = [(f"JPEG, {name}", PICTURE * size / FILM, RATE) for name, size in SMALLER]
    h264 = H264 * 1e6 / 8 / RATE / WIRE
    lines = []
    for name, size, fps in [
        ("base64", BASE64, RATE),
        ("JPEG as it is", PICTURE, RATE),
        *small,
        ("JPEG, 10 frames/s", PICTURE, 10),
        ("JPEG, 400 wide, 10 frames/s", small[-1][1], 10),
        (f"H.264 of {H264:.0f} Mbit/s, for comparison", h264, RATE),
    ]:
        edges = [count(ceil(viewers / fitting(size, nic, fps))) for nic in NICS]
        total = viewers * mbit(size, fps) / 1e6
        lines.append([name, f"{mbit(size, fps):.1f}", f"{total:.2f}", *edges])
    nics = [f"machines of {nic} Gbit/s" for nic in NICS]
    return table([f"{count(viewers)} viewers", "Mbit/s each", "Tbit/s together", *nics], lines)


def most():
    lines = []
    for row in rows("most"):
        name = {"zenoh": "Zenoh", "relays": "TCP relays"}[row["way"]]
        name += ["", ", router", ", 2 routers"][row["routers"]]
        mb = row["frames"] * row["edges"] * PICTURE / 1e6
        lines.append([name, row["edges"], f"{row['frames']:.0f}", f"{mb:.0f}"])
    return table(["", "edges", "frames/s", "MB/s"], lines)


TABLES = [measured_edges, measured_viewers, most, limits, plans, changes]


def filled(text):
    for name, lines in ((make.__name__, make()) for make in TABLES):
        marks = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(marks, lambda match: f"{match[1]}{lines}\n{match[2]}", text, flags=re.S)
        if found != 1:
            sys.exit(f"scale.md has {found} places for the table {name}")
    return text


def main(arguments):
    page = HERE / "scale.md"
    match arguments:
        case []:
            print("\n\n".join(make() for make in TABLES))
        case ["--write"]:
            page.write_text(filled(page.read_text()))
        case ["--check"]:
            if filled(page.read_text()) != page.read_text():
                sys.exit("docs/scale.md has other tables than docs/scale.py computes: run docs/scale.py --write")
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
