"""
Canaries: a key, a token, a proxy's password and values of properties, through every kind of fault.

Everything is logged at DEBUG, asyncio's debug mode is on, and whatever can be reached from a
dispatcher is printed: none of the canaries may show.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import trustme

from certificates import serving, trusting
from neighbours import Neighbour, Proxy, Seen, answer
from sendoff import Datadog, Dispatcher, Freshpaint, MemoryTransport, Response, Retry
from sendoff.errors import SendoffError
from sendoff.sink import Settings, SinkProcess

pytestmark = pytest.mark.slow

KEY = "canarykey0123456789"
TOKEN = "canarytoken0123456789"
PASSWORD = "canarypassword"
VALUE = "canaryvalue"
CANARIES = (
    "canary",
    VALUE[::-1],
    base64.b64encode(f"user:{PASSWORD}".encode()).decode(),
    "4111111111111111",
)
PROPERTIES = {
    "card": 4111111111111111,
    "name": VALUE,
    VALUE: {"inner": [VALUE, VALUE[::-1]]},
    "amount": 9.99,
}
RETRY = Retry(attempts=3, base=0.01, cap=0.02, hold_interval=0.05)
FAULTS = [
    "500",
    "503 retry-after 1",
    "400",
    "401",
    "403",
    "404",
    "408",
    "413",
    "422",
    "429",
    "html 200",
    "html 502",
    "redirect",
    "hang",
    "reset-before",
    "reset",
    "truncate",
    "close",
    "latency 20ms",
]


class Ear:
    """
    Everything that is said anywhere: log records with all they carry, warnings, errors of ours.
    """

    def __init__(self) -> None:
        self.said: list[str] = []

    def hear(self, *things: Any) -> None:
        for thing in things:
            self.said += [f"{thing!r}", f"{thing!s}"]

    def handle(self, record: logging.LogRecord) -> None:
        self.hear(record.msg, record.args, record.getMessage(), record.__dict__)
        if record.exc_info and record.exc_info[1] is not None:
            self.hear_error(record.exc_info[1])

    def hear_error(self, error: BaseException | None) -> None:
        if error is not None:
            self.hear(error, error.args, vars(error), *traceback.format_exception(error))
            self.hear_error(error.__cause__)
            self.hear_error(error.__context__)

    def check(self) -> None:
        text = "\n".join(self.said)
        for canary in CANARIES:
            where = text.find(canary)
            assert where < 0, text[max(0, where - 300) : where + 300]


class _Handler(logging.Handler):
    def __init__(self, ear: Ear) -> None:
        super().__init__(logging.DEBUG)
        self._ear = ear

    def emit(self, record: logging.LogRecord) -> None:
        self._ear.handle(record)


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """
    Listens at the root, at DEBUG, to every logger, to warnings and to all errors of ours.
    """
    heard = Ear()
    handler = _Handler(heard)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    made: list[SendoffError] = []
    plain = SendoffError.__new__

    def noted(kind: type[SendoffError], *args: Any, **options: Any) -> SendoffError:
        error = plain(kind)
        made.append(error)
        return error

    monkeypatch.setattr(SendoffError, "__new__", noted)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield heard
        gc.collect()
    root.removeHandler(handler)
    root.setLevel(level)
    for error in made:
        heard.hear_error(error)
    heard.hear(*caught)
    assert any("freshpaint" in line or "datadog" in line for line in heard.said)
    heard.check()


def reachable(thing: Any) -> Iterator[Any]:
    """
    What a debugger, an error tracker or a curious user would print of a dispatcher.
    """
    yield thing
    if is_dataclass(thing):
        yield from (getattr(thing, field.name) for field in fields(thing) if field.repr)


def show(ear: Ear, dispatcher: Dispatcher, *more: Any) -> None:
    ear.hear(dispatcher, dispatcher.stats(), *more)
    for destination in dispatcher._settings.destinations:
        for thing in (
            destination,
            destination.tuning,
            destination._watched,
            destination.request([b"{}"]),
            destination.authorized(destination.request([b'{"properties":{"token":null,"a":1}}'])),
        ):
            ear.hear(*reachable(thing))
    for lane in dispatcher._lanes:
        ear.hear(lane, lane.intake, lane._batcher, lane._breaker, lane._throttle)
        ear.hear(lane.intake.ledger, lane.intake.queue)
        if dispatcher._hosts._host is not None:
            ear.hear(lane._delivery._routed(lane.intake.destination.request([b"{}"])))
    host = dispatcher._hosts._host
    if host is not None:
        ear.hear(host, host._transport, *asyncio.all_tasks())


def destinations(datadog: str, freshpaint: str, **options: Any) -> tuple[Datadog, Freshpaint]:
    options = {"retry": RETRY, "timeout": 0.3, **options}
    return (
        Datadog(
            api_key=KEY,
            application_id="app",
            endpoint=datadog,
            flush_interval=0.01,
            max_batch_events=2,
            **options,
        ),
        Freshpaint(token=lambda: TOKEN, endpoint=freshpaint, workers=4, **options),
    )


async def live(ear: Ear, made: tuple[Any, ...], *, patience: float = 0.2) -> None:
    """
    A dispatcher's whole life, with good events and bad ones, and everything printed on the way.
    """

    def raising(reason: str, events: Any) -> None:
        ear.hear(reason, *events)
        raise ValueError("on_drop's own")

    dispatcher = Dispatcher(*made, shutdown_timeout=0.2, on_drop=raising)
    async with dispatcher:
        for _ in range(5):
            dispatcher.track("x", user_id=f"u-{VALUE}", properties=PROPERTIES)
        dispatcher.track("x", properties=PROPERTIES)
        dispatcher.track("x", user_id=VALUE.encode(), properties=PROPERTIES)  # type: ignore[arg-type]
        dispatcher.enqueue({"event": VALUE, "properties": PROPERTIES})
        dispatcher.enqueue({"event": VALUE, VALUE: VALUE})
        dispatcher.identify(f"u-{VALUE}", PROPERTIES)
        report = await dispatcher.flush(timeout=patience)
        show(ear, dispatcher, report)
    show(ear, dispatcher)


def run(ear: Ear, main: Callable[[], Any]) -> None:
    with asyncio.Runner(debug=True) as runner:
        runner.get_loop().slow_callback_duration = 0.0  # every callback is logged as slow
        runner.run(main())


@pytest.fixture(scope="module")
def process() -> Iterator[SinkProcess]:
    with SinkProcess(Settings(api_key=KEY, token=TOKEN)) as sink:
        yield sink


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_shows_through_a_fault(fault: str, process: SinkProcess, ear: Ear) -> None:
    """Every fault that the sink can play, for both vendors."""
    process.faults(fault)
    made = destinations(process.datadog_endpoint, process.freshpaint_endpoint)
    run(ear, lambda: live(ear, made))


def test_nothing_shows_of_a_key_that_is_wrong(process: SinkProcess, ear: Ear) -> None:
    """The vendors' real 403, and the holding."""
    process.faults()
    made = (
        Datadog(
            api_key=KEY + "x", application_id="a", endpoint=process.datadog_endpoint, retry=RETRY
        ),
        Freshpaint(token=TOKEN + "x", endpoint=process.freshpaint_endpoint, retry=RETRY),
    )
    run(ear, lambda: live(ear, made))


def echo(seen: Seen) -> bytes:
    """
    An answer that repeats all it was sent, in words, in JSON, in other letters and in a header.
    """
    body = seen.body.decode()
    errors = [
        {"title": f"Invalid {VALUE}", "detail": body},
        {"title": KEY, "detail": TOKEN},
        {"title": body.upper(), "detail": VALUE[::-1]},
        f"bad value {VALUE}: {seen.headers}",
        {"title": {"deep": body}, "detail": [VALUE]},
    ]
    return answer(
        400,
        json.dumps({"errors": errors}).encode(),
        **{"X-Echo": VALUE, "Set-Cookie": f"a={VALUE}"},
    )


@pytest.mark.parametrize("status", [400, 401, 413, 429, 500, 307, 200])
def test_nothing_shows_of_an_answer_that_repeats_everything(status: int, ear: Ear) -> None:
    """Key, token, values, whole bodies; also in the wrong place and half-way through a line."""

    async def main() -> None:
        def respond(seen: Seen) -> bytes:
            return echo(seen).replace(b" 400 ", f" {status} ".encode(), 1)

        async with Neighbour(respond=respond) as there:
            # Time enough for an answer on a busy machine: the lanes that hold use all of it.
            await live(ear, destinations(there.url(), there.url(), timeout=5.0), patience=2.0)

    run(ear, main)
    assert status == 200 or any("Invalid …" in line for line in ear.said)


@pytest.mark.parametrize(
    "said",
    [
        lambda seen: b"what " + seen.body,
        lambda seen: b"HTTP/1.1 200 " + seen.body.replace(b"\n", b"") + b"\r\n\r\n",
        lambda seen: b"HTTP/1.1 999999 OK\r\nX-A: " + seen.body + b"\r\n\r\n",
        lambda seen: b"HTTP/1.1 400 Bad\r\nContent-Length: 9999\r\n\r\n" + seen.body,
        lambda seen: b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\n\r\n" + seen.body,
        lambda seen: b"",
        lambda seen: None,
    ],
    ids=["no HTTP", "in the status", "in a header", "truncated", "no gzip", "hangs up", "hangs"],
)
def test_nothing_shows_of_an_answer_that_is_none(said: Any, ear: Ear) -> None:
    """What aiohttp's parser complains of repeats what it read; we do not."""

    async def main() -> None:
        async with Neighbour(respond=said) as there:
            await live(ear, destinations(there.url(), there.url()))

    run(ear, main)


@pytest.mark.parametrize("kind", ["407", "502", "absent", "hangs up", "wrong host", "good"])
def test_nothing_shows_of_a_proxys_password(kind: str, ear: Ear) -> None:
    """Whatever becomes of the tunnel."""
    ours = trustme.CA()
    context = serving(ours, "localhost" if kind == "wrong host" else "127.0.0.1")

    def refuse(seen: Seen) -> bytes | None:
        if kind.isdecimal():
            return answer(int(kind), repr(seen).encode(), **{"X-Echo": repr(seen.headers)})
        return b"" if kind == "hangs up" else None

    async def main() -> None:
        async with Neighbour(context) as there, Proxy(refuse=refuse) as proxy:
            url = proxy.url(user=f"user:{PASSWORD}@")
            if kind == "absent":
                url = f"http://user:{PASSWORD}@127.0.0.1:9"
            patience = 10.0 if kind == "good" else 0.2
            made = destinations(
                there.url(), there.url(), proxy=url, ssl=trusting(ours), timeout=max(0.3, patience)
            )
            await live(ear, made, patience=patience)
            if kind == "good":
                assert there.seen

    run(ear, main)


def test_nothing_shows_when_our_neighbours_raise(ear: Ear) -> None:
    """A destination, a transport and a credential whose errors say all they know."""

    class Odd(Freshpaint):
        def verdict(self, response: Response, now: float) -> Any:
            raise ValueError(f"{TOKEN} {VALUE} {response.body!r}")

    class Worse(Freshpaint):
        def request(self, bodies: Any) -> Any:
            raise ValueError(f"{TOKEN} {VALUE} {bodies}")

    class Worst(Freshpaint):
        def encode(self, event: Any, dumps: Any) -> bytes:
            raise ValueError(f"{TOKEN} {VALUE} {event.properties}")

    def no_key() -> str:
        raise ValueError(f"{KEY} is no more")

    async def main() -> None:
        made = (
            Datadog(api_key=no_key, application_id="a", retry=RETRY),
            Odd(token=TOKEN, name="odd"),
            Worse(token=TOKEN, name="worse"),
            Worst(token=TOKEN, name="worst"),
            Freshpaint(token=lambda: f"{TOKEN}\n", retry=RETRY),
        )
        dispatcher = Dispatcher(*made, transport=MemoryTransport(), shutdown_timeout=0.1)
        async with dispatcher:
            for _ in range(3):
                dispatcher.track("x", user_id="u", properties=PROPERTIES)
            await dispatcher.flush(timeout=0.2)
            ear.hear(dispatcher, dispatcher.stats(), *made)

    run(ear, main)
