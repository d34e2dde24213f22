"""
From the queue to a fate, on a virtual clock: batches, retries, narrowing, holds, the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Datadog, Dispatcher, Outcome, Request, Response, Retry, TransportError
from virtual import (
    Vendors,
    VirtualLoop,
    datadog,
    dispatcher,
    events_of,
    fates,
    freshpaint,
    now,
    run,
)

ONCE = Retry(attempts=1)


def numbers(vendors: Vendors) -> list[int]:
    return [event.get("n", event.get("properties", {}).get("n")) for event in vendors.accepted]


def fill(d: Dispatcher, count: int, **properties: Any) -> None:
    for n in range(count):
        assert d.track("x", user_id="u", properties={"n": n, **properties}) is not None


# --- batches --------------------------------------------------------------------------------------


def test_a_batch_goes_when_its_oldest_event_has_waited() -> None:
    """`flush_interval` seconds after the first event, in one request."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(flush_interval=2.0)) as d:
            await asyncio.sleep(10)
            fill(d, 1)
            await asyncio.sleep(1.5)
            fill(d, 1)
            await asyncio.sleep(10)
            assert vendors.times == [12.0]
            assert len(vendors.accepted) == 2

    run(main())


def test_a_full_batch_goes_at_once() -> None:
    """`max_batch_events` events do not wait for the interval, and the rest waits its own time."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(flush_interval=5.0, max_batch_events=10)) as d:
            fill(d, 25)
            await asyncio.sleep(0.1)
            assert [len(events_of(request)) for request in vendors.requests] == [10, 10]
            await asyncio.sleep(5.1)
            assert [len(events_of(request)) for request in vendors.requests] == [10, 10, 5]

    run(main())


def test_large_batches_are_filled_turn_by_turn_and_in_order() -> None:
    """Each has events that came one behind the other, however many workers wait for theirs."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(max_batch_events=5_000)) as d:
            fill(d, 14_000)
            flush = asyncio.create_task(d.flush())
            turns = 0
            while not flush.done():
                turns += 1
                assert sum(fates(d, "datadog").values()) == 14_000
                await asyncio.sleep(0)
            assert turns > 10
            for request in vendors.requests:
                got = [event["n"] for event in events_of(request)]
                assert got == list(range(got[0], got[0] + len(got)))
            assert sorted(numbers(vendors)) == list(range(14_000))
            assert [len(events_of(request)) for request in vendors.requests] == [
                5_000,
                5_000,
                4_000,
            ]

    run(main())


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 6, 8, 12])
def test_a_batch_cut_off_while_it_is_filled_is_not_lost(turns: int) -> None:
    """Its loop ends in the middle; what was in a hand and what was not goes from the next one."""
    vendors = Vendors()
    d = dispatcher(vendors, datadog(flush_interval=0.0))

    async def first() -> None:
        await d.start()
        fill(d, 9_000)
        for _ in range(turns):
            await asyncio.sleep(0)
        assert sum(fates(d, "datadog").values()) == 9_000

    async def second() -> None:
        async with d:
            assert await d.flush()

    loop = VirtualLoop()
    loop.run_until_complete(first())
    tasks = asyncio.all_tasks(loop)
    loop.close()  # under its host, which never gets to flush
    run(second())
    for task in tasks:  # they can never end: keep the interpreter from complaining about it
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):
            task.get_coro().close()  # type: ignore[union-attr]
    assert fates(d, "datadog") == {"delivered": 9_000}
    assert sorted(set(numbers(vendors))) == list(range(9_000))


def test_a_close_while_a_batch_is_filled_stops_nothing_later() -> None:
    """Its events are given up as all others, and after the next start batches go again."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog(flush_interval=0.0))
        await d.start()
        fill(d, 30_000)
        for _ in range(3):
            await asyncio.sleep(0)
        await d.aclose(timeout=0)
        given_up = fates(d, "datadog")["dropped"]["shutdown"]
        assert (given_up, vendors.requests) == (30_000, [])
        async with d:
            fill(d, 1)
            assert await d.flush(timeout=100.0)

    run(main())
    assert numbers(vendors) == [0]


class Watched(Datadog):
    """Notes in which thread each request is made, and of how many events."""

    def __init__(self, **options: Any) -> None:
        super().__init__(api_key="key", application_id="app", **options)
        self.making = 0
        self.made: list[tuple[bool, int]] = []

    def request(self, bodies: Sequence[bytes]) -> Request:
        self.making += 1
        assert self.making == 1
        request = super().request(bodies)
        time.sleep(0.001)  # lets another thread begin, if there is one
        self.making -= 1
        self.made.append((threading.current_thread() is threading.main_thread(), len(bodies)))
        return request


def test_large_bodies_are_made_beside_the_loop_and_one_at_a_time() -> None:
    """A thread puts them together; small ones, and events that go alone, stay where they are."""
    destination = Watched(flush_interval=0.0)
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, destination) as d:
            for size, count in ((100, 2), (2_000_000, 1), (2_000, 7_000)):
                fill(d, count, text="x" * size)
                assert await d.flush()
            assert fates(d, "datadog") == {"delivered": 7_003}

    asyncio.run(main())
    small, alone, *large = destination.made
    assert (small, alone) == ((True, 2), (True, 1))
    assert {is_main for is_main, events in large if events > 600} == {False}
    assert sum(events for _, events in large) == 7_000


def test_ids_of_a_large_batch_are_told_whole() -> None:
    """A batch is let go of while `on_outcome` may still be busy with an earlier one."""
    vendors = Vendors()
    told: list[Outcome] = []
    d = dispatcher(vendors, datadog(max_batch_events=4_000), on_outcome=told.append)
    ids: list[str | None] = []

    async def main() -> None:
        async with d:
            ids.extend(
                d.track("x", user_id="u", properties={"n": n, "text": "x" * 60})
                for n in range(10_000)
            )
            assert await d.flush()

    asyncio.run(main())
    assert [len(outcome.ids) for outcome in told] == [4_000, 4_000, 2_000]
    assert sorted(one for outcome in told for one in outcome.ids) == sorted(ids)


@pytest.mark.parametrize("framing", ["array", "ndjson"])
def test_no_body_above_the_limit_and_large_ones_when_there_is_enough(framing: str) -> None:
    """25 MB of events: every body at most 5,000,000 bytes, all but one above 4.5 MB."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(framing=framing)) as d:
            fill(d, 25_000, text="x" * 900)
            await d.flush()
            rest, *sizes = sorted(len(request.body) for request in vendors.requests)
            assert max(sizes) <= 5_000_000
            assert min(sizes) > 4_500_000
            assert rest > 0
            assert fates(d, "datadog") == {"delivered": 25_000}

    run(main())
    assert sorted(numbers(vendors)) == list(range(25_000))


def test_a_batch_of_one_is_the_documented_object() -> None:
    """Low traffic is always exactly on the documented contract."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(framing="ndjson")) as d:
            fill(d, 1)
            await d.flush()
            fill(d, 2)
            await d.flush()

    run(main())
    one, two = vendors.requests
    assert (one.body[:1], one.headers["Content-Type"]) == (b"{", "application/json")
    assert two.headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert two.body.count(b"\n") == 1


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize(("method", "window"), [("gzip", 31), ("deflate", 15)])
def test_compression_is_said_and_done(method: str, window: int, size: int) -> None:
    """The body is compressed, in the loop or in a worker thread, and the header says how."""
    import zlib

    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(compression=method)) as d:
            fill(d, 1, text="x" * size)
            await d.flush()

    asyncio.run(main())
    request = vendors.requests[0]
    assert request.headers["Content-Encoding"] == method
    assert json.loads(zlib.decompress(request.body, window))["text"] == "x" * size


# --- narrowing ------------------------------------------------------------------------------------


def test_one_poison_event_costs_that_event_and_few_requests() -> None:
    """500 events with one poison event: 499 delivered once, at most 22 requests."""
    vendors = Vendors(lambda request, events: 400 if any(e["n"] == 321 for e in events) else 202)

    async def main() -> None:
        async with dispatcher(vendors, datadog()) as d:
            fill(d, 500)
            assert await d.flush()
            assert fates(d, "datadog") == {"delivered": 499, "dropped": {"refused": 1}}

    run(main())
    assert sorted(numbers(vendors)) == [n for n in range(500) if n != 321]
    assert len(vendors.requests) <= 22


def test_too_large_is_halved_until_it_fits() -> None:
    """An intake with a lower limit than ours gets everything but the event above it."""
    vendors = Vendors(lambda request, events: 413 if len(request.body) > 3_000 else 202)

    async def main() -> None:
        async with dispatcher(vendors, datadog()) as d:
            fill(d, 100)
            d.track("x", user_id="u", properties={"n": -1, "text": "x" * 5_000})
            assert await d.flush()
            assert fates(d, "datadog") == {"delivered": 100, "dropped": {"too_large": 1}}

    run(main())
    assert sorted(numbers(vendors)) == list(range(100))


def test_an_intake_that_refuses_batches_is_served_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Batches get 400, their events pass alone: from then on every request carries one event."""
    vendors = Vendors(lambda request, events: 400 if len(events) > 1 else 202)

    async def main() -> None:
        async with dispatcher(vendors, datadog()) as d:
            fill(d, 64)
            assert await d.flush()
            before = len(vendors.requests)
            assert before <= 64 + 7
            fill(d, 10)
            assert await d.flush()
            assert len(vendors.requests) - before == 10
            assert fates(d, "datadog") == {"delivered": 74}

    with caplog.at_level(logging.WARNING):
        run(main())
    assert caplog.text.count("refuses batches") == 1


# --- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 421, 423, 425, 429, 500, 502, 503, 504, 507, 599])
def test_passing_faults_are_tried_again(status: int) -> None:
    """After two bad answers the event arrives, once."""
    answers = iter([status, status])
    vendors = Vendors(lambda request, events: next(answers, 202))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 1)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 1}
            stats = d.stats().destinations["freshpaint"]
            assert (stats.requests, stats.retries) == (3, 2)

    run(main())


def test_attempts_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """`attempts` counts the first try; then the event is dropped, and that is said."""
    vendors = Vendors(lambda request, events: 503)

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(retry=Retry(attempts=4, base=0.1))) as d:
            fill(d, 1)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"dropped": {"attempts": 1}}

    run(main())
    assert len(vendors.requests) == 4
    assert [message.rpartition("; ")[2] for message in caplog.messages] == [
        "trying again",
        "given up after the last try (attempts)",
    ]


def test_total_time_is_bounded_before_sleeping() -> None:
    """A wait that would end after `max_elapsed` is not begun."""
    vendors = Vendors(lambda request, events: Response(503, {"retry-after": "40"}))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(retry=Retry(max_elapsed=60))) as d:
            fill(d, 1)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"dropped": {"expired": 1}}
            assert 40 <= now() < 44.5

    run(main())
    assert len(vendors.requests) == 2


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "7"}, 7, 8.3),
        ({"retry-after": "100000"}, 30, 33.6),
        (
            {
                "retry-after": "Sun, 06 Nov 1994 08:49:47 GMT",
                "date": "Sun, 06 Nov 1994 08:49:37 GMT",
            },
            10,
            11.6,
        ),
        ({"x-ratelimit-reset": "9"}, 9, 10.5),
        ({"retry-after": "nonsense"}, 0, 0.6),
    ],
)
def test_the_servers_wish_is_a_capped_floor(
    headers: dict[str, str], least: float, most: float
) -> None:
    """`Retry-After` in seconds or as a date, `X-RateLimit-Reset`; cut to `max_retry_after`.

    Beyond it a lane waits up to a tenth more, and its own pause.
    """
    answers = iter([Response(429, headers)])
    vendors = Vendors(lambda request, events: next(answers, 202))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(retry=Retry(max_retry_after=30))) as d:
            fill(d, 1)
            assert await d.flush()

    run(main())
    assert least <= vendors.times[1] - vendors.times[0] <= most


def test_a_wish_to_wait_holds_the_whole_lane_and_no_other() -> None:
    """During Retry-After nothing goes to that vendor, and everything to the other."""
    answers = iter([Response(429, {"retry-after": "5"})])

    def answer(request: Request, events: Any) -> Any:
        return next(answers, 202) if "perfalytics" in request.url else 202

    vendors = Vendors(answer)

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(), datadog(flush_interval=0.1)) as d:
            for _ in range(20):
                fill(d, 1)
                await asyncio.sleep(0.1)
            assert fates(d, "freshpaint") == {"pending": 20}
            assert d.stats().destinations["freshpaint"].state == "open"
            assert fates(d, "datadog")["delivered"] >= 18
            await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 20}
            assert now() < 7

    run(main())


def test_a_disconnect_is_tried_again_at_once_but_only_once() -> None:
    """A stale connection costs no wait; a vendor that keeps hanging up is no stale connection."""
    failures = iter([True, True])

    def answer(request: Request, events: Any) -> int:
        if next(failures, False):
            raise TransportError("disconnected", perhaps_sent=True)
        return 202

    vendors = Vendors(answer)

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(retry=Retry(base=100, cap=100))) as d:
            fill(d, 1)
            assert await d.flush()

    run(main())
    first, second, third = vendors.times
    assert first == second < third


def test_a_hanging_vendor_gets_a_verdict() -> None:
    """After `timeout` seconds the attempt has failed, and the worker is free."""
    hanging = iter([True])

    async def answer() -> int:
        if next(hanging, False):
            await asyncio.sleep(10_000)
        return 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(workers=1, timeout=3)) as d:
            fill(d, 2)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 2}
            assert 3 <= now() < 4

    run(main())


def test_lanes_never_wait_for_each_other() -> None:
    """With one vendor hanging on every request, the other's events arrive on time."""

    async def hang() -> int:
        await asyncio.sleep(10_000)
        return 202

    def answer(request: Request, events: Any) -> Any:
        return hang() if "perfalytics" in request.url else 202

    vendors = Vendors(answer)

    async def main() -> None:
        d = dispatcher(vendors, freshpaint(workers=2), datadog(flush_interval=0.5))
        async with d:
            fill(d, 100)
            await asyncio.sleep(0.6)
            assert fates(d, "datadog") == {"delivered": 100}
            assert fates(d, "freshpaint") == {"pending": 100}
            await d.aclose(timeout=1)
        assert fates(d, "freshpaint") == {"dropped": {"shutdown": 100}}

    run(main())


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 407, 410, 415])
def test_a_fault_of_configuration_holds_the_lane(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, few requests are made, one line is written; mended, everything goes."""
    mended = False
    vendors = Vendors(lambda request, events: 202 if mended else status)

    async def main() -> None:
        nonlocal mended
        retry = Retry(attempts=2, max_elapsed=10, hold_interval=20)
        async with dispatcher(vendors, freshpaint(workers=4, retry=retry)) as d:
            for _ in range(30):
                fill(d, 10)
                await asyncio.sleep(1)
            assert len(vendors.requests) <= 4 + 3
            assert fates(d, "freshpaint") == {"pending": 300}
            mended = True
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 300}

    with caplog.at_level(logging.WARNING):
        run(main())
    assert len(caplog.records) == 1


def test_an_outage_is_met_with_single_probes() -> None:
    """Once a vendor fails in a row, one request at a time asks whether it is back."""
    down = True
    under_way = worst = 0

    async def answer() -> int:
        nonlocal under_way, worst
        under_way += 1
        worst = max(worst, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return 503 if down else 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        nonlocal down, worst
        async with dispatcher(vendors, freshpaint(workers=32)) as d:
            fill(d, 200)
            await asyncio.sleep(1)
            worst = 0
            before = len(vendors.requests)
            await asyncio.sleep(59)
            assert worst <= 1
            assert len(vendors.requests) - before < 40
            down = False
            assert await d.flush()
            stats = d.stats().destinations["freshpaint"]
            assert stats.delivered + sum(stats.dropped.values()) == 200
            assert stats.delivered > 190

    run(main())


@pytest.mark.parametrize("status", [422, 409, 424, 428, 400])
def test_a_refused_event_is_given_up(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The vendor's own words are in the log line, as far as they are plain ones."""
    body = json.dumps({"errors": [{"title": "Bad Request", "detail": "time is 5pm"}]}).encode()
    vendors = Vendors(lambda request, events: Response(status, body=body))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 1)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"dropped": {"refused": 1}}

    run(main())
    assert len(vendors.requests) == 1
    assert f"{status} Bad Request: time is …)" in caplog.text


def test_an_html_page_under_200_is_no_delivery() -> None:
    """A captive portal's page is tried again."""
    answers = iter([Response(200, body=b"<!DOCTYPE html><html>please log in</html>")])
    vendors = Vendors(lambda request, events: next(answers, 200))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 1)
            assert await d.flush()

    run(main())
    assert len(vendors.requests) == 2


def test_a_destination_that_raises_costs_its_events_and_no_worker() -> None:
    """An exception while a request is built or judged is counted, and the lane goes on."""

    class Odd(type(freshpaint())):  # type: ignore[misc]
        broken = True

        def request(self, bodies: Any) -> Any:
            if self.broken:
                raise ZeroDivisionError
            return super().request(bodies)

    vendors = Vendors()

    async def main() -> None:
        odd = Odd(token="t", workers=1)
        async with dispatcher(vendors, odd) as d:
            fill(d, 3)
            assert await d.flush()
            odd.broken = False
            fill(d, 2)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 2, "dropped": {"internal": 3}}

    run(main())


# --- the limit ------------------------------------------------------------------------------------


def fullest_second(times: list[float]) -> int:
    times = sorted(times)
    start = fullest = 0
    for end, moment in enumerate(times):
        while times[start] <= moment - 1.0:
            start += 1
        fullest = max(fullest, end - start + 1)
    return fullest


@pytest.mark.parametrize("latency", [0.0, 0.02, 0.7])
def test_the_limit_holds_over_every_sliding_second_and_is_used(latency: float) -> None:
    """At 100/s no second holds more than 100 requests, and at least 97 % of the budget is used.

    It is used once the window is open, which 200 events see to.
    """

    async def answer() -> int:
        await asyncio.sleep(latency)
        return 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(rate_limit=100)) as d:
            fill(d, 1_200)
            assert await d.flush()

    run(main())
    assert len(vendors.times) == 1_200
    assert fullest_second(vendors.times) <= 100
    assert 1_000 / (100 * (vendors.times[-1] - vendors.times[200])) >= 0.97


def test_retries_count_against_the_limit() -> None:
    """An answer of 503 to every second request does not lift the limit."""
    flip = iter(range(10_000))
    vendors = Vendors(lambda request, events: 503 if next(flip) % 2 else 202)

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(rate_limit=50)) as d:
            fill(d, 200)
            assert await d.flush()

    run(main())
    assert fullest_second(vendors.times) <= 50


def test_no_limit_is_an_option() -> None:
    """`rate_limit=None` sends as fast as workers go."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(rate_limit=None)) as d:
            fill(d, 500)
            await d.flush()
            assert now() == 0.0

    run(main())


# --- any script -----------------------------------------------------------------------------------

ANSWERS = st.sampled_from(
    [202, 202, 202, 400, 401, 413, 429, 503, "reset", "unsent", "hang", "html", "bad"]
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(script=st.lists(ANSWERS, max_size=40), sizes=st.lists(st.integers(1, 30), max_size=8))
def test_every_event_has_one_fate_whatever_the_vendors_do(
    script: list[Any], sizes: list[int]
) -> None:
    """Under any script the fates add up, and `delivered` are those that the vendor accepted."""
    answers = iter(script)

    async def hang() -> int:
        await asyncio.sleep(10_000)
        return 202

    def answer(request: Request, events: Any) -> Any:
        step = next(answers, 202)
        if step in ("reset", "unsent"):
            raise TransportError(
                "disconnected" if step == "reset" else "connect", perhaps_sent=step == "reset"
            )
        if step == "bad":
            raise TransportError("bad_answer", perhaps_sent=True)
        if step == "hang":
            return hang()
        return Response(200, body=b"<html>") if step == "html" else step

    vendors = Vendors(answer)

    async def main() -> None:
        retry = Retry(attempts=5, base=0.1)
        d = dispatcher(
            vendors,
            datadog(flush_interval=0.2, workers=2, retry=retry),
            freshpaint(workers=3, retry=retry),
        )
        total = 0
        async with d:
            for size in sizes:
                fill(d, size)
                total += size
                await asyncio.sleep(0.05)
                for name in ("datadog", "freshpaint"):
                    assert d.stats().destinations[name].submitted == total
            assert await d.flush()
            accepted = Counter("type" in event for event in vendors.accepted)
            for name, is_datadog in (("datadog", True), ("freshpaint", False)):
                stats = d.stats().destinations[name]
                assert stats.submitted == total
                assert stats.pending == 0
                # An HTML page is noted as accepted by the fake and is none for us.
                assert stats.delivered <= accepted[is_datadog]

    run(main())
