# SPDX-License-Identifier: MPL-2.0
"""Reads MJPEG over HTTP with OpenCV, as from any IP camera.

Prints "frame WIDTHxHEIGHT BRIGHTNESS" for the given number of frames.
"""

import sys

import cv2

url, frames = sys.argv[1:]
capture = cv2.VideoCapture(url)
if not capture.isOpened():
    sys.exit("OpenCV cannot open it")
for _ in range(int(frames)):
    good, frame = capture.read()
    if not good:
        sys.exit("the stream has ended")
    height, width = frame.shape[:2]
    print(f"frame {width}x{height} {frame.mean():.0f}", flush=True)
capture.release()
