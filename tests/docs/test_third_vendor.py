"""
The documents' destination for a third vendor, against a stand-in for it: in memory on a virtual
clock, and over a real socket.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import importlib.util
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sendoff import Dispatcher, MemoryTransport, Request, Response, Retry
from virtual import fates, run

PATH = Path(__file__).parents[2] / "docs/examples/third_vendor.py"
PAGE = PATH.parents[1] / "how-to/write-a-destination.md"
KEY = "wk-canary"
AUTHORIZATION = f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("third_vendor", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["third_vendor"] = module
    spec.loader.exec_module(module)
    return module


Segment = _load().Segment


class Intake:
    """
    What the vendor does with a request: takes what has its form, and refuses it whole otherwise.
    """

    def __init__(self) -> None:
        self.busy = 0  # how many requests are answered by 429
        self.statuses: list[int] = []
        self.sizes: list[int] = []
        self.taken: list[Any] = []

    def answer(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        status = self._judge({name.lower(): value for name, value in headers.items()}, body)
        self.statuses.append(status)
        return status, {"retry-after": "1"} if status == 429 else {}, b'{"success":true}'

    def _judge(self, headers: Mapping[str, str], body: bytes) -> int:
        if headers.get("authorization") != AUTHORIZATION:
            return 401
        if self.busy:
            self.busy -= 1
            return 429
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.sizes.append(len(body))
        if len(body) > 500_000:
            return 413
        events = json.loads(body)["batch"]
        for event in events:
            if not event.get("userId") and not event.get("anonymousId"):
                return 400
            if len(json.dumps(event)) > 32_768 or event.get("event") == "poison":
                return 400
            assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
        self.taken += events
        return 200


def in_memory(intake: Intake) -> MemoryTransport:
    def answer(request: Request) -> Response:
        return Response(*intake.answer(request.headers, request.body))

    return MemoryTransport(answer)


def deliver(intake: Intake, calls: Any, *, runs: Any = run, **options: Any) -> Dispatcher:
    """
    A dispatcher that was used and closed, on a virtual clock unless told otherwise.
    """

    async def main() -> Dispatcher:
        dispatcher = Dispatcher(
            Segment(write_key=KEY, **options), transport=in_memory(intake), shutdown_timeout=120
        )
        async with dispatcher:
            calls(dispatcher)
            assert await dispatcher.flush(100)
        return dispatcher

    return runs(main())


def many(count: int, **more: Any) -> Any:
    def calls(dispatcher: Dispatcher) -> None:
        for number in range(count):
            dispatcher.track("seen", user_id=number, properties={"n": number, **more})

    return calls


def test_an_event_has_the_vendors_form() -> None:
    """Every argument of `track` and `identify` is where the vendor looks for it."""
    intake = Intake()

    def calls(dispatcher: Dispatcher) -> None:
        assert dispatcher.track(
            "checkout.completed",
            user_id="u-1",
            device_id="d-1",
            account_id="a-1",
            session_id="s-1",
            ip="192.0.2.1",
            properties={"amount": 9.5},
            integrations={"All": False},
            time=datetime(2026, 1, 2, tzinfo=UTC),
            insert_id="id-1",
        )
        assert dispatcher.identify("u-1", {"tier": "premium"}, time=0.0)

    assert fates(deliver(intake, calls), "segment") == {"delivered": 2}
    track, identify = intake.taken
    assert track == {
        "type": "track",
        "event": "checkout.completed",
        "properties": {"amount": 9.5},
        "context": {"ip": "192.0.2.1", "groupId": "a-1", "sessionId": "s-1"},
        "integrations": {"All": False},
        "messageId": "id-1",
        "timestamp": "2026-01-02T00:00:00+00:00",
        "userId": "u-1",
        "anonymousId": "d-1",
    }
    assert identify.pop("messageId")
    assert identify == {
        "type": "identify",
        "traits": {"tier": "premium"},
        "timestamp": "1970-01-01T00:00:00+00:00",
        "userId": "u-1",
    }


def test_what_the_vendor_would_refuse_is_rejected_at_the_call() -> None:
    """Each with its own reason, counted; nothing of it is sent, nothing raises."""
    intake = Intake()

    def calls(dispatcher: Dispatcher) -> None:
        assert dispatcher.track("nobody") is None
        assert dispatcher.track("", user_id="u") is None
        assert dispatcher.track("list", user_id="u", properties=[]) is None  # type: ignore[arg-type]
        assert dispatcher.track("long", user_id="u", properties={"x": "x" * 40_000}) is None
        assert dispatcher.enqueue({"type": "server"}, to="segment") is None

    stats = deliver(intake, calls).stats().destinations["segment"]
    assert stats.rejections == {
        "missing_identity": 1,
        "invalid_event": 1,
        "invalid_properties": 1,
        "too_large": 1,
        "invalid_type": 1,
    }
    assert intake.statuses == []


def test_bodies_of_ones_own_are_sent_as_they_are() -> None:
    """What is missing of id and time is filled in, and the id is the one that the call returns."""
    intake = Intake()
    ids: list[str | None] = []

    def calls(dispatcher: Dispatcher) -> None:
        ids.append(dispatcher.enqueue({"type": "page", "userId": "u", "name": "Home"}))
        ids.append(dispatcher.enqueue({"type": "page", "userId": "u", "messageId": "mine"}))

    assert fates(deliver(intake, calls), "segment") == {"delivered": 2}
    assert [event["messageId"] for event in intake.taken] == ids
    assert ids[1] == "mine"
    assert intake.taken[0]["name"] == "Home"


@pytest.mark.parametrize("compression", ["gzip", None])
def test_batches_are_full_and_within_the_limit(compression: str | None) -> None:
    """500 KB are never passed, whether compressed or not, and few requests carry many events."""
    intake = Intake()
    calls = many(1_000, pad="x" * 2_000)
    # Large bodies are compressed in a thread, which knows no virtual clock.
    dispatcher = deliver(intake, calls, runs=asyncio.run, compression=compression)
    assert fates(dispatcher, "segment") == {"delivered": 1_000}
    assert Counter(event["userId"] for event in intake.taken) == {str(n): 1 for n in range(1_000)}
    assert max(intake.sizes) <= 475_000
    assert 5 <= len(intake.sizes) <= 7  # 2.2 MB


def test_a_429_is_tried_again_with_the_same_ids() -> None:
    """The wait that the answer asks for is kept, and no event is lost or doubled."""
    intake = Intake()
    intake.busy = 3
    assert fates(deliver(intake, many(10)), "segment") == {"delivered": 10}
    assert intake.statuses == [429, 429, 429, 200]
    assert len({event["messageId"] for event in intake.taken}) == 10


def test_a_refused_event_costs_itself_alone() -> None:
    """A batch that is refused whole is halved until the one at fault stands alone."""
    intake = Intake()

    def calls(dispatcher: Dispatcher) -> None:
        many(50)(dispatcher)
        dispatcher.track("poison", user_id="u")
        many(50)(dispatcher)

    dispatcher = deliver(intake, calls)
    assert fates(dispatcher, "segment") == {"delivered": 100, "dropped": {"refused": 1}}
    assert len(intake.taken) == 100
    assert len(intake.statuses) <= 2 * 7 + 1


def test_no_log_line_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """Not even one about an answer that repeats it."""

    def answer(request: Request) -> Response:
        words = f"{KEY} {request.headers['Authorization']}"
        return Response(400, body=json.dumps({"errors": [words]}).encode())

    async def main() -> None:
        async with Dispatcher(Segment(write_key=KEY), transport=MemoryTransport(answer)) as d:
            d.track("x", user_id="u")
            assert await d.flush(60)

    with caplog.at_level("DEBUG"):
        run(main())
    assert "one event is given up" in caplog.text
    assert KEY not in caplog.text
    assert AUTHORIZATION.removeprefix("Basic ") not in caplog.text


class Handler(BaseHTTPRequestHandler):
    """
    The same intake behind a socket.
    """

    protocol_version = "HTTP/1.1"
    intake: Intake

    def do_POST(self) -> None:
        assert self.path == "/v1/batch"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, text = self.intake.answer(dict(self.headers), body)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """
        Says nothing.
        """


@pytest.fixture
def served() -> Iterator[tuple[Intake, str]]:
    intake = Intake()
    handler = type("Own", (Handler,), {"intake": intake})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield intake, f"http://127.0.0.1:{server.server_address[1]}/v1/batch"
        server.shutdown()
        thread.join()


def test_it_works_over_a_socket(served: tuple[Intake, str]) -> None:
    """Compressed batches, a 429, a refused event and a wait: all of it on a real connection."""
    intake, url = served
    intake.busy = 1

    async def main() -> Dispatcher:
        retry = Retry(base=0.01, cap=0.02, max_retry_after=0.05)
        segment = Segment(write_key=KEY, endpoint=url, retry=retry, flush_interval=0.05)
        async with Dispatcher(segment) as dispatcher:
            many(300, pad="é" * 100)(dispatcher)
            dispatcher.track("poison", user_id="u")
            assert await dispatcher.flush(20)
        return dispatcher

    dispatcher = asyncio.run(main())
    assert fates(dispatcher, "segment") == {"delivered": 300, "dropped": {"refused": 1}}
    assert Counter(event["userId"] for event in intake.taken) == {str(n): 1 for n in range(300)}
    assert {429, 400, 200} == set(intake.statuses)
    assert dispatcher.stats().destinations["segment"].lane == "fast"


def test_a_wrong_key_holds_and_loses_nothing(served: tuple[Intake, str]) -> None:
    """The events wait until the key is right, and go then."""
    intake, url = served
    keys = iter(["Basic wrong", AUTHORIZATION, AUTHORIZATION, AUTHORIZATION])

    class Mended(Segment):
        def authorized(self, request: Request) -> Request:
            headers = {**request.headers, "Authorization": next(keys)}
            return Request(request.url, headers, request.body)

    async def main() -> Dispatcher:
        retry = Retry(hold_interval=0.1)
        segment = Mended(write_key=KEY, endpoint=url, retry=retry, flush_interval=0.0)
        async with Dispatcher(segment) as dispatcher:
            dispatcher.track("seen", user_id="u")
            assert await dispatcher.flush(20)
        return dispatcher

    assert fates(asyncio.run(main()), "segment") == {"delivered": 1}
    assert intake.statuses == [401, 200]


def test_the_page_shows_the_file() -> None:
    """What the page prints is what is tested here, word for word."""
    assert f"```python\n{PATH.read_text()}```" in PAGE.read_text()
