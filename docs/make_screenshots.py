"""
Makes the pictures of the live page in docs/images: a sink, a dispatcher, and a browser that looks.

`python docs/make_screenshots.py [NAME ...]`, with the `test` extra and Debian's chromium installed.
Each picture is what the page shows of requests that were really sent; which is why no two runs give
the same bytes, and no test compares them. Everything takes some two minutes.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.sink import Settings, SinkProcess

IMAGES = Path(__file__).parent / "images"
WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 375, "height": 800}
NAMES = ("page.viewed", "cart.updated", "checkout.completed", "search.performed", "user.signed_in")
# A little more than half a chart, so that its left shows the quiet before.
SECONDS = 50


def track(dispatcher: Dispatcher, number: int) -> None:
    """
    Give away the event that has this number; equal numbers give equal events.
    """
    chance = random.Random(number)
    dispatcher.track(
        chance.choice(NAMES),
        user_id=f"u-{chance.randrange(400)}",
        properties={
            "amount": round(chance.uniform(5, 90), 2),
            "currency": "EUR",
            "items": chance.randrange(1, 6),
            "customer": {"tier": chance.choice(["free", "plus", "premium"])},
        },
    )


@contextmanager
def traffic(sink: SinkProcess, rate: int) -> Iterator[Dispatcher]:
    """
    A dispatcher that gives away so many events a second until the block is left.
    """
    dispatcher = Dispatcher(
        Datadog(
            api_key="k",
            application_id="shop",
            endpoint=sink.datadog_endpoint,
            flush_interval=0.5,
        ),
        Freshpaint(token="t", endpoint=sink.freshpaint_endpoint),
        blocking=True,
    )
    stop = threading.Event()

    def run() -> None:
        number, began = 0, time.monotonic()
        while not stop.wait(0.02):
            while number < (time.monotonic() - began) * rate:
                track(dispatcher, number)
                number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield dispatcher
    finally:
        stop.set()
        thread.join()
        dispatcher.close(0.5)


def at_rest(page: Page, sink: SinkProcess) -> None:
    """
    A few events, nothing else, the newest one open.
    """
    with traffic(sink, 12):
        time.sleep(8)
    time.sleep(1)
    page.focus("#list")
    page.keyboard.press("ArrowDown")


def under_load(page: Page, sink: SinkProcess) -> None:
    """
    Two thousand events a second at both vendors together, for most of a minute.
    """
    with traffic(sink, 1_000):
        time.sleep(SECONDS)
        page.screenshot(path=IMAGES / "under-load.png")


def in_an_outage(page: Page, sink: SinkProcess) -> None:
    """
    Datadog down, Freshpaint refusing some, and something malformed on the way.
    """
    with traffic(sink, 150):
        time.sleep(12)
        page.locator(".panel[data-vendor=datadog] [data-what='503']").click()
        page.select_option("#fault-share", " share 0.1")
        page.locator(".panel[data-vendor=freshpaint] [data-what='reset']").click()
        time.sleep(14)
        page.locator(".row:has(em)").first.click()
        time.sleep(0.5)
        page.screenshot(path=IMAGES / "outage.png")


def in_an_outage_dark(page: Page, sink: SinkProcess) -> None:
    """
    The same a little later: the outage is over, what had waited has arrived.
    """
    with traffic(sink, 150):
        time.sleep(8)
        page.locator(".panel[data-vendor=datadog] [data-what='503']").click()
        time.sleep(10)
        page.locator("#fault-clear").click()
        time.sleep(14)
        page.screenshot(path=IMAGES / "recovered-dark.png")


PICTURES: dict[str, tuple[Callable[[Page, SinkProcess], None], dict[str, Any]]] = {
    "at-rest": (at_rest, {"viewport": WIDE, "color_scheme": "light"}),
    "at-rest-dark": (at_rest, {"viewport": WIDE, "color_scheme": "dark"}),
    "under-load": (under_load, {"viewport": WIDE, "color_scheme": "light"}),
    "outage": (in_an_outage, {"viewport": WIDE, "color_scheme": "light"}),
    "recovered-dark": (in_an_outage_dark, {"viewport": WIDE, "color_scheme": "dark"}),
    "phone": (at_rest, {"viewport": PHONE, "color_scheme": "light"}),
    "phone-dark": (at_rest, {"viewport": PHONE, "color_scheme": "dark"}),
}


def main(names: list[str]) -> None:
    """
    Make these pictures, or all of them.
    """
    IMAGES.mkdir(exist_ok=True)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        for name in names or PICTURES:
            take, options = PICTURES[name]
            with SinkProcess(Settings(port=8321)) as sink:
                page = browser.new_page(**options)
                page.goto(sink.url)
                page.locator("#link[data-state=live]").wait_for()
                take(page, sink)
                if take is at_rest:
                    page.screenshot(path=IMAGES / f"{name}.png")
                page.close()
            print(name, (IMAGES / f"{name}.png").stat().st_size)  # noqa: T201 - tells what it made
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
