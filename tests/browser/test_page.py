"""The live page in Chromium: what it shows, how it is used, and what it must not do."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sendoff import Datadog, Dispatcher, Freshpaint, Retry
from sendoff.sink import Settings, SinkProcess

pytestmark = pytest.mark.slow

EVIL = "<script>window.hit=1</script><img src=x onerror=window.hit=1>"


def expect(target):
    from playwright.sync_api import expect

    expect.set_options(timeout=15_000)
    return expect(target)


@pytest.fixture
def dispatcher(sink):
    with dispatching(sink) as one:
        yield one


class dispatching:
    """A dispatcher in a thread of its own, for both vendors of a sink."""

    def __init__(self, sink):
        retry = Retry(base=0.05, cap=0.2)
        self._dispatcher = Dispatcher(
            Datadog(
                api_key="k",
                application_id="shop",
                endpoint=sink.datadog_endpoint,
                flush_interval=0.05,
                retry=retry,
            ),
            Freshpaint(token="t", endpoint=sink.freshpaint_endpoint, retry=retry),
            blocking=True,
        )

    def __enter__(self):
        return self._dispatcher

    def __exit__(self, *_):
        self._dispatcher.close(5)


def post(sink, body, path="/api/v2/prodlytics", connection=None):
    connection = connection or HTTPConnection("127.0.0.1", port_of(sink), timeout=10)
    headers = {"Content-Type": "application/json", "DD-API-KEY": "key"}
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def port_of(sink):
    return int(sink.url.rpartition(":")[2])


def server_event(name="e", user="u-1", **fields):
    head = {"application": {"id": "app"}, "type": "server"}
    return {**head, "event": {"name": name}, "usr": {"id": user}, **fields}


def rows(page):
    return page.locator("#list .row")


def names(page):
    return page.locator("#list .row .name").all_inner_texts()


def number(page, vendor, part):
    return page.locator(f".panel[data-vendor={vendor}] [data-part={part}]")


def focused(page):
    return page.evaluate("document.activeElement.id")


def test_events_appear_with_their_bodies(sink, live, dispatcher):
    """What a dispatcher sends is in the list of both vendors, and opens as pretty JSON."""
    page = live(sink, permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#endpoints")).to_contain_text(sink.datadog_endpoint)
    dispatcher.track("checkout.completed", user_id="u-7", properties={"large": 2**60 + 1})
    expect(rows(page)).to_have_count(2)
    expect(number(page, "datadog", "accepted")).to_have_text("1")
    expect(number(page, "freshpaint", "requests")).to_have_text("1")
    page.locator(".row[data-vendor=datadog]").click()
    shown = page.locator("#body").inner_text()
    assert shown == json.dumps(sink.events("datadog")[0], indent=2)
    assert str(2**60 + 1) in shown
    expect(page.locator("#detail-facts")).to_contain_text("202")
    page.locator("#copy").click()
    expect(page.locator("#said")).to_have_text("Body copied")
    assert page.evaluate("navigator.clipboard.readText()") == shown
    page.locator("#close").click()
    expect(page.locator("#detail")).to_be_hidden()


def test_search_and_filters_narrow_the_list(sink, live):
    """By text anywhere in a body, by vendor, name, user and fate; the sink samples what matches."""
    page = live(sink)
    post(sink, [server_event("cart.opened", "u-1", city="Paris", insert_id="same")])
    post(sink, [server_event("cart.closed", "u-2", city="Rome", insert_id="same")])
    post(sink, server_event("bad", type="browser"))
    properties = {"distinct_id": "u-2", "token": "t", "time": 1.7e9, "$insert_id": "f-1"}
    post(sink, {"event": "page.viewed", "properties": properties}, "/track")
    expect(rows(page)).to_have_count(4)
    for field, value, expected in (
        ("search", "rome", ["cart.closed"]),
        ("name", "CART", ["cart.closed", "cart.opened"]),
        ("user", "u-2", ["page.viewed", "cart.closed"]),
    ):
        page.fill(f"#{field}", value)
        expect(rows(page)).to_have_count(len(expected))
        assert names(page) == expected
        page.fill(f"#{field}", "")
        expect(rows(page)).to_have_count(4)
    for field, value, expected in (
        ("vendor", "freshpaint", ["page.viewed"]),
        ("kind", "repeated", ["cart.closed"]),
        ("kind", "refused", ["bad"]),
    ):
        page.select_option(f"#{field}", value)
        expect(rows(page)).to_have_count(1)
        assert names(page) == expected
        page.locator("#clear-filters").click()
        expect(rows(page)).to_have_count(4)
    # One among thousands that come at once is found, as it is sampled from what matches.
    with page.expect_request("**/_sink/live?name=needle"):
        page.fill("#name", "needle")
    expect(page.locator("#none")).to_be_visible()
    page.wait_for_timeout(300)  # until the new stream is open
    batch = [server_event() for _ in range(3_000)]
    batch[1_234] = server_event("needle")
    post(sink, batch)
    expect(rows(page)).to_have_count(1)
    assert names(page) == ["needle"]


def test_what_was_malformed_is_told(sink, live):
    """The panel counts reasons, the row says which event and why, with the body as it came."""
    page = live(sink)
    post(sink, [server_event(), server_event(type="browser")])
    post(sink, b'{"event": ')
    expect(number(page, "datadog", "refused")).to_have_text("2")
    expect(number(page, "datadog", "reasons")).to_contain_text('1 type is not "server"')
    expect(number(page, "datadog", "statuses")).to_contain_text("400 2")
    rows(page).first.click()
    expect(page.locator("#detail-reason")).to_contain_text("body is not valid JSON")
    assert page.locator("#body").inner_text() == '{"event": '
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail-reason")).to_contain_text("event 1")


def test_the_keyboard_is_enough(sink, live):
    """Search, list, body and back, the pause, the help and the theme, without a mouse."""
    page = live(sink)
    post(sink, [server_event(f"e-{n}") for n in range(5)])
    expect(rows(page)).to_have_count(5)
    keys = page.keyboard
    keys.press("/")
    assert focused(page) == "search"
    keys.type("e-")
    keys.press("ArrowDown")
    assert focused(page) == "list"
    expect(page.locator("#detail-title")).to_have_text("e-4")
    assert page.get_attribute("#list", "aria-activedescendant") == "row-datadog/4"
    for key, title in (("ArrowDown", "e-3"), ("End", "e-0"), ("ArrowUp", "e-1"), ("Home", "e-4")):
        keys.press(key)
        expect(page.locator("#detail-title")).to_have_text(title)
    keys.press("Enter")
    assert focused(page) == "body"
    keys.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    assert focused(page) == "list"
    keys.press("/")
    keys.press("Escape")
    assert page.input_value("#search") == ""
    keys.press("Escape")
    assert focused(page) == "list"
    keys.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    post(sink, server_event("later"))
    expect(page.locator("#newer")).to_have_text("1 newer: show")
    expect(number(page, "datadog", "accepted")).to_have_text("6")
    assert "later" not in names(page)
    keys.press("p")
    expect(rows(page).first).to_contain_text("later")
    keys.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.locator("#single-keys").uncheck()
    keys.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    keys.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")


def test_focus_can_be_seen(sink, live):
    """Whatever Tab leads to has an outline."""
    page = live(sink)
    post(sink, server_event())
    rows(page).first.wait_for()
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        place = "document.activeElement.id || document.activeElement.textContent"
        seen.add(page.evaluate(place).strip()[:20])
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(f"{style}.outlineStyle") == "solid"
    assert {"pause", "search", "list", "503", "fault-line", "user"} <= seen


def test_the_list_stands_still_while_somebody_reads(sink, live):
    """A chosen event stays where it is; what comes waits, and Escape shows it."""
    page = live(sink)
    post(sink, [server_event(f"old-{n}") for n in range(3)])
    expect(rows(page)).to_have_count(3)
    rows(page).nth(1).click()
    post(sink, [server_event(f"new-{n}") for n in range(4)])
    expect(page.locator("#newer")).to_have_text("4 newer: show")
    assert names(page) == ["old-2", "old-1", "old-0"]
    page.keyboard.press("Escape")
    expect(rows(page)).to_have_count(7)
    assert names(page)[0] == "new-3"


def test_a_fault_is_seen_and_survived(sink, live, dispatcher):
    """503 by a press of a button: the answers change, the dispatcher copes, a press ends it."""
    page = live(sink)
    panel = page.locator(".panel[data-vendor=datadog]")
    button = panel.locator("[data-what='503']")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(number(page, "datadog", "state")).to_have_text("faulty")
    expect(number(page, "freshpaint", "state")).to_have_text("healthy")
    assert sink.stats().script == ("503 on datadog",)
    for _ in range(50):
        dispatcher.track("e", user_id="u")
    expect(number(page, "datadog", "statuses")).to_contain_text("503")
    expect(page.locator(".row[data-vendor=datadog] em.faulted").first).to_have_text("503")
    expect(number(page, "freshpaint", "accepted")).to_have_text("50")
    expect(number(page, "datadog", "accepted")).to_have_text("0")
    panel.locator("[data-what='429 retry-after 2']").click()
    expect(button).to_have_attribute("aria-pressed", "false")
    panel.locator("[data-what='latency 400ms']").click()
    expect(page.locator("#standing li")).to_have_count(2)
    assert sink.stats().script == ("latency 400ms on datadog", "429 retry-after 2 on datadog")
    panel.locator("[data-clear]").click()
    expect(page.locator("#standing li")).to_have_count(0)
    expect(number(page, "datadog", "accepted")).to_have_text("50")
    assert dispatcher.flush_blocking(10)
    counts = dispatcher.stats().destinations["datadog"]
    assert (counts.delivered, counts.submitted) == (50, 50)


def test_resets_show_as_duplicates(sink, live, dispatcher):
    """A connection that breaks after the events were taken makes the dispatcher send them again."""
    page = live(sink)
    page.select_option("#fault-share", " share 0.5")
    page.locator(".panel[data-vendor=freshpaint] [data-what=reset]").click()
    expect(page.locator("#standing code")).to_have_text("reset on freshpaint share 0.5")
    for _ in range(20):
        dispatcher.track("e", user_id="u", to=["freshpaint"])
    page.locator("#kind").select_option("repeated")
    expect(rows(page).first).to_contain_text("duplicate")
    assert dispatcher.flush_blocking(10)
    assert sink.stats().freshpaint.unique == 20


def test_any_line_of_script_can_be_added_and_removed(sink, live, allowed):
    """What makes no sense is told where it was typed; each fault has a button of its own."""
    allowed.append("400 (Bad Request)")
    page = live(sink)
    page.fill("#fault-line", "explode")
    page.keyboard.press("Enter")
    expect(page.locator("#fault-wrong")).to_contain_text("'explode' is neither")
    page.fill("#fault-line", "hang on freshpaint first 3")
    page.keyboard.press("Enter")
    expect(page.locator("#fault-wrong")).to_be_hidden()
    expect(page.locator("#standing")).to_contain_text("met 0")
    page.get_by_role("button", name="Remove: hang on freshpaint first 3").click()
    expect(page.locator("#no-faults")).to_be_visible()
    assert sink.stats().script == ()


def test_counts_can_be_reset_and_pages_are_many(sink, live):
    """All pages see the same, and a reset by one empties them all."""
    one, other = live(sink), live(sink, viewport={"width": 700, "height": 600})
    post(sink, [server_event()] * 3)
    for page in (one, other):
        expect(rows(page)).to_have_count(3)
    one.locator("#reset").click()
    for page in (one, other):
        expect(rows(page)).to_have_count(0)
        expect(number(page, "datadog", "accepted")).to_have_text("0")


def test_the_page_survives_its_sink(live, allowed):
    """It says that it lost the sink, finds the next one by itself, and shows that one's events."""
    allowed.append("net::ERR")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with SinkProcess(Settings(port=port)) as first:
        page = live(first)
        post(first, server_event("old"))
        expect(rows(page)).to_have_count(1)
    expect(page.locator("#link")).to_have_attribute("data-state", "lost")
    expect(page.locator("#link-text")).to_have_text("not connected, trying again")
    with SinkProcess(Settings(port=port)) as second:
        expect(page.locator("#link")).to_have_attribute("data-state", "live")
        post(second, server_event("new"))
        expect(rows(page)).to_have_count(1)
        assert names(page) == ["new"]
        page.goto("about:blank")


def test_the_theme_follows_the_system_until_it_is_chosen(sink, live):
    """The choice outlives the page."""
    page = live(sink, color_scheme="dark")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")
    expect(live(sink, color_scheme="light").locator("html")).to_have_attribute(
        "data-theme", "light"
    )


@pytest.mark.parametrize("width", [375, 320, 800])
def test_nothing_sticks_out_of_a_narrow_page(sink, live, width):
    """No sideways scrolling, whatever is open and however long its words are."""
    page = live(sink, viewport={"width": width, "height": 720})
    word = "w" * 300
    post(sink, [server_event(word, word, insert_id=word, **{word: word})])
    post(sink, server_event("bad", type="browser"))
    sink.faults("503 after 1000s on datadog first 3 share 0.5 retry-after 2", "latency 0ms")
    expect(page.locator("#standing li")).to_have_count(2)
    expect(rows(page)).to_have_count(2)
    scroll = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(scroll) == 0
    rows(page).last.click()
    expect(page.locator("#detail")).to_be_visible()
    assert page.evaluate(scroll) == 0
    assert page.locator("#close").bounding_box()["x"] < width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(sink, live, theme):
    """Names, roles, contrast, order: no rule of axe is broken, at rest or in trouble."""
    from axe_playwright_python.sync_playwright import Axe

    page = live(sink, color_scheme=theme)
    axe = Axe()
    found = {"at rest": axe.run(page)}
    post(sink, [server_event("a", insert_id="1"), server_event("b", insert_id="1")])
    post(sink, server_event("bad", type="browser"))
    sink.faults("503 on freshpaint", "429 for 0s")
    post(sink, {}, "/track")
    expect(page.locator("#standing li.over")).to_have_count(1)
    page.locator("#pause").click()
    rows(page).last.click()
    expect(page.locator("#detail")).to_be_visible()
    found["in trouble"] = axe.run(page)
    if theme == "dark":
        page.locator("#help-open").click()
        found["with help"] = axe.run(page)
    assert {state: result.generate_report() for state, result in found.items() if
            result.violations_count} == {}  # fmt: skip


def test_event_bodies_are_never_markup(sink, live, allowed):
    """Markup in names, ids, keys, bodies, reasons and faults is shown as the text that it is."""
    allowed.append("400 (Bad Request)")  # the answer to a fault that is none
    page = live(sink)
    post(sink, [server_event(EVIL, EVIL, insert_id=EVIL, **{EVIL: EVIL})])
    post(sink, EVIL.encode())
    post(sink, [], f"/track?{EVIL[:8]}")
    expect(rows(page)).to_have_count(3)
    for row in (0, 1, 2):
        rows(page).nth(row).click()
        page.wait_for_timeout(50)
    assert page.locator("#detail-title").inner_text() == EVIL
    assert EVIL in page.locator("#body").inner_text()
    page.fill("#fault-line", EVIL.replace(" ", "\u00a0"))
    page.keyboard.press("Enter")
    expect(page.locator("#fault-wrong")).to_contain_text("<script>")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


class Elsewhere(BaseHTTPRequestHandler):
    """Another site's page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>elsewhere</title>")

    def log_message(self, *_):
        pass


ATTACK = """async (sink) => {
    const post = (path, body) =>
        fetch(sink + path, { method: "POST", mode: "no-cors", body }).catch(() => null);
    await post("/_sink/reset", "");
    await post("/_sink/faults", '{"script": ["503"]}');
    const read = await fetch(sink + "/_sink/events?vendor=datadog").then(() => "read", () => "no");
    const stream = await new Promise((resolve) => {
        const source = new EventSource(sink + "/_sink/live");
        source.onopen = () => resolve("open");
        source.onerror = () => resolve("no");
    });
    return [read, stream];
}"""


def test_another_site_can_neither_read_nor_drive(sink, visit, allowed):
    """A page of another local port gets no event, opens no stream and changes nothing."""
    allowed.append("")  # the browser notes each refusal
    post(sink, server_event())
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page = visit(f"http://127.0.0.1:{server.server_port}/")
        assert page.evaluate(ATTACK, sink.url) == ["no", "no"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (sink.stats().datadog.accepted, sink.stats().script) == (1, ())


WATCH = """() => {
    window.frames_ = []; window.tasks_ = [];
    let last = performance.now();
    const frame = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) tasks_.push(entry.duration);
    }).observe({ entryTypes: ["longtask"] });
}"""


def test_the_page_keeps_answering_at_5_000_events_a_second(sink, live, record_property, capsys):
    """The counters are exact, the page draws and can be used all along."""
    page = live(sink)
    page.evaluate(WATCH)
    sent = threading.Thread(target=pour, args=(sink, 80))
    sent.start()
    answers = []
    while sent.is_alive():
        began = time.perf_counter()
        page.locator("#theme").click()
        answers.append(time.perf_counter() - began)
        page.wait_for_timeout(150)
    sent.join()
    expect(number(page, "datadog", "accepted")).to_have_text("20,000")
    expect(number(page, "datadog", "requests")).to_have_text("80")
    assert sink.stats().datadog.accepted == 20_000
    assert rows(page).count() <= 250
    frames, tasks = page.evaluate("[frames_, tasks_]")
    frames.sort()
    measured = {
        "frames": len(frames),
        "median_frame_ms": frames[len(frames) // 2],
        "p99_frame_ms": frames[int(len(frames) * 0.99)],
        "longest_frame_ms": frames[-1],
        "long_tasks": len(tasks),
        "longest_task_ms": max(tasks, default=0),
        "slowest_click_ms": max(answers) * 1_000,
    }
    for name, value in measured.items():
        record_property(name, round(value, 1))
    with capsys.disabled():
        print(" ", {name: round(value, 1) for name, value in measured.items()})
    # A machine with better things to do may stutter; a page that stood still would not pass.
    assert measured["longest_frame_ms"] < 2_000
    assert measured["median_frame_ms"] < 200


def pour(sink, requests):
    """Twenty requests of 250 events a second."""
    begin = time.monotonic()
    batch = [server_event(f"e-{n % 9}", f"u-{n}", amount=9.99) for n in range(250)]
    for number in range(requests):
        time.sleep(max(0.0, begin + number / 20 - time.monotonic()))
        post(sink, batch)
