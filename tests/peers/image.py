# SPDX-License-Identifier: MPL-2.0
"""Opens a URL in Chromium as the <img> of a page.

Prints "brightness N" whenever the image has changed.
"""

import sys

import cv2
import numpy
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page()
    image = f'<body style="margin: 0"><img src="{sys.argv[1]}">'
    page.set_content(image, wait_until="domcontentloaded")  # the image never finishes loading
    last = None
    while True:
        png = page.screenshot(clip={"x": 8, "y": 8, "width": 8, "height": 8})
        pixels = cv2.imdecode(numpy.frombuffer(png, numpy.uint8), cv2.IMREAD_COLOR)
        brightness = round(pixels.mean())
        if brightness != last:
            print("brightness", brightness, flush=True)
        last = brightness
