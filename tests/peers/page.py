# SPDX-License-Identifier: MPL-2.0
"""Operates the page in a browser as a user does, and reports what the page shows.

Prints a line of JSON for each finding. Fails if an expected change does not happen in time.
"""

import argparse
import json
import os
import re
import time

import cv2
import numpy
from playwright.sync_api import expect, sync_playwright

PATIENCE = 60
# Path on Debian. Elsewhere Playwright uses what "playwright install chromium" has installed.
CHROMIUM = "/usr/bin/chromium"


def report(**finding):
    print(json.dumps(finding), flush=True)


class Viewer:
    """A page, with everything that it logs to the console."""

    def __init__(self, context, url):
        self.console = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.goto(url)

    def press(self, key):
        self.page.keyboard.press(key)

    def status(self, text):
        expect(self.page.get_by_role("status")).to_have_text(text)

    def notice(self, text):
        expect(self.page.get_by_role("form")).to_contain_text(text)
        return self.page.get_by_role("form").inner_text()

    def cameras(self):
        return [camera for camera in self.page.locator(".camera").all() if camera.is_visible()]

    def names(self):
        return [camera.locator(".name").inner_text() for camera in self.cameras()]

    def figures(self):
        return [camera.locator(".figures").inner_text() for camera in self.cameras()]

    def pictures(self):
        return [camera.locator("canvas").screenshot() for camera in self.cameras()]

    def wait_for_new_frames(self):
        before = self.pictures()
        wait(lambda: all(now != then for now, then in zip(self.pictures(), before, strict=True)))


def wait(condition):
    """Waits until the condition returns a true value, and returns that value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("the condition was not met in time")
        time.sleep(0.1)
    return value


def colour(png):
    """The median colour of a picture, as red, green and blue."""
    picture = cv2.imdecode(numpy.frombuffer(png, numpy.uint8), cv2.IMREAD_COLOR)
    return [int(value) for value in numpy.median(picture.reshape(-1, 3), axis=0)][::-1]


def watch(browser, args):
    """Two cameras, and every function of the page."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    viewer = Viewer(context, args.url)
    page = viewer.page
    viewer.status("Live, 2 cameras")
    report(title=page.title())
    report(colours=dict(zip(viewer.names(), map(colour, viewer.pictures()), strict=True)))
    viewer.wait_for_new_frames()

    def measure():
        found = [re.fullmatch(r"(.+) · (.+) frames/s · delay (\d+) ms", text) for text in viewer.figures()]
        rates = [float(match[2].split()[0]) for match in found if match]
        if len(rates) == 2 and all(abs(rate / args.rate - 1) < 0.1 for rate in rates):
            return {"sizes": [match[1] for match in found], "delays": [int(match[3]) for match in found]}

    report(rate=args.rate, **wait(measure))

    page.get_by_role("button", name="back").click()
    report(alone=viewer.names(), title=page.title())
    viewer.press("Escape")
    page.get_by_role("button", name="front").focus()
    viewer.press("Enter")
    report(alone=viewer.names(), title=page.title())
    viewer.wait_for_new_frames()
    viewer.press("Escape")
    report(all=sorted(viewer.names()))

    viewer.press("Space")
    viewer.status(re.compile("Paused since .+"))
    # A frame that was being painted may still appear.
    time.sleep(1)
    before = viewer.pictures()
    time.sleep(1)
    report(paused=viewer.pictures() == before)
    viewer.press("Space")
    viewer.status("Live, 2 cameras")
    viewer.wait_for_new_frames()

    downloads = []
    page.on("download", lambda download: downloads.append(download))
    viewer.press("s")
    wait(lambda: page.wait_for_timeout(100) or len(downloads) == 2)
    for download in downloads:
        file = os.path.join(args.directory, download.suggested_filename)
        download.save_as(file)
        report(snapshot=download.suggested_filename)

    for visible in False, True:
        viewer.press("i")
        expect(page.locator(".figures").first).to_be_visible(visible=visible)
    viewer.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    viewer.press("f")
    wait(lambda: page.evaluate("document.fullscreenElement !== null"))
    viewer.press("f")
    wait(lambda: page.evaluate("document.fullscreenElement === null"))

    viewer.press("q")
    report(quit=viewer.notice("You have stopped watching"))
    page.get_by_role("button", name="Watch again").click()
    viewer.status("Live, 2 cameras")
    viewer.wait_for_new_frames()

    # Simulate that the tab is moved to the background.
    page.evaluate("""Object.defineProperty(document, "hidden", {get: () => window.away, configurable: true});
        window.away = true; document.dispatchEvent(new Event("visibilitychange"))""")
    viewer.status("Paused while nobody looks")
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    viewer.status("Live, 2 cameras")
    viewer.wait_for_new_frames()
    report(console=viewer.console)


def phone(browser, args):
    """The same on a phone in portrait orientation."""
    size = {"width": 390, "height": 700}
    context = browser.new_context(viewport=size, has_touch=True, is_mobile=True, color_scheme="dark")
    viewer = Viewer(context, args.url)
    page = viewer.page
    viewer.status("Live, 2 cameras")
    viewer.wait_for_new_frames()
    page.screenshot(path=os.path.join(args.directory, "phone.png"))
    boxes = [item.bounding_box() for item in viewer.cameras() + page.get_by_role("toolbar").get_by_role("button").all()]
    inside = all(
        box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= size["width"]
        and box["y"] + box["height"] <= size["height"]
        for box in boxes
    )
    front, back = boxes[:2]
    report(inside=inside, upright=front["y"] + front["height"] <= back["y"], width=round(front["width"]))
    page.get_by_role("button", name="back").tap()
    report(alone=viewer.names())
    page.get_by_role("button", name="Pause").tap()
    viewer.status(re.compile("Paused since .+"))
    report(console=viewer.console)


def token(browser, args):
    """No token, a wrong one, the right one, and links that contain it."""
    viewer = Viewer(browser.new_context(), args.url)
    field = viewer.page.get_by_role("textbox", name="Token")
    viewer.status("Token needed")
    field.fill("wrong")
    field.press("Enter")
    viewer.status("Wrong token")
    report(wrong=viewer.notice("does not accept"), pictures=len(viewer.pictures()))
    field.fill(args.token)
    viewer.page.get_by_role("button", name="Watch").click()
    viewer.status("Live")
    viewer.wait_for_new_frames()
    viewer.page.reload()
    viewer.status("Live")
    report(console=viewer.console)

    for link in f"{args.url}?token={args.token}", f"{args.url}#token={args.token}":
        viewer = Viewer(browser.new_context(), link)
        viewer.status("Live")
        report(url=viewer.page.url, console=viewer.console)


def full(browser, args):
    """One viewer more than the server accepts."""
    first = Viewer(browser.new_context(), args.url)
    first.status("Live")
    second = Viewer(browser.new_context(), args.url)
    second.status("All places are taken")
    first.wait_for_new_frames()
    report(full=second.notice("lets no more viewers in"))
    first.press("q")
    first.status("Stopped")

    def is_accepted():
        button = second.page.get_by_role("button", name="Ask now")
        if button.is_visible():
            button.click()
        return second.page.get_by_role("status").inner_text() == "Live"

    wait(is_accepted)
    second.wait_for_new_frames()
    report(console=first.console + second.console)


def restart(browser, args):
    """A source that pauses, then a server that stops and restarts."""
    viewer = Viewer(browser.new_context(), args.url)
    page = viewer.page
    viewer.status("Live")
    viewer.wait_for_new_frames()
    report(stop="source")
    expect(page.locator(".trouble")).to_have_text(re.compile(r"No new picture for \d+ s"))
    report(start="source")
    viewer.wait_for_new_frames()
    expect(page.locator(".trouble")).to_be_hidden()
    report(console=viewer.console)

    report(stop="server")
    viewer.status("Reconnecting")
    report(lost=viewer.notice("no connection since"), title=page.title(), cameras=len(viewer.pictures()))
    report(start="server")
    viewer.status("Live")
    viewer.wait_for_new_frames()
    # The browser itself logs failed connections.
    report(console=[text for text in viewer.console if not text.startswith("WebSocket connection to ")])


def renamed(browser, args):
    """A camera that changes its name many times while the page is open."""
    viewer = Viewer(browser.new_context(), args.url)
    viewer.status("Live")
    report(watching=True)
    wait(lambda: "last" in viewer.names())
    report(cameras=viewer.names())
    report(console=viewer.console)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", choices=["watch", "phone", "token", "full", "restart", "renamed"])
    parser.add_argument("url")
    parser.add_argument("--directory", help="for snapshots")
    parser.add_argument("--rate", type=float, help="of the cameras, in frames a second")
    parser.add_argument("--token")
    args = parser.parse_args()

    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        chromium = CHROMIUM if os.path.exists(CHROMIUM) else None
        browser = playwright.chromium.launch(executable_path=chromium)
        globals()[args.scene](browser, args)
        browser.close()


if __name__ == "__main__":
    main()
