"""
Both vendors over real sockets: the sink in its own process is the judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from sendoff import Datadog, Dispatcher, Freshpaint, Retry
from sendoff.sink import Settings, SinkProcess

FAST = Retry(base=0.05, cap=0.2)


@pytest.fixture(scope="module")
def process() -> Iterator[SinkProcess]:
    with SinkProcess(Settings(api_key="key", token="token")) as sink:
        yield sink


@pytest.fixture
def sink(process: SinkProcess) -> SinkProcess:
    process.faults()
    process.reset()
    return process


def datadog(sink: SinkProcess, **options: Any) -> Datadog:
    options = {"flush_interval": 0.05, "retry": FAST, "id_attribute": "insert_id", **options}
    return Datadog(api_key="key", application_id="app", endpoint=sink.datadog_endpoint, **options)


def freshpaint(sink: SinkProcess, **options: Any) -> Freshpaint:
    return Freshpaint(
        token="token", endpoint=sink.freshpaint_endpoint, **{"retry": FAST, **options}
    )


DATADOG_BODIES: list[dict[str, Any]] = [
    {
        "application": {"id": "a"},
        "event": {"name": "checkout.completed"},
        "type": "server",
        "account": {"id": "acc-1"},
    },
    {
        "application": {"id": "a"},
        "event": {"name": "payment.processed"},
        "type": "server",
        "usr": {"id": "u-1"},
        "customer": {"tier": "premium"},
    },
    {
        "application": {"id": "a"},
        "event": {"name": "form.submitted"},
        "type": "server",
        "session": {"id": "s-1"},
    },
    {
        "application": {"id": "a"},
        "event": {"name": "signed.in"},
        "type": "server",
        "usr": {"id": "u-1"},
    },
    {
        "application": {"id": "a"},
        "event": {"name": "all.three"},
        "type": "server",
        "account": {"id": "acc-1"},
        "session": {"id": "s-1"},
        "usr": {"id": "u-1", "name": "Zoë"},
    },
]

FRESHPAINT_BODY: dict[str, Any] = {
    "event": "Purchase",
    "properties": {
        "distinct_id": "13793",
        "token": "token",
        "time": 1577836800,
        "$insert_id": "29fc2962-6d9c-455d-95ad-95b84f09b9e4",
        "$ip": "127.0.0.1",
        "$options": {"integrations": {"All": False, "Mixpanel": True}},
        "price": 500,
    },
}


def test_the_documented_bodies_arrive_unchanged(sink: SinkProcess) -> None:
    """`enqueue` sends a vendor's own body as its reference prints it."""

    async def main() -> None:
        async with Dispatcher(datadog(sink), freshpaint(sink)) as dispatcher:
            for body in DATADOG_BODIES:
                assert dispatcher.enqueue(body) is not None
            event_id = dispatcher.enqueue(FRESHPAINT_BODY)
            assert event_id == FRESHPAINT_BODY["properties"]["$insert_id"]
            assert await dispatcher.flush()

    asyncio.run(main())
    assert sink.events("datadog") == DATADOG_BODIES
    assert sink.events("freshpaint") == [FRESHPAINT_BODY]


def test_large_batches_over_a_socket(sink: SinkProcess) -> None:
    """15 MB of events: no body above 5,000,000 bytes, and those that can be are above 4.5 MB."""

    async def main() -> None:
        async with Dispatcher(datadog(sink, flush_interval=5.0)) as dispatcher:
            for number in range(15_000):
                dispatcher.track("x", user_id="u", properties={"n": number, "text": "x" * 900})
            assert await dispatcher.flush()
            assert dispatcher.stats().destinations["datadog"].delivered == 15_000

    asyncio.run(main())
    seen = sink.stats().datadog
    assert (seen.unique, seen.duplicates) == (15_000, 0)
    assert 4_500_000 < seen.largest_body <= 5_000_000
    assert seen.requests == 4


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_batches_are_understood(sink: SinkProcess, compression: str) -> None:
    """The sink inflates what the header says."""

    async def main() -> None:
        async with Dispatcher(datadog(sink, compression=compression)) as dispatcher:
            for number in range(1_000):
                dispatcher.track("x", user_id="u", properties={"n": number})
            assert await dispatcher.flush()

    asyncio.run(main())
    seen = sink.stats().datadog
    assert (seen.unique, seen.largest_batch) == (1_000, 1_000)
    assert seen.largest_body < 40_000


@pytest.mark.parametrize(
    ("fault", "duplicates_allowed"),
    [
        ("503 for 300ms", False),
        ("429 for 2s first 3 retry-after 1", False),
        ("408 share 0.3", False),
        ("html 502 first 4", False),
        ("reset-before share 0.2", False),
        ("reset share 0.2", True),
        ("truncate share 0.2", False),
        ("close", False),
        ("latency 50ms", False),
        ("hang first 3", False),
        ("redirect first 1", False),
    ],
)
def test_every_event_survives_every_fault(
    sink: SinkProcess, fault: str, duplicates_allowed: bool
) -> None:
    """Whatever the vendors do for a while, everything arrives; twice only what was perhaps sent."""
    sink.faults(fault)
    retry = Retry(base=0.02, cap=0.2, attempts=30, hold_interval=0.1)
    # Only what hangs runs into it: an answer that a busy machine is late with would come twice.
    timeout = 2.0 if "hang" in fault else 30.0

    async def main() -> None:
        destinations = (
            datadog(sink, retry=retry, timeout=timeout, flush_interval=0.01, max_batch_events=7),
            freshpaint(sink, retry=retry, timeout=timeout, workers=16),
        )
        async with Dispatcher(*destinations) as dispatcher:
            for number in range(150):
                dispatcher.track("x", user_id="u", properties={"n": number})
            assert await dispatcher.flush()
            for stats in dispatcher.stats().destinations.values():
                assert (stats.delivered, stats.submitted) == (150, 150)

    asyncio.run(main())
    for seen in (sink.stats().datadog, sink.stats().freshpaint):
        assert seen.unique == 150
        assert seen.refused == {}
        assert duplicates_allowed or seen.duplicates == 0
    assert sink.stats().strays == 0  # the redirect was not followed


def test_a_refused_host_is_retried_until_it_listens(sink: SinkProcess) -> None:
    """Nobody listens: the events wait, and `flush` says so."""
    free = sink.freshpaint_endpoint.replace(sink.url, "http://127.0.0.1:9")

    async def main() -> None:
        destination = Freshpaint(token="token", endpoint=free, retry=FAST)
        async with Dispatcher(destination, shutdown_timeout=0.1) as dispatcher:
            dispatcher.track("x", user_id="u")
            report = await dispatcher.flush(timeout=0.3)
            assert dict(report.left) == {"freshpaint": 1}
            assert dispatcher.stats().destinations["freshpaint"].requests >= 2

    asyncio.run(main())


def test_a_wrong_key_holds_its_lane_only(sink: SinkProcess) -> None:
    """403 keeps the events of one vendor; the other's arrive."""

    async def main() -> None:
        wrong = Datadog(
            api_key="wrong", application_id="a", endpoint=sink.datadog_endpoint, flush_interval=0.01
        )
        async with Dispatcher(wrong, freshpaint(sink)) as dispatcher:
            for _ in range(20):
                dispatcher.track("x", user_id="u")
            report = await dispatcher.flush(timeout=0.3)
            assert dict(report.left) == {"datadog": 20}
            assert dispatcher.stats().destinations["freshpaint"].delivered == 20
            assert dispatcher.stats().destinations["datadog"].requests == 1

    asyncio.run(main())


def test_connections_are_kept(sink: SinkProcess) -> None:
    """Requests one after the other go over one connection; `close` by the vendor costs no event."""

    async def main() -> None:
        async with Dispatcher(freshpaint(sink)) as dispatcher:
            for _ in range(20):
                dispatcher.track("x", user_id="u")
                await dispatcher.flush()
            transport = dispatcher._hosts._host._transport
            assert (len(transport._fast._all), transport._session._session.connector._conns) == (
                1,
                {},
            )

    asyncio.run(main())
    assert sink.stats().freshpaint.unique == 20


@pytest.mark.parametrize("framing", ["array", "ndjson", "single"])
def test_every_framing_is_understood(sink: SinkProcess, framing: str) -> None:
    """The sink takes each framing as the sibling intakes do."""

    async def main() -> None:
        async with Dispatcher(datadog(sink, framing=framing)) as dispatcher:
            for number in range(50):
                dispatcher.track("x", user_id="u", properties={"text": "line\nbreak", "n": number})
            assert await dispatcher.flush()

    asyncio.run(main())
    seen = sink.stats().datadog
    assert (seen.unique, seen.arrays_of_one, seen.malformed) == (50, 0, 0)
    assert seen.requests == (50 if framing == "single" else 1)


def test_an_intake_that_refuses_batches() -> None:
    """A real 400 to every batch: everything arrives, one by one."""
    with SinkProcess(Settings(accept_batches=False)) as sink:

        async def main() -> None:
            async with Dispatcher(datadog(sink)) as dispatcher:
                for number in range(60):
                    dispatcher.track("x", user_id="u", properties={"n": number})
                assert await dispatcher.flush()

        asyncio.run(main())
        assert (sink.stats().datadog.unique, sink.stats().datadog.duplicates) == (60, 0)


def test_uvloop(sink: SinkProcess) -> None:
    """The same under uvloop."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with Dispatcher(datadog(sink), freshpaint(sink, rate_limit=100)) as dispatcher:
            for number in range(150):
                dispatcher.track("x", user_id="u", properties={"n": number})
            assert await dispatcher.flush()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert sink.stats().datadog.unique == sink.stats().freshpaint.unique == 150
