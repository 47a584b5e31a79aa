# SPDX-License-Identifier: MPL-2.0
"""A common camera server in Flask, for the benches: Motion JPEG over HTTP.

The film is a directory of JPEGs. Executes commands from standard input and prints "done"
after each: "wait COUNT" until COUNT viewers are connected, "push COUNT RATE ..." to send
COUNT frames.
"""

import argparse
import itertools
import pathlib
import sys
import threading
import time

from flask import Flask, Response
from werkzeug.serving import run_simple

app = Flask(__name__)
new = threading.Condition()
newest, viewers = None, 0


def parts():
    global viewers
    with new:
        viewers += 1
    while True:
        with new:
            new.wait()
            jpeg = newest
        yield b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"


@app.route("/stream.mjpg")
def stream():
    return Response(parts(), mimetype="multipart/x-mixed-replace; boundary=frame")


def main():
    global newest
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("film", type=pathlib.Path)
    args = parser.parse_args()

    # Like app.run(), without its banner.
    serve = threading.Thread(target=run_simple, args=("127.0.0.1", args.port, app), kwargs={"threaded": True}, daemon=True)
    serve.start()
    frames = itertools.cycle([jpeg.read_bytes() for jpeg in sorted(args.film.glob("*.jpg"))])
    for line in sys.stdin:
        command, count, *more = line.split()
        while command == "wait" and viewers < int(count):
            time.sleep(0.001)
        if command == "push":
            due = time.monotonic()
            for jpeg in itertools.islice(frames, int(count)):
                time.sleep(max(0, due - time.monotonic()))
                due += 1 / float(more[0])
                with new:
                    newest = jpeg
                    new.notify_all()
        print("done", flush=True)


if __name__ == "__main__":
    main()
