"""
Calls that are interrupted at every instant at which that can happen, one after the other: the
interpreter runs signal handlers, and other threads, after calls and at the ends of loops.
"""

from __future__ import annotations

import asyncio
import dis
import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from sendoff import Dispatcher
from sendoff._backlog import SpooledQueue
from sendoff._batcher import Batch, Batcher
from sendoff._queue import STRETCH, EventQueue
from sendoff._roll import follow, unfollow
from sendoff.events import DropReason, Framing
from virtual import Vendors, dispatcher, fates, freshpaint, run

INSTANTS = {
    number
    for name, number in dis.opmap.items()
    if name.startswith("CALL") or name in ("RESUME", "JUMP_BACKWARD")
}
"""The instructions after which other code may run."""


class Interrupter:
    """
    Does something at one instant of what runs while it traces.

    Args:
        at: Which instant, from 0 on.
        act: What is done there.
        within: What is interrupted: code of files whose names hold that.
    """

    def __init__(self, at: int, act: Callable[[], object], within: str = "/sendoff/") -> None:
        self.left = at
        self.done = False
        self._act = act
        self._within = within
        self._last: dict[FrameType, int] = {}

    def __call__(self, frame: FrameType, kind: str, _: object) -> Interrupter | None:
        if self._within not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode" and not self.done:
            before = self._last.get(frame)
            self._last[frame] = frame.f_code.co_code[frame.f_lasti]
            if before in INSTANTS:
                self.done = self.left == 0
                self.left -= 1
                if self.done:
                    self._act()
        return self

    def during(self, call: Callable[[], Any]) -> Any:
        tracer = sys.gettrace()
        sys.settrace(self)
        try:
            return call()
        finally:
            sys.settrace(tracer)


def everywhere(one: Callable[[int], Interrupter]) -> int:
    """
    Tries all instants; how many there were.
    """
    for _ in range(3):
        one(10**6)  # from 3.12 on a function's instructions are traced from its second call on
    for at in itertools.count():
        if not one(at).done:
            return at
    raise AssertionError


def full(kind: type[EventQueue], limits: dict[str, int], overflow: Any) -> EventQueue:
    bounds = {"max_events": 100, "max_bytes": 100, **limits}
    queue = kind(max_events=bounds["max_events"], max_bytes=bounds["max_bytes"], overflow=overflow)
    for name in ("a", "b", "c"):
        assert queue.push(name.encode(), name) == ()
    return queue


@pytest.mark.parametrize("kind", [EventQueue, SpooledQueue])
@pytest.mark.parametrize("limits", [{"max_events": 3}, {"max_bytes": 3}])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("room", [0, 1])
def test_a_push_within_a_push_keeps_to_the_bounds(
    kind: type[EventQueue], limits: dict[str, int], overflow: str, room: int
) -> None:
    """Whenever it comes: every event is queued or went, once, and no limit is passed."""

    def one(at: int) -> Interrupter:
        queue = full(kind, limits, overflow)
        gone = []
        for _ in range(room):
            gone.append(queue.pop()[1])
            queue.release(1, 1)

        def push(name: str) -> None:
            evicted = queue.push(name.encode(), name)
            gone.extend([name] if evicted is None else [own for _, own in evicted])

        interrupter = Interrupter(at, lambda: push("i"))
        interrupter.during(lambda: push("d"))
        given = ["a", "b", "c", "d", *(["i"] if interrupter.done else [])]
        assert sorted([*gone, *(own for _, own in queue)]) == sorted(given)
        assert all(body == own.encode() for body, own in queue)
        assert queue.held_events == queue.held_bytes == queue.queued_bytes == len(queue) <= 3
        assert len(queue) == 3 or not interrupter.done
        assert queue.in_hand == 0
        return interrupter

    assert everywhere(one) >= 2


def callers(overflow: str) -> tuple[Dispatcher, Any, int]:
    """
    A dispatcher that takes events without the lock, and has room for two stretches.
    """
    most = 2 * STRETCH + 1
    d = dispatcher(Vendors(), freshpaint(), max_queue_events=most, overflow=overflow)
    intake: Any = d._intakes[0]
    intake.accept(b"0", "0")
    assert intake.queue.light > 0
    return d, intake, most


def names(queue: EventQueue) -> Iterator[str]:
    return (own for _, own in queue)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("asked", [False, True])
def test_others_that_take_the_room_meanwhile_do_not_let_it_pass_the_limit(
    overflow: str, asked: bool
) -> None:
    """A call that had leave to put its event in finds the queue full: one goes, and is counted."""

    def one(at: int) -> Interrupter:
        d, intake, most = callers(overflow)
        own = {"0": True}

        def fill() -> None:
            for number in range(1, most + 1):
                name = str(number)
                own[name] = intake.accept(b"x", name)
            if asked:
                d.stats()

        interrupter = Interrupter(at, fill)
        own["late"] = interrupter.during(lambda: intake.accept(b"x", "late"))
        if interrupter.done:
            stats = d.stats().destinations["freshpaint"]
            assert stats.submitted == most + 2
            assert (stats.pending, dict(stats.dropped)) == (most, {"overflow": 2})
            assert intake.queue.held_bytes == intake.queue.queued_bytes == most
            if overflow == "drop_newest":  # what was said is true
                assert sorted(names(intake.queue)) == sorted(name for name in own if own[name])
        return interrupter

    assert everywhere(one) > 1


@pytest.mark.parametrize("asked", [False, True])
def test_a_close_meanwhile_takes_the_event_or_rejects_it(asked: bool) -> None:
    """Nothing is behind the close but what is in the count of rejections, and the call says so."""

    def one(at: int) -> Interrupter:
        d, intake, _ = callers("drop_newest")
        queued: list[int] = []

        def close() -> None:
            intake.set_closed(True)
            queued.append(len(intake.queue))

        interrupter = Interrupter(at, close)
        if asked:  # somebody weighs between the two
            weigh = intake._accept_late
            intake._accept_late = lambda *event: (d.stats(), weigh(*event))[1]
        accepted = interrupter.during(lambda: intake.accept(b"x", "late"))
        if interrupter.done:
            assert accepted == ("late" in names(intake.queue))
            assert len(intake.queue) == queued[0]
            rejected = {} if accepted else {"rejected": {"closed": 1}}
            assert fates(d, "freshpaint") == {"pending": 1 + accepted} | rejected
        return interrupter

    assert everywhere(one) > 1


def test_each_late_call_takes_its_own_event_back() -> None:
    """Two were kept waiting before a close: both are rejected, and both say so."""
    d, intake, _ = callers("drop_newest")
    intake.queue.items += (b"x", "first")
    intake.queue.weigh()
    before = len(intake.queue)
    intake.set_closed(True)
    intake.queue.items += (b"x", "late")
    intake.queue.items += (b"x", "later")
    assert intake._accept_late(b"x", "late") is False
    assert intake._accept_late(b"x", "later") is False
    assert len(intake.queue) == before
    assert fates(d, "freshpaint") == {"pending": 2, "rejected": {"closed": 2}}


def test_a_flush_does_not_wait_for_a_number_that_was_given_back() -> None:
    """It began while an event was there that had to go again: the rest is all it waits for."""

    async def main() -> None:
        async with dispatcher(Vendors(), freshpaint(), max_queue_events=1) as d:
            intake: Any = d._intakes[0]
            assert intake.accept(FRESHPAINT, "first")
            intake.queue.items += (FRESHPAINT, "late")
            flush = asyncio.create_task(d.flush())
            await asyncio.sleep(0)
            assert intake._accept_late(FRESHPAINT, "late") is False
            assert await asyncio.wait_for(flush, 10)
            assert fates(d, "freshpaint") == {"delivered": 1, "dropped": {"overflow": 1}}

    run(main())


FRESHPAINT = (
    b'{"event":"e","properties":{"token":"token","time":1760000000.0,"$insert_id":"a",'
    b'"distinct_id":"u"}}'
)


def calls(intake: Any) -> dict[str, Callable[[], object]]:
    """
    What changes the counts, and how it is done.
    """

    def batch() -> Batch:
        return Batcher(max_bytes=100, max_events=1, linger=0.0, framing=Framing()).one(intake.queue)

    taken = [batch(), batch()]
    return {
        "accept": lambda: intake.accept(b"x", "new"),
        "deliver": lambda: intake.delivered(taken[0]),
        "give up": lambda: intake.dropped(taken[1], DropReason.REFUSED),
    }


@pytest.mark.parametrize("what", ["accept", "deliver", "give up"])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_the_counts_add_up_at_every_instant(what: str, overflow: Any) -> None:
    """Whoever asks in the middle, a signal handler too, finds each event in exactly one of them."""

    def one(at: int) -> Interrupter:
        d = dispatcher(Vendors(), freshpaint(), max_queue_events=4, overflow=overflow)
        intake: Any = d._intakes[0]
        for name in "abcd":
            intake.accept(b"x", name)
        call = calls(intake)[what]
        seen: list[int] = []

        def ask() -> None:
            seen.append(d.stats().destinations["freshpaint"].submitted)

        interrupter = Interrupter(at, ask)
        interrupter.during(call)
        ask()
        assert seen[-1] == 4 + (what == "accept")
        assert 4 <= seen[0] <= seen[-1]
        return interrupter

    assert everywhere(one) >= 2


def test_a_finalizer_that_makes_a_dispatcher_disturbs_nobody_who_follows_them() -> None:
    """Whoever follows is told of all there are, whatever is made while they are looked up."""
    there = [dispatcher(Vendors(), freshpaint()) for _ in range(3)]

    def one(at: int) -> Interrupter:
        told: list[Dispatcher] = []

        def listen(new: Dispatcher) -> None:
            told.append(new)

        made: list[Dispatcher] = []
        interrupter = Interrupter(
            at, lambda: made.append(dispatcher(Vendors(), freshpaint())), within="weakref"
        )
        interrupter.during(lambda: follow(listen))
        unfollow(listen)
        assert {id(each) for each in (*there, *made)} <= {id(each) for each in told}
        return interrupter

    assert everywhere(one) >= 1
