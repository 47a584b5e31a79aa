# SPDX-License-Identifier: MPL-2.0
"""Emulates a line between two TUN or TAP devices: delay, loss, rate and queue in each direction.

For kernels without netem. The devices are created in this network namespace; either may be
moved to another. Prints "ready" when they exist, and counts of packets at the end.
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import time

from common import stop_on_sigterm, report_figures

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 0x0001, 0x0002, 0x1000
LONGEST_PACKET = 65536


def open_tun(name, kind):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | IFF_NO_PI))
    return tun


class Direction:
    """Packets leave the queue at the rate of the line, may be lost, and arrive after the delay."""

    def __init__(self, source, target, args, seed):
        self.source, self.target = source, target
        self.delay = args.delay / 1000
        self.loss = args.loss / 100
        self.bytes_per_second = args.rate * 1e6 / 8
        self.queue_seconds = args.queue * 1000 / self.bytes_per_second
        self.random = random.Random(seed)
        self.free_at = 0.0
        self.under_way = collections.deque()  # (time of arrival, packet)
        self.carried = self.lost = self.overflowed = 0

    def take(self):
        now = time.monotonic()
        packet = os.read(self.source, LONGEST_PACKET)
        if self.free_at - now > self.queue_seconds:
            self.overflowed += 1
            return
        self.free_at = max(self.free_at, now) + len(packet) / self.bytes_per_second
        if self.random.random() < self.loss:
            self.lost += 1
            return
        self.carried += 1
        self.under_way.append((self.free_at + self.delay, packet))

    def deliver(self):
        """Delivers the packets that are due; returns the time of the next one."""
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            os.write(self.target, self.under_way.popleft()[1])
        return self.under_way[0][0] if self.under_way else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("near", help="name of one device")
    parser.add_argument("far", help="name of the other")
    parser.add_argument("--delay", type=float, default=50, help="milliseconds in each direction")
    parser.add_argument("--loss", type=float, default=1, help="percent of the packets")
    parser.add_argument("--rate", type=float, default=5, help="megabits per second")
    parser.add_argument("--queue", type=float, default=64, help="length of the queue in kilobytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ethernet", action="store_true", help="carry Ethernet frames, as from a bridge")
    args = parser.parse_args()

    kind = IFF_TAP if args.ethernet else IFF_TUN
    near, far = open_tun(args.near, kind), open_tun(args.far, kind)
    ways = {near: Direction(near, far, args, args.seed), far: Direction(far, near, args, args.seed + 1)}
    stop = stop_on_sigterm()
    print("ready", flush=True)
    while not stop.is_set():
        due = [when for way in ways.values() if (when := way.deliver()) is not None]
        timeout = min(1, max(0, min(due) - time.monotonic())) if due else 1
        # Unlike epoll, select can wait for less than a millisecond.
        for tun in select.select(ways, [], [], timeout)[0]:
            ways[tun].take()
    out = ways[near]
    report_figures(carried=out.carried, lost=out.lost, overflowed=out.overflowed)


if __name__ == "__main__":
    main()
