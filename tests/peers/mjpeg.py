# SPDX-License-Identifier: MPL-2.0
"""Reads MJPEG over HTTP through OpenCV, as it does from any IP camera.

Prints "frame WIDTHxHEIGHT BRIGHTNESS" for so many frames.
"""

import sys

import cv2

url, frames = sys.argv[1:]
capture = cv2.VideoCapture(url)
if not capture.isOpened():
    sys.exit("it does not open")
for _ in range(int(frames)):
    good, frame = capture.read()
    if not good:
        sys.exit("there are no more frames")
    height, width = frame.shape[:2]
    print(f"frame {width}x{height} {frame.mean():.0f}", flush=True)
capture.release()
