"""
Events that come in without the lock: what happens when that is forbidden in the very moment.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sendoff import Dispatcher
from sendoff._intake import Intake
from sendoff._queue import LIGHT, STRETCH
from virtual import Vendors, datadog, dispatcher, fates, freshpaint, run

Step = Callable[[Intake], object]


class Watched(deque[Any]):
    """
    A queue's items that do something just before, or after, the next event is put in.
    """

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def __iadd__(self, pair: Iterable[Any]) -> Watched:
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        self.extend(pair)
        if after is not None:
            after()
        return self


class Rings:
    """
    Counts instead of ringing.
    """

    def __init__(self) -> None:
        self.count = 0

    def ring(self) -> None:
        self.count += 1


def ready(**options: Any) -> tuple[Dispatcher, Intake, Watched, Rings]:
    """
    A dispatcher that no loop runs, whose next event comes in without the lock.
    """
    d = dispatcher(Vendors(), freshpaint(), **options)
    intake: Any = d._intakes[0]
    queue = intake.queue
    intake.bell = rings = Rings()
    queue.items = watched = Watched()
    queue.lighten()
    assert queue.light > 0
    return d, intake, watched, rings


def fall_asleep(intake: Intake) -> None:
    """
    What a worker does that finds nothing.
    """
    with intake.lock:
        intake.queue.light = 0
        intake.queue.weigh()
        intake.queue.ring_events = 1


def test_most_calls_take_no_lock() -> None:
    """One in a stretch does; then it weighs what came."""
    d, intake, _, _ = ready()
    held: list[int] = []
    lock = intake.lock

    class Lock:
        def __enter__(self) -> None:
            lock.acquire()
            held.append(1)

        def __exit__(self, *_: object) -> None:
            lock.release()

    intake.lock = Lock()  # type: ignore[assignment]
    for _ in range(10 * (STRETCH + 1)):
        assert d.track("event", user_id="u") is not None
    assert len(held) == 10
    assert d.stats().destinations["freshpaint"].pending == 10 * (STRETCH + 1)
    assert intake.queue.held_bytes == sum(len(body) for body, _ in intake.queue)


def test_a_large_event_takes_the_lock() -> None:
    """What is set aside for a stretch is for small ones."""
    d, intake, _, _ = ready()
    d.track("event", user_id="u", properties={"large": "x" * LIGHT})
    assert intake.queue.held_events == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_falls_asleep_in_that_moment_is_woken(when: str) -> None:
    """Asleep just before the event is there: the call rings. Just after: the sleeper sees it."""
    d, intake, items, rings = ready()
    setattr(items, when, lambda: fall_asleep(intake))
    d.track("event", user_id="u")
    assert rings.count == 1
    assert (intake.queue.held_events, intake.queue.light) == (1, 0)


def test_what_comes_in_behind_the_close_is_rejected() -> None:
    """Nothing slips in behind the last flush: the call says so, and it is counted."""
    d, intake, items, _ = ready()
    items.before = lambda: intake.set_closed(True)
    assert d.track("event", user_id="u") is None
    assert fates(d, "freshpaint") == {"rejected": {"closed": 1}}
    assert not intake.queue.items


def test_what_comes_in_before_the_close_is_accepted() -> None:
    """It is there when the last flush begins."""
    d, intake, items, _ = ready()
    items.after = lambda: intake.set_closed(True)
    assert d.track("event", user_id="u") is not None
    assert fates(d, "freshpaint") == {"pending": 1}
    assert intake.queue.held_events == 1
    assert d.track("late", user_id="u") is None


def test_near_the_bounds_the_limit_is_kept_to_the_event() -> None:
    """Many threads at once: exactly as many events are held as may be, the others are counted."""
    most = 5 * STRETCH
    d = dispatcher(Vendors(), freshpaint(), datadog(), max_queue_events=most)

    def calls() -> None:
        for _ in range(most):
            d.track("event", user_id="u")

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("freshpaint", "datadog"):
        assert fates(d, name) == {"pending": most, "dropped": {"overflow": 3 * most}}


def test_threads_that_call_while_workers_come_and_go_lose_nothing() -> None:
    """Every event is delivered, whoever slept when it came."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(), datadog(flush_interval=0.01)) as d:

            def calls() -> None:
                for _ in range(500):
                    assert d.track("event", user_id="u") is not None

            threads = [threading.Thread(target=calls) for _ in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                await d.flush()
            assert await d.flush()
            assert fates(d, "freshpaint") == fates(d, "datadog") == {"delivered": 2_000}

    run(main())
