# SPDX-License-Identifier: MPL-2.0
"""Reads frames through OpenCV's GStreamer backend, as programs do that know OpenCV only.

Prints `frame WIDTHxHEIGHT PSNR` for each, PSNR in dB against the JPEG of the same
number among the files, both a quarter as large: decoders differ in how they spread
colours. Then `end`.
"""

import sys

import cv2

def small(picture):
    return cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


pipeline, *files = sys.argv[1:]
capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
if not capture.isOpened():
    sys.exit("it does not open")
frames = 0
while True:
    good, frame = capture.read()
    if not good:
        break
    height, width = frame.shape[:2]
    psnr = cv2.PSNR(small(frame), small(cv2.imread(files[frames])))
    print(f"frame {width}x{height} {psnr:.1f}", flush=True)
    frames += 1
capture.release()
print("end")
