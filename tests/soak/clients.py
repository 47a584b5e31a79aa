# SPDX-License-Identifier: MPL-2.0
"""Many clients in one process, each of which compares every byte it receives.

Prints the number of frames that arrived in order, the number missing between them, and the
age of the frames that the stalled client received when it resumed. A damaged frame is a
failure.
"""

import argparse
import errno
import heapq
import os
import select
import socket
import time

from common import NumberedJpegs, stop_on_sigterm, percentile, report_figures


class Client:
    def __init__(self, port, pictures):
        self.pictures = pictures
        self.frame = memoryview(bytearray(pictures.wire_len))
        self.filled = self.frames = self.missing = 0
        self.number = -1
        self.begun = time.monotonic()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        code = self.socket.connect_ex(("127.0.0.1", port))
        if code not in (0, errno.EINPROGRESS):
            raise SystemExit(f"cannot connect: {os.strerror(code)}")

    def read(self):
        """Reads at most to the end of a frame; returns whether the frame is complete, or None
        if the server has closed the connection between two frames."""
        try:
            got = self.socket.recv_into(self.frame[self.filled :])
        except OSError as error:
            raise SystemExit(f"after frame {self.number}: {error}") from error
        if not got:
            if self.filled:
                raise SystemExit(f"closed inside the frame after {self.number}")
            return None
        self.filled += got
        if self.filled < len(self.frame):
            return False
        self.filled = 0
        number = self.pictures.number_in_frame(self.frame)
        if number is None or number <= self.number:
            raise SystemExit(f"frame {self.number} is followed by a damaged one, or by {number}")
        self.missing += number - self.number - 1 if self.frames else 0
        self.number = number
        self.frames += 1
        return True


class Crowd:
    def __init__(self, args):
        self.args = args
        self.pictures = NumberedJpegs(args.size)
        self.epoll = select.epoll()
        self.clients = {}
        self.asleep = []  # (time to resume, file descriptor)
        self.newest = 0
        self.first_frames = []  # seconds after connecting
        self.ages = []  # in seconds, of the frames that the stalled client received when it resumed
        for _ in range(args.clients):
            time.sleep(args.apart)
            client = Client(args.port, self.pictures)
            self.clients[client.socket.fileno()] = client
        self.order = list(self.clients.values())
        self.stalled = self.order[0] if args.stall else None
        self.slow = self.order[-1] if args.slow else None
        for fd in self.clients:
            self.epoll.register(fd, select.EPOLLIN)

    def sleep(self, fd, seconds):
        self.epoll.modify(fd, 0)
        heapq.heappush(self.asleep, (time.monotonic() + seconds, fd))

    def on_frame(self, fd, client):
        self.newest = max(self.newest, client.number)
        if client.frames == 1:
            self.first_frames.append(time.monotonic() - client.begun)
            if self.args.greet:
                self.leave(fd)
                return
        if client is self.slow:
            self.sleep(fd, 1 / self.args.slow)
        elif client is self.stalled:
            # Stall after 50 frames, when the TCP windows have grown to their usual size.
            if client.frames == 50:
                self.sleep(fd, self.args.stall)
            elif client.frames > 50:
                self.ages.append((self.newest - client.number) / self.args.fps)

    def leave(self, fd):
        client = self.clients.pop(fd)
        self.epoll.unregister(fd)
        client.socket.close()

    def run(self, stop):
        # With a short backlog, the server may never accept a connected client.
        patience = time.monotonic() + self.args.greet if self.args.greet else float("inf")
        while self.clients and not stop.is_set():
            now = time.monotonic()
            if now > patience:
                return
            while self.asleep and self.asleep[0][0] <= now:
                self.epoll.modify(heapq.heappop(self.asleep)[1], select.EPOLLIN)
            timeout = min(1, self.asleep[0][0] - now) if self.asleep else 1
            for fd, _ in self.epoll.poll(timeout):
                client = self.clients[fd]
                whole = client.read()
                if whole is None:
                    self.leave(fd)
                elif whole:
                    self.on_frame(fd, client)

    def report(self):
        special = [client for client in (self.stalled, self.slow) if client]
        healthy = [client for client in self.order if client not in special]
        report_figures(
            clients=len(healthy),
            fewest=min(client.frames for client in healthy),
            most=max(client.frames for client in healthy),
            missing=sum(client.missing for client in healthy),
        )
        if self.first_frames:
            first = [1000 * seconds for seconds in self.first_frames]
            report_figures(greeted=len(first), first_median=percentile(first, 0.5), first_max=max(first))
        if self.slow:
            report_figures(slow_frames=self.slow.frames, slow_missing=self.slow.missing)
        if self.stalled:
            # Frames in the buffers of the sockets are as old as the stall.
            stale = sum(age > self.args.fresh for age in self.ages)
            report_figures(
                woken_frames=len(self.ages),
                stale_frames=stale,
                stale_kb=stale * self.pictures.wire_len // 1000,
            )
        used = os.times()
        report_figures(cpu_clients=used.user + used.system)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--size", type=int, default=20000, help="bytes of a JPEG")
    parser.add_argument("--fps", type=float, default=25, help="frame rate of the server")
    parser.add_argument("--apart", type=float, default=0, help="seconds between two connections")
    parser.add_argument("--greet", type=float, default=0, help="disconnect after one frame or this many seconds")
    parser.add_argument("--stall", type=float, default=0, help="seconds that the first client stops reading")
    parser.add_argument("--fresh", type=float, default=2, help="seconds that a frame may wait in a queue")
    parser.add_argument("--slow", type=float, default=0, help="frames per second that the last client reads")
    crowd = Crowd(parser.parse_args())
    crowd.run(stop_on_sigterm())
    crowd.report()


if __name__ == "__main__":
    main()
