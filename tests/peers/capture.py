# SPDX-License-Identifier: MPL-2.0
"""Reads frames through OpenCV's GStreamer backend, as programs that use only OpenCV do.

Prints `frame WIDTHxHEIGHT PSNR` for each frame, and then `end`. PSNR is in dB against the
JPEG of the same number among the files, both scaled to a quarter, because decoders
interpolate chroma differently.
"""

import sys

import cv2

def quarter(picture):
    return cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


pipeline, *files = sys.argv[1:]
capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
if not capture.isOpened():
    sys.exit("OpenCV cannot open it")
frames = 0
while True:
    good, frame = capture.read()
    if not good:
        break
    height, width = frame.shape[:2]
    psnr = cv2.PSNR(quarter(frame), quarter(cv2.imread(files[frames])))
    print(f"frame {width}x{height} {psnr:.1f}", flush=True)
    frames += 1
capture.release()
print("end")
