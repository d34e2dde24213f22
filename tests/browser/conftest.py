"""
A real Chromium for the live page: Debian's package, driven by Playwright, which downloads nothing.

Whatever the page complains of on its console fails the test. The browser can reach this machine and
nothing else.
"""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="module")
def browser():
    """One browser for a file; its own loop runs only as long."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    arguments = [
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # as root there is none
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def allowed():
    """Parts of what the browser may note on its console, for a test to fill."""
    return []


@pytest.fixture
def visit(browser, allowed):
    """Opens pages, each in a browser profile of its own."""
    contexts, complaints = [], []

    def visit(url, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: complaints.append(str(one)))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [one for one in complaints if not any(part in one for part in allowed)] == []


@pytest.fixture
def live(visit):
    """Opens live pages and waits until they are connected."""

    def live(sink, **options):
        page = visit(sink.url, **options)
        page.locator("#link[data-state=live]").wait_for()
        return page

    return live
