"""The stream and the files of the live page, over sockets and without a browser."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import pytest

import sendoff.sink
from sendoff.sink import Settings, SinkProcess, live, server, tape
from sendoff.sink import rows as rows_module
from sendoff.sink.live import MAX_PAGES
from sendoff.sink.server import serve
from sendoff.sink.wire import Connection

PATIENCE = 5.0
PAGE = Path(sendoff.sink.__file__).parent / "page"


@pytest.fixture
def watch(connect):
    """Opens streams."""
    opened = []

    def watch(query=""):
        opened.append(Stream(connect(), query))
        return opened[-1]

    watch.opened = opened
    yield watch
    for stream in opened:
        stream.close()


class Stream:
    """A page's stream, read message by message."""

    def __init__(self, connection, query=""):
        self.connection = connection
        connection.request("GET", f"/_sink/live?{query}")
        self.answer = connection.getresponse()

    def next(self):
        name = self.answer.readline().decode().removeprefix("event: ").strip()
        data = json.loads(self.answer.readline().decode().removeprefix("data: "))
        assert self.answer.readline() == b"\n"
        return name, data

    def until(self, holds):
        """The first message of which something holds, and the rows that came up to it."""
        rows = []
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline
            name, message = self.next()
            rows += message["rows"]
            if holds(message):
                return name, message, rows

    def close(self):
        self.answer.close()
        self.connection.close()


def wait_for(condition):
    """Ask again until it holds, since another process is the one that makes it so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def port_of(sink):
    return int(sink.url.rpartition(":")[2])


def server_event(name="e", user="u-1", **fields):
    head = {"application": {"id": "app"}, "type": "server"}
    return {**head, "event": {"name": name}, "usr": {"id": user}, **fields}


def track_event(insert_id, name="e"):
    properties = {"distinct_id": "u-1", "token": "t", "time": 1_700_000_000.5}
    return {"event": name, "properties": {**properties, "$insert_id": insert_id}}


def send(connection, body, path="/api/v2/prodlytics", **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "DD-API-KEY": "key", **headers}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def get(connection, path, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


def accepted(message):
    return sum(counts["accepted"] for counts in message["counts"]["vendors"].values())


def test_what_arrives_is_streamed_with_its_body_and_its_fate(sink, connect, watch):
    """Accepted, repeated, refused and faulted requests each come as a row; the counts are all."""
    stream = watch()
    name, hello = stream.next()
    assert (name, hello["rows"], accepted(hello)) == ("hello", [], 0)
    assert hello["limits"]["datadog"] == {
        "path": "/api/v2/prodlytics",
        "rate": 5_000,
        "body": 5_000_000,
    }
    connection = connect()
    began = time.time()
    assert send(connection, [server_event("a", insert_id="1"), server_event("b")]) == 202
    assert send(connection, server_event("a", insert_id="1", n=2**60)) == 202
    assert send(connection, track_event("x y"), "/track") == 400
    sink.faults("503 first 1")
    assert send(connection, track_event("3", "lost"), "/track") == 503
    _, message, rows = stream.until(lambda one: one["counts"]["vendors"]["freshpaint"]["faults"])
    assert accepted(message) == 3
    assert [(row["key"], row["status"], row["kinds"]) for row in rows] == [
        ("datadog/0", 202, ["accepted"]),
        ("datadog/1", 202, ["accepted"]),
        ("datadog/2", 202, ["accepted", "repeated"]),
        ("request/2", 400, ["refused"]),
        ("request/3", 503, ["faulted"]),
    ]
    assert [row["name"] for row in rows] == ["a", "b", "a", "e", "lost"]
    assert str(2**60) in rows[2]["body"]
    assert (rows[0]["count"], rows[1]["index"]) == (2, 1)
    assert rows[3]["reason"] == "$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -"
    assert rows[4]["fault"] == "503 first 1"
    assert all(began - 1 < row["at"] < time.time() + 1 for row in rows)
    standing = message["counts"]["script"]
    assert [(one["text"], one["met"], one["over"]) for one in standing] == [
        ("503 first 1", 1, True)
    ]
    assert sum(message["counts"]["vendors"]["datadog"]["sizes"]) == 2


def test_counts_are_exact_however_much_comes(sink, connect, watch):
    """The rows of a turn are few, the numbers are those of the ledgers."""
    stream = watch()
    stream.next()
    connection = connect()
    for _ in range(10):
        assert send(connection, [server_event()] * 1_000) == 202
    _, message, rows = stream.until(lambda one: accepted(one) == 10_000)
    turns = -(-len(rows) // 25)
    assert 0 < len(rows) <= 25 * turns
    assert len(rows) < 1_000
    ours, theirs = message["counts"]["vendors"]["datadog"], sink.stats().datadog
    for field in ("requests", "events", "accepted", "unique", "without_id", "fullest_second"):
        assert ours[field] == getattr(theirs, field), field


def test_a_page_gets_what_it_asks_for(sink, connect, watch):
    """The sample is drawn from what matches; counts are of everything."""
    stream = watch("name=RARE&vendor=datadog")
    stream.next()
    batch = [server_event() for _ in range(500)]
    batch[250] = server_event("rare.one")
    send(connect(), batch)
    _, message, rows = stream.until(lambda one: accepted(one) == 500)
    assert [row["name"] for row in rows] == ["rare.one"]
    assert (message["seen"], message["matching"]) == (500, 1)


@pytest.mark.parametrize("query", ["vendor=nobody", "kind=other"])
def test_a_wrong_question_is_refused(sink, connect, query):
    """The answer says what may be asked for."""
    answer, body = get(connect(), f"/_sink/live?{query}")
    assert answer.status == 400
    assert "must be one of" in json.loads(body)["error"]


def test_a_new_page_sees_what_came_before_it():
    """Events from before anybody watched, then those that another page saw; each once."""
    with ExitStack() as stack:
        sink = stack.enter_context(SinkProcess())  # one that nobody has watched

        def connect():
            return stack.enter_context(closing(HTTPConnection("127.0.0.1", port_of(sink))))

        def watch(query=""):
            return stack.enter_context(closing(Stream(connect(), query)))

        connection = connect()
        send(connection, [server_event("early", insert_id="e-1")])
        first = watch()
        assert [(row["key"], row["at"], row["id"]) for row in first.next()[1]["rows"]] == [
            ("datadog/0", None, "e-1")
        ]
        send(connection, [server_event("late")])
        first.until(lambda one: accepted(one) == 2)
        rows = watch().next()[1]["rows"]
        assert [(row["key"], row["name"]) for row in rows] == [
            ("datadog/0", "early"),
            ("datadog/1", "late"),
        ]
        assert watch("name=late").next()[1]["rows"] == rows[1:]


def test_a_reset_begins_another_epoch(sink, connect, watch):
    """A page learns from it that its rows belong to counts that are gone."""
    stream = watch()
    epoch = stream.next()[1]["counts"]["epoch"]
    send(connect(), server_event("old"))
    stream.until(lambda one: accepted(one) == 1)
    sink.reset()
    _, message, _ = stream.until(lambda one: one["counts"]["epoch"] != epoch)
    assert accepted(message) == 0
    assert watch().next()[1]["rows"] == []


def test_there_are_only_so_many_pages(sink, watch, connect):
    """One more is told so; a page that goes makes room at once."""

    def taken():
        stream = watch()
        if stream.answer.status == 200:
            stream.next()
        return stream.answer.status == 200

    wait_for(lambda: not taken())
    assert get(connect(), "/_sink/live")[0].status == 503
    pages = [stream for stream in watch.opened if stream.answer.status == 200]
    assert len(pages) == MAX_PAGES
    pages[0].close()
    wait_for(taken)


def test_a_page_that_does_not_read_costs_nothing(monkeypatch):
    """Nothing is piled up for it, and another page gets all its messages meanwhile."""
    monkeypatch.setattr(live, "TURN_SECONDS", 0.01)
    transports = []
    made = Connection.connection_made

    def connection_made(self, transport):
        transports.append(transport)
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", connection_made)
    large = json.dumps([server_event(pad="x" * 60_000)] * 4).encode()
    head = (
        "POST /api/v2/prodlytics HTTP/1.1\r\nHost: a\r\nDD-API-KEY: k\r\n"
        f"Content-Length: {len(large)}\r\nContent-Type: application/json\r\n\r\n"
    ).encode()

    async def scenario(port):
        deaf = await opened(port, limit=1_024)  # the client's own buffer is full soon, too
        await deaf[0].readline()
        page = await opened(port, limit=2**22)
        sender = await asyncio.open_connection("127.0.0.1", port)
        waiting = []
        for number in range(1, 61):
            sender[1].write(head + large)
            assert await sender[0].readline() == b"HTTP/1.1 202 Accepted\r\n"
            await sender[0].readuntil(b"{}")
            while f'"accepted": {4 * number},'.encode() not in await page[0].readline():
                pass
            waiting.append(transports[0].get_write_buffer_size())
        # Sixty messages of a quarter of a megabyte each were made meanwhile.
        assert 0 < max(waiting) < 600_000
        assert waiting[-1] == waiting[-30]
        for _, writer in (deaf, page, sender):
            writer.close()

    with_server(scenario)


async def opened(port, limit):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    writer.write(b"GET /_sink/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader, writer


def with_server(scenario, settings=None):
    """Runs a scenario beside a sink in this very process."""

    async def main():
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(settings or Settings(), stop, on_ready=port.set_result))
        async with asyncio.timeout(4 * PATIENCE):
            await scenario(await port)
        stop.set()
        await serving

    asyncio.run(main())


def test_nobody_watching_leaves_no_timer(monkeypatch):
    """When the last page has gone, and nobody has come back for a while, nothing ticks."""
    monkeypatch.setattr(live, "_LINGER_SECONDS", 0.0)
    monkeypatch.setattr(live, "TURN_SECONDS", 0.02)

    def ticking():
        timers = asyncio.get_running_loop()._scheduled
        return [timer for timer in timers if "Live._turn" in repr(timer)]

    async def scenario(port):
        reader, writer = await opened(port, limit=2**16)
        while b"event: turn" not in await reader.readline():
            pass
        assert len(ticking()) == 1
        writer.close()
        await writer.wait_closed()
        while ticking():
            await asyncio.sleep(live.TURN_SECONDS)

    with_server(scenario)


def test_a_page_that_is_loaded_again_finds_its_rows(monkeypatch):
    """For a while after the last page has gone, what it saw is kept with the moment it came."""
    monkeypatch.setattr(live, "TURN_SECONDS", 0.02)
    gone = asyncio.Event()
    lost = Connection.connection_lost

    def connection_lost(self, exc):
        lost(self, exc)
        gone.set()

    monkeypatch.setattr(Connection, "connection_lost", connection_lost)

    async def scenario(port):
        reader, writer = await opened(port, limit=2**20)
        while b"event: turn" not in await reader.readline():
            pass
        sender = await posted(port, server_event("seen"))
        while b'"name": "seen"' not in await reader.readline():
            pass
        writer.close()
        await gone.wait()
        await asyncio.sleep(5 * live.TURN_SECONDS)
        reader, writer = await opened(port, limit=2**20)
        (row,) = (await message_of(reader, b"hello"))["rows"]
        assert row["at"] == pytest.approx(time.time(), abs=PATIENCE)
        writer.close()
        sender.close()

    with_server(scenario)


def test_what_was_processed_before_anybody_watched_is_shown_once(monkeypatch):
    """An answer may come late, with latency; its events are among the earlier ones by then."""
    monkeypatch.setattr(live, "TURN_SECONDS", 0.02)
    delayed, answer = asyncio.Event(), asyncio.Event()

    async def sleep(_):
        delayed.set()
        await answer.wait()

    held = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    monkeypatch.setattr(server, "asyncio", held)

    async def scenario(port):
        sender = await posted(port, server_event("early"), answered=False)
        await delayed.wait()
        reader, writer = await opened(port, limit=2**20)
        (row,) = (await message_of(reader, b"hello"))["rows"]
        answer.set()
        rows, statuses = [], {}
        while not statuses:
            turn = await message_of(reader, b"turn")
            statuses = turn["counts"]["vendors"]["datadog"]["statuses"]
            rows += turn["rows"]
        assert (row["name"], statuses, rows) == ("early", {"202": 1}, [])
        writer.close()
        sender.close()

    with_server(scenario, Settings(faults=("latency 1ms",)))


async def message_of(reader, name):
    """The next message of a name, from a page's stream."""
    while await reader.readline() != b"event: " + name + b"\n":
        pass
    return json.loads((await reader.readline()).removeprefix(b"data: "))


async def posted(port, event, *, answered=True):
    """Sends an event over a connection of its own, which is left open."""
    body = json.dumps(event).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /api/v2/prodlytics HTTP/1.1\r\nHost: a\r\nDD-API-KEY: k\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
    )
    writer.write(head.encode() + body)
    if answered:
        assert await reader.readline() == b"HTTP/1.1 202 Accepted\r\n"
    return writer


def test_browsers_get_the_page_and_others_the_summary(sink, connect):
    """`/` is HTML where it is asked for, and text for curl; the text has a place of its own."""
    connection = connect()
    answer, page = get(connection, "/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page == (PAGE / "index.html").read_bytes()
    for path in ("/", "/_sink/summary"):
        answer, text = get(connection, path, Accept="*/*")
        assert (answer.headers["Content-Type"], text[:8]) == ("text/plain", b"datadog:")


def test_the_page_loads_nothing_from_elsewhere(sink, connect):
    """Every file that it names is there, with a policy that forbids all else."""
    connection = connect()
    text = "".join(path.read_text() for path in PAGE.iterdir())
    names = set(re.findall(r'"/_sink/page/([\w.]+)"', text)) | set(
        re.findall(r'from "\./([\w.]+)"', text)
    )
    assert names == {path.name for path in PAGE.iterdir()} - {"index.html"}
    for name in names:
        answer, body = get(connection, f"/_sink/page/{name}")
        assert (answer.status, body) == (200, (PAGE / name).read_bytes())
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(r'\son\w+="|\sstyle="', (PAGE / "index.html").read_text())


@pytest.mark.parametrize(
    "path", ["/_sink/page/nothing.js", "/_sink/page/..%2Fserver.py", "/_sink/page/../server.py"]
)
def test_there_is_no_other_file(sink, connect, path):
    """Names lead to files of the page only."""
    assert get(connect(), path)[0].status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_sink/live"),
        ("GET", "/_sink/events?vendor=datadog"),
        ("GET", "/_sink/page/app.js"),
        ("POST", "/_sink/faults"),
        ("POST", "/_sink/reset"),
    ],
)
def test_other_sites_can_neither_look_nor_drive(sink, connect, method, path):
    """Under another name, from another origin or frame the answer is 403 and nothing changes."""
    connection = connect()
    send(connection, server_event())
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://localhost:{port_of(sink)}"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        body = b'{"script": ["503"]}' if method == "POST" else None
        answer, _ = get(connection, path, method, body, **headers)
        assert answer.status == 403, headers
    assert (sink.stats().script, sink.stats().datadog.accepted) == ((), 1)
    assert sink.stats().strays == 0


def test_the_vendors_are_there_under_any_name(sink, connect):
    """Events may come under the vendor's own name, as where a resolver leads them here."""
    assert send(connect(), server_event(), Host="browser-intake.example") == 202


def test_faults_can_be_added_and_removed_one_by_one(sink, connect):
    """The last added wins; nonsense changes nothing and says why."""
    connection = connect()

    def change(**body):
        answer, data = get(connection, "/_sink/faults", "POST", json.dumps(body))
        return answer.status, json.loads(data)

    sink.faults("503 on datadog")
    assert change(add=["500 on datadog"]) == (200, {})
    assert sink.stats().script == ("500 on datadog", "503 on datadog")
    assert send(connection, server_event()) == 500
    assert change(remove=["500 on datadog"], add=["latency 0ms"]) == (200, {})
    assert sink.stats().script == ("latency 0ms", "503 on datadog")
    for body in ({}, {"add": "503"}, {"add": ["explode"]}, {"remove": [1]}):
        status, data = change(**body)
        assert status == 400
        assert data["error"]
    assert sink.stats().script == ("latency 0ms", "503 on datadog")


def test_a_malformed_body_is_shown_compressed_or_not(sink, connect, watch):
    """What could not be read stands in the row as it came, unpacked where that is possible."""
    stream = watch("kind=refused")
    stream.next()
    connection = connect()
    assert send(connection, b'{"<script>": ') == 400
    packed = gzip.compress(b"[]")
    assert send(connection, packed, **{"Content-Encoding": "gzip"}) == 400
    rows = stream.until(lambda one: one["counts"]["vendors"]["datadog"]["requests"] == 2)[2]
    assert [row["body"] for row in rows] == ['{"<script>": ', "[]"]
    assert rows[0]["reason"].startswith("body is not valid JSON: ")


@pytest.mark.parametrize(
    ("line", "status", "kinds"),
    [
        ("reset", None, ["accepted", "faulted"]),
        ("reset-before", None, ["faulted"]),
        ("close", 202, ["accepted", "faulted"]),
    ],
)
def test_requests_without_an_answer_are_seen(sink, connect, watch, line, status, kinds):
    """A fault below HTTP leaves a row that says whether the events were processed."""
    stream = watch()
    stream.next()
    sink.faults(line)
    try:
        send(connect(), server_event())
    except ConnectionError:
        assert line != "close"
    rows = stream.until(lambda one: one["counts"]["vendors"]["datadog"]["faults"])[2]
    assert [(row["status"], row["kinds"], row["fault"]) for row in rows] == [(status, kinds, line)]


HOW_TO = Path(__file__).parents[2] / "docs/how-to/watch-events-live.md"


def test_the_keys_are_those_that_the_documents_name():
    """The page's own table, the how-to and the code speak of the same keys."""
    table = PAGE.joinpath("index.html").read_text().partition('<dialog id="help"')[2]
    shown = re.findall(r"<kbd>(.+?)</kbd>", table)
    told = [
        key
        for row in re.findall(r"^\| (`.+?) \|", HOW_TO.read_text(), re.MULTILINE)
        for key in re.findall(r"`(.+?)`", row)
    ]
    assert sorted(shown) == sorted(told)
    code = PAGE.joinpath("app.js").read_text()
    singles = re.findall(r'^  "?([/?a-z])"?: ', code.partition("const SINGLE")[2], re.MULTILINE)
    assert set(singles) == {key for key in shown if len(key) == 1 and key.isascii()}


def test_the_how_to_has_the_codes_numbers():
    """Rows, turns, pages and cuts are as it says."""
    text = HOW_TO.read_text()
    rows = re.search(r"const ROWS = (\d+)", PAGE.joinpath("list.js").read_text())[1]
    for words in (
        f"at most {tape.ROWS_A_TURN} events",
        f"Up to {MAX_PAGES} pages",
        f"beyond {rows_module.TEXT_LIMIT:,} characters",
        f"the last {rows}, and",
        f"limit of {live.RATE_LIMIT:,} requests",
    ):
        assert words in text, words
    assert live.TURN_SECONDS == 1 / 4
    assert "four times a second" in text
