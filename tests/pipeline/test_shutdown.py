"""
Ways to end: in time, with everything sent that can be, and with a word on the rest.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from sendoff import Dispatcher, DroppedEvent, Report, Response, Retry
from virtual import Vendors, VirtualLoop, datadog, dispatcher, fates, freshpaint, now, run
from world import worker_threads_in_place


async def hang() -> int:
    await asyncio.sleep(10_000)
    return 202


def test_flush_reports_what_is_left() -> None:
    """A flush that runs out of time is falsy and names the events for each destination."""
    vendors = Vendors(lambda request, events: hang() if "perf" in request.url else 202)

    async def main() -> None:
        d = dispatcher(vendors, datadog(), freshpaint())
        async with d:
            for _ in range(7):
                d.track("x", user_id="u")
            report = await d.flush(timeout=2)
            assert not report
            assert report.left == {"freshpaint": 7}
            assert now() == 2.0
            await d.aclose(timeout=0)

    run(main())


def test_flush_waits_only_for_what_came_before_it() -> None:
    """Events that keep coming do not keep a flush from ending."""

    async def slow() -> int:
        await asyncio.sleep(0.5)
        return 202

    vendors = Vendors(lambda request, events: slow())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(workers=1)) as d:
            d.track("x", user_id="u")
            flush = asyncio.create_task(d.flush())
            await asyncio.sleep(0)
            for _ in range(20):
                d.track("x", user_id="u")
            assert await flush
            assert now() == 0.5

    run(main())


def test_a_cancelled_flush_loses_nothing() -> None:
    """Cancelling a flush ends the waiting and not the sending."""

    async def slow() -> int:
        await asyncio.sleep(0.5)
        return 202

    vendors = Vendors(lambda request, events: slow())

    async def main() -> None:
        async with dispatcher(vendors, datadog()) as d:
            d.track("x", user_id="u")
            flush = asyncio.create_task(d.flush())
            await asyncio.sleep(0.1)
            flush.cancel()
            with pytest.raises(asyncio.CancelledError):
                await flush
            assert await d.flush()
            assert fates(d, "datadog") == {"delivered": 1}

    run(main())


def test_a_cancelled_close_goes_on_closing() -> None:
    """Cancelling `aclose` ends the waiting and not the last flush."""

    async def slow() -> int:
        await asyncio.sleep(0.5)
        return 202

    vendors = Vendors(lambda request, events: slow())

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        d.track("x", user_id="u")
        closing = asyncio.create_task(d.aclose())
        await asyncio.sleep(0.1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await d.aclose()
        assert fates(d, "datadog") == {"delivered": 1}

    run(main())


def test_close_keeps_its_deadline_with_a_vendor_that_never_answers() -> None:
    """At the deadline everything left is dropped for `shutdown`, and the report says how much."""
    vendors = Vendors(lambda request, events: hang())

    async def main() -> None:
        d = dispatcher(vendors, datadog(), freshpaint(), shutdown_timeout=3)
        async with d:
            for _ in range(50):
                d.track("x", user_id="u")
        report_time = now()
        assert 3 <= report_time <= 3.5
        assert fates(d, "datadog") == fates(d, "freshpaint") == {"dropped": {"shutdown": 50}}

    run(main())


def test_close_reports_what_it_left(caplog: pytest.LogCaptureFixture) -> None:
    """The report of `aclose` is falsy and names the events, and so does one log line."""
    vendors = Vendors(lambda request, events: hang())

    async def main() -> None:
        d = dispatcher(vendors, freshpaint())
        for _ in range(5):
            d.track("x", user_id="u")
        report = await d.aclose(timeout=1)
        assert (bool(report), dict(report.left)) == (False, {"freshpaint": 5})
        assert caplog.messages == ["events are left at the end: freshpaint 5 (lost)"]

    run(main())


def test_closing_ends_the_wait_between_two_tries() -> None:
    """A batch that waits for its retry is tried at once, and once more within the deadline."""
    down = True
    vendors = Vendors(lambda request, events: 503 if down else 202)

    async def main() -> None:
        nonlocal down
        retry = Retry(base=500, cap=500)
        d = dispatcher(vendors, datadog(flush_interval=0, retry=retry))
        d.track("x", user_id="u")
        await asyncio.sleep(0.1)
        down = False
        assert await d.aclose(timeout=5)
        assert now() < 1
        assert fates(d, "datadog") == {"delivered": 1}

    run(main())


def test_closing_does_not_wait_where_nothing_can_be_hoped_for() -> None:
    """With a wrong key a last probe is made, and the close ends at once and not at its deadline."""
    vendors = Vendors(lambda request, events: 403)

    async def main() -> None:
        d = dispatcher(vendors, freshpaint())
        for _ in range(300):
            d.track("x", user_id="u")
        await asyncio.sleep(1)
        before = len(vendors.requests)
        report = await d.aclose(timeout=9)
        assert dict(report.left) == {"freshpaint": 300}
        assert len(vendors.requests) - before <= 1
        assert now() < 2

    run(main())


def test_a_lingering_batch_goes_at_close() -> None:
    """A batch that fills does not wait out its interval when the dispatcher closes."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog(flush_interval=60))
        async with d:
            d.track("x", user_id="u")
        assert now() == 0.0
        assert fates(d, "datadog") == {"delivered": 1}

    run(main())


def test_a_run_that_ends_without_close_flushes_in_bounded_time() -> None:
    """`asyncio.run` cancels us: there is one flush, and with a dead vendor its time is bounded."""
    ends: list[float] = []
    hanging = False

    async def answer() -> int:
        ends.append(now())
        if hanging:
            await hang()
        await asyncio.sleep(0.4)
        return 202

    vendors = Vendors(lambda request, events: answer())
    d = dispatcher(vendors, datadog(), freshpaint(), shutdown_timeout=2)

    async def main() -> float:
        for _ in range(100):
            d.track("x", user_id="u")
        await asyncio.sleep(0.1)
        return now()

    run(main())
    assert fates(d, "datadog") == fates(d, "freshpaint") == {"delivered": 100}
    hanging = True
    run(main())
    # What a dead vendor leaves stays pending: the next loop, if there is one, goes on with it.
    assert fates(d, "freshpaint") == {"delivered": 100, "pending": 100}
    hanging = False
    run(d.aclose())
    assert fates(d, "datadog") == fates(d, "freshpaint") == {"delivered": 200}


def test_dropped_events_are_shown_off_the_callers_thread() -> None:
    """`on_drop` gets reason and events in another thread; its own error is contained."""
    shown: list[tuple[str, list[str], int]] = []
    ids: list[str | None] = []

    def on_drop(reason: str, events: Sequence[DroppedEvent]) -> None:
        shown.append((reason, [event.id for event in events], threading.get_ident()))
        raise ZeroDivisionError

    vendors = Vendors(lambda request, events: 400 if events[0]["properties"].get("bad") else 202)

    async def main() -> None:
        d = dispatcher(vendors, freshpaint(), max_queue_events=2, on_drop=on_drop)
        ids.extend(d.track("x", user_id="u", insert_id=f"e-{n}") for n in range(3))
        async with d:
            await d.flush()
            d.track("x", user_id="u", insert_id="bad", properties={"bad": True})
            await d.flush()
        assert fates(d, "freshpaint") == {"delivered": 2, "dropped": {"overflow": 1, "refused": 1}}

    asyncio.run(main())
    assert ids == ["e-0", "e-1", None]
    assert [(reason, events) for reason, events, _ in shown] == [
        ("overflow", ["e-2"]),
        ("refused", ["bad"]),
    ]
    assert threading.get_ident() not in {thread for _, _, thread in shown}


def test_what_a_close_leaves_is_offered_to_on_drop() -> None:
    """The last call of `on_drop` shows the events that the deadline left, with their bodies."""
    shown: list[DroppedEvent] = []
    vendors = Vendors(lambda request, events: Response(503, {"retry-after": "100"}))

    async def main() -> None:
        d = dispatcher(vendors, freshpaint(), on_drop=lambda reason, events: shown.extend(events))
        for n in range(5):
            d.track("x", user_id="u", insert_id=f"e-{n}")
        report = await d.aclose(timeout=0.2)
        assert dict(report.left) == {"freshpaint": 5}

    asyncio.run(main())
    assert sorted(event.id for event in shown) == [f"e-{n}" for n in range(5)]
    assert all(event.body.startswith(b'{"properties":{"token":null,') for event in shown)


def test_nothing_is_left_behind() -> None:
    """A hundred dispatchers opened and closed leave no task and no open transport."""

    async def main() -> None:
        before = len(asyncio.all_tasks())
        for _ in range(100):
            vendors = Vendors()
            async with dispatcher(vendors, datadog(), freshpaint()) as d:
                d.track("x", user_id="u")
            assert vendors.opened == vendors.closed == 1
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before

    run(main())


def test_a_ring_that_comes_too_late_wakes_nobody() -> None:
    """A call of another thread's may ring just before the end and be heard just after it."""

    async def main() -> None:
        vendors = Vendors()
        d = dispatcher(vendors, freshpaint())
        async with d:
            d.track("x", user_id="u")
        for lane in d._lanes:
            lane._rung()
            lane._hurry()
        await asyncio.sleep(1)
        assert fates(d, "freshpaint") == {"delivered": 1}

    run(main())


RINGS = list(itertools.product(range(6), range(5), range(1, 5)))
"""Turns before each of three rings."""


async def ring(d: Dispatcher, turns: Sequence[int]) -> None:
    for count in turns:
        for _ in range(count):
            await asyncio.sleep(0)
        for lane in d._lanes:
            lane._rung()


def test_rings_at_any_turns_of_a_close_do_not_hold_it_up() -> None:
    """A worker that is asked for when the others are over already is not started any more."""

    async def main() -> None:
        d = dispatcher(Vendors(), freshpaint(), datadog())
        for turns in RINGS:
            await d.start()
            closing = asyncio.create_task(d.aclose(0.0))
            await ring(d, turns)
            assert await closing
        await d.start()
        d.track("x", user_id="u")
        assert await d.flush()
        await d.aclose()

    run(main())


def test_rings_at_any_turns_of_a_loops_end_do_not_hold_it_up() -> None:
    """The same where the loop goes away without a close."""

    async def ring_late(d: Dispatcher, turns: Sequence[int]) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await ring(d, turns)

    async def main(turns: Sequence[int]) -> None:
        d.track("x", user_id="u")
        late = asyncio.create_task(ring_late(d, turns))
        await asyncio.sleep(1)
        assert not late.done()

    for turns in RINGS:
        d = dispatcher(Vendors(), freshpaint(), datadog())
        run(main(turns))
        assert fates(d, "freshpaint") == {"delivered": 1}


def test_a_start_during_a_close_begins_after_it() -> None:
    """A dispatcher that is opened again while it closes sends what it is given then."""

    async def slow() -> int:
        await asyncio.sleep(0.5)
        return 202

    vendors = Vendors(lambda request, events: slow())

    async def main() -> None:
        d = dispatcher(vendors, freshpaint())
        d.track("x", user_id="u")
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(d.aclose())
        await asyncio.sleep(0.1)
        await d.start()
        assert closing.done()
        assert d.track("y", user_id="u") is not None
        assert await d.flush()
        assert fates(d, "freshpaint") == {"delivered": 2}
        await d.aclose()

    run(main())


def test_a_host_that_cannot_open_is_not_started_at_every_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A transport that fails to open costs one line, not one a call; `start` tries at once."""
    vendors = Vendors()
    broken = True

    async def opens() -> None:
        if broken:
            raise RuntimeError("no")

    vendors.open = opens  # type: ignore[method-assign]

    async def main() -> None:
        nonlocal broken
        d = dispatcher(vendors, freshpaint())
        for _ in range(100):
            d.track("x", user_id="u")
            await asyncio.sleep(0)
        assert fates(d, "freshpaint") == {"pending": 100}
        assert caplog.messages == ["sending has stopped: RuntimeError; calls start it again"]
        broken = False
        await d.start()
        assert await d.aclose()
        assert fates(d, "freshpaint") == {"delivered": 100}

    run(main())


class Fragile(Vendors):
    """Vendors behind a transport that does not open, or is slow to close."""

    def __init__(self, opens: bool = False, closes_in: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.opens, self.closes_in = opens, closes_in

    async def open(self) -> None:
        if not self.opens:
            raise OSError

    async def aclose(self) -> None:
        await asyncio.sleep(self.closes_in)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_start_whose_host_fails_comes_back(turns: int) -> None:
    """A transport that does not open ends the wait of whoever starts, also in the same turn."""
    vendors = Fragile()

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        d.track("x", user_id="u")
        for _ in range(turns):
            await asyncio.sleep(0)
        await d.start()
        vendors.opens = True
        assert await d.flush()
        await d.aclose()

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
def test_a_close_whose_host_fails_gives_up_what_is_left(turns: int) -> None:
    """Whenever a host fails, `aclose` says what is left, and that has its fate."""
    vendors = Fragile()

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        d.track("x", user_id="u")
        for _ in range(turns):
            await asyncio.sleep(0)
        report = await d.aclose()
        assert report.left == {"datadog": 1}
        assert fates(d, "datadog") == {"dropped": {"shutdown": 1}}

    run(main())


def test_a_start_while_a_loop_ends_gives_nothing_up() -> None:
    """What the last flush of a loop leaves stays pending, though somebody waits for its end."""
    vendors = Vendors(lambda request, events: hang())
    d = dispatcher(vendors, datadog(), shutdown_timeout=3)

    async def start_again() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            await d.start()

    async def main() -> None:
        d.track("x", user_id="u")
        tasks.append(asyncio.create_task(start_again()))
        await asyncio.sleep(2)

    tasks: list[asyncio.Task[None]] = []
    run(main())
    assert fates(d, "datadog") == {"pending": 1}
    vendors.answer = None
    assert run(d.aclose())


def test_a_flush_that_begins_while_a_loop_ends_comes_back() -> None:
    """A host that closes its connections still ends the waits that begin meanwhile."""
    vendors = Fragile(opens=True, closes_in=0.08, answer=lambda request, events: 503)
    d = dispatcher(vendors, datadog(), shutdown_timeout=0)

    async def flush_late() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.04)
            async with asyncio.timeout(10):
                reports.append(await d.flush())

    async def main() -> None:
        d.track("x", user_id="u")
        tasks.append(asyncio.create_task(flush_late()))
        await asyncio.sleep(2)

    tasks: list[asyncio.Task[None]] = []
    reports: list[Report] = []
    run(main())
    assert [report.left for report in reports] == [{"datadog": 1}]
    vendors.answer = None
    assert run(d.aclose())


def test_a_loop_that_ends_does_not_make_a_close_longer() -> None:
    """The deadline of a close stands when its loop ends in the middle of it."""
    vendors = Vendors(lambda request, events: hang())
    d = dispatcher(vendors, datadog(), shutdown_timeout=3)
    ends: list[float] = []

    async def note_the_end() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            while fates(d, "datadog") == {"pending": 1}:
                await asyncio.sleep(1)
            ends.append(now())

    async def main() -> None:
        d.track("x", user_id="u")
        tasks.append(asyncio.create_task(d.aclose(timeout=60)))
        tasks.append(asyncio.create_task(note_the_end()))
        await asyncio.sleep(30)

    tasks: list[asyncio.Task[Any]] = []
    run(main())
    assert 60 <= ends[0] <= 61


@pytest.mark.parametrize("turns", range(1, 25))
def test_a_loop_closed_at_any_turn_of_a_close_leaves_no_complaint(turns: int) -> None:
    """Nothing was made then that somebody should have awaited, and nothing is lost."""
    d = dispatcher(Vendors(), datadog(), on_drop=print, on_outcome=print)

    async def turn() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    with worker_threads_in_place():
        loop = VirtualLoop()
        d.track("x", user_id="u")
        closing = loop.create_task(d.aclose())
        loop.run_until_complete(turn())
        closing.cancel()
        loop.close()
        del closing, loop
        gc.collect()
        assert run(d.aclose())
        assert fates(d, "datadog") == {"delivered": 1}
        del d  # what holds the things that would complain
        gc.collect()


@pytest.mark.parametrize("turns", range(12))
def test_a_loop_that_dies_at_any_turn_still_flushes(turns: int) -> None:
    """Tasks are cancelled before they began; what was to be done is done, and none complains."""

    async def main(d: Dispatcher) -> None:
        d.track("x", user_id="u")
        for _ in range(turns):
            await asyncio.sleep(0)
        raise SystemExit(3)

    d = dispatcher(Vendors(), datadog())
    with pytest.raises(SystemExit):
        run(main(d))
    assert fates(d, "datadog") == {"delivered": 1}
    del d  # what holds the things that would complain
    gc.collect()


def test_a_close_cut_off_by_its_loop_can_be_asked_for_again(tmp_path: Path) -> None:
    """What was in memory when the loop was closed is sent or kept by the next close, and said."""
    vendors = Vendors(lambda request, events: hang())
    d = dispatcher(vendors, datadog(), max_queue_events=2, spool=tmp_path)

    async def main() -> None:
        for _ in range(5):
            d.track("x", user_id="u")
        await d.start()
        await asyncio.sleep(2)

    with worker_threads_in_place():
        loop, other = VirtualLoop(), VirtualLoop()
        loop.run_until_complete(main())
        assert not other.run_until_complete(d.aclose(1))
        loop.close()
        other.close()
        report = run(d.aclose(1))
        assert report.left == {"datadog": 5}
        assert fates(d, "datadog") == {"pending": 5}
        vendors.answer = None
        run(d.start())
        assert run(d.aclose())
        assert fates(d, "datadog") == {"delivered": 5}


def test_a_close_offers_all_it_leaves_to_on_drop() -> None:
    """Also more than a slow callback is allowed to pile up while sending goes on."""
    shown: list[str] = []
    vendors = Vendors(lambda request, events: hang())

    async def main() -> None:
        d = dispatcher(
            vendors,
            freshpaint(),
            on_drop=lambda reason, events: shown.extend(event.id for event in events),
        )
        given = [d.track("x", user_id="u") for _ in range(25_000)]
        assert not await d.aclose(timeout=0.1)
        # On a busy machine the callback is not done when the close no longer waits for it.
        with anyio.fail_after(30):
            while len(shown) < len(given):
                await asyncio.sleep(0.01)
        assert sorted(shown) == sorted(map(str, given))

    # In place: a busy machine may take longer for a thread than a close waits for its hooks.
    with worker_threads_in_place():
        run(main())


@pytest.mark.parametrize(
    ("slow", "where"),
    [
        ("on_drop", "given to on_drop, which is not done with them"),
        ("on_outcome", "given to on_drop"),
    ],
)
def test_a_close_says_that_on_drop_is_not_done(
    caplog: pytest.LogCaptureFixture, slow: str, where: str
) -> None:
    """It does not wait long for it, and does not claim what it cannot know."""
    vendors = Vendors(lambda request, events: asyncio.sleep(3_600))
    done = threading.Event()

    async def main() -> None:
        hooks: dict[str, Any] = {"on_drop": lambda *_: None, "on_outcome": lambda *_: None}
        hooks[slow] = lambda *_: done.wait(30)
        d = dispatcher(vendors, freshpaint(), **hooks)
        d.track("x", user_id="u")
        assert not await d.aclose(timeout=0)
        assert caplog.messages == [f"events are left at the end: freshpaint 1 ({where})"]

    try:
        asyncio.run(main())
    finally:
        done.set()


def test_what_was_given_up_is_named_though_the_end_is_late() -> None:
    """Between giving up and being over, when nothing is pending any more."""
    vendors = Vendors(lambda request, events: hang())

    class Sluggish:
        send = vendors.send
        open = vendors.open

        async def aclose(self) -> None:
            # The processor was elsewhere for a while.
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.catch_up(loop.time() + 60)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def main() -> None:
        d = Dispatcher(datadog(), freshpaint(), transport=Sluggish())
        for _ in range(7):
            d.track("x", user_id="u")
        await d.start()
        report = await d.aclose(timeout=1)
        assert report.left == {"datadog": 7, "freshpaint": 7}

        await d.start()
        d.track("x", user_id="u", to="datadog")
        await asyncio.sleep(1)
        await d._life.leave()
        assert d._life.left() == {("datadog", "lost"): 1}

    run(main())


def test_a_transport_that_is_slow_to_open_does_not_make_a_close_longer() -> None:
    """The time for the close counts from the call."""
    vendors = Vendors(lambda request, events: hang())

    class Slow:
        send = vendors.send
        aclose = vendors.aclose

        async def open(self) -> None:
            await asyncio.sleep(0.7)

    async def main() -> None:
        d = Dispatcher(datadog(), transport=Slow())
        d.track("x", user_id="u")
        report = await d.aclose(timeout=1)
        assert report.left == {"datadog": 1}
        assert now() == 1.0

    run(main())
