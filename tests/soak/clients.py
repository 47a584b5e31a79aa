# SPDX-License-Identifier: MPL-2.0
"""Many clients in one process, each of which compares every byte that it gets.

Prints how many frames came whole and in order, how many are missing between them, and
what the client that stalls saw when it woke. A torn frame is a failure.
"""

import argparse
import errno
import heapq
import os
import select
import socket
import time

from common import Pictures, asked_to_stop, percentile, tell


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
        """Reads what is there, one frame at the most; returns whether it has become whole,
        or nothing when the server has closed the connection between two frames."""
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
            raise SystemExit(f"frame {self.number} is followed by a torn one, or by {number}")
        self.missing += number - self.number - 1 if self.frames else 0
        self.number = number
        self.frames += 1
        return True


class Crowd:
    def __init__(self, args):
        self.args = args
        self.pictures = Pictures(args.size)
        self.epoll = select.epoll()
        self.clients = {}
        self.asleep = []  # (when it wakes, file number)
        self.newest = 0
        self.first_frames = []  # seconds after connecting
        self.ages = []  # seconds, of what the stalled one saw after it woke
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
            # Not at the first one: the windows have grown to what they are in a stream.
            if client.frames == 50:
                self.sleep(fd, self.args.stall)
            elif client.frames > 50:
                self.ages.append((self.newest - client.number) / self.args.fps)

    def leave(self, fd):
        client = self.clients.pop(fd)
        self.epoll.unregister(fd)
        client.socket.close()

    def run(self, stop):
        # A server with a short backlog may never know of a client that is connected.
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
        tell(
            clients=len(healthy),
            fewest=min(client.frames for client in healthy),
            most=max(client.frames for client in healthy),
            missing=sum(client.missing for client in healthy),
        )
        if self.first_frames:
            first = [1000 * seconds for seconds in self.first_frames]
            tell(greeted=len(first), first_median=percentile(first, 0.5), first_max=max(first))
        if self.slow:
            tell(slow_frames=self.slow.frames, slow_missing=self.slow.missing)
        if self.stalled:
            # What lay in the buffers of the sockets is as old as the stall.
            stale = sum(age > self.args.fresh for age in self.ages)
            tell(
                woken_frames=len(self.ages),
                stale_frames=stale,
                stale_kb=stale * self.pictures.wire_len // 1000,
            )
        used = os.times()
        tell(cpu_clients=used.user + used.system)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--size", type=int, default=20000, help="bytes of a picture")
    parser.add_argument("--fps", type=float, default=25, help="what the server sends")
    parser.add_argument("--apart", type=float, default=0, help="seconds between two that connect")
    parser.add_argument("--greet", type=float, default=0, help="leave after the first frame, or so many seconds")
    parser.add_argument("--stall", type=float, default=0, help="seconds that the first client stops reading")
    parser.add_argument("--fresh", type=float, default=2, help="seconds that a frame may wait in a queue")
    parser.add_argument("--slow", type=float, default=0, help="frames per second that the last client reads")
    crowd = Crowd(parser.parse_args())
    crowd.run(asked_to_stop())
    crowd.report()


if __name__ == "__main__":
    main()
