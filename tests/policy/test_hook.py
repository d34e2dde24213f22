"""The way of given-up events to `on_drop`: each shown once, by reason, in bounded memory."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque

import pytest

from sendoff import DroppedEvent, DropReason, Fate, Outcome
from sendoff._hook import (
    MAX_BACKLOG,
    MAX_BACKLOG_BYTES,
    MAX_OUTCOME_IDS,
    DropHook,
    Hooks,
    OutcomeHook,
)

OVERFLOW, REFUSED = DropReason.OVERFLOW, DropReason.REFUSED


def dropped(number, body=b"{}"):
    return DroppedEvent(f"id-{number}", "datadog", body)


class Seen:
    """A callback that keeps what it sees, and a bell that counts."""

    def __init__(self):
        self.calls, self.rings = [], 0

    def __call__(self, reason, events):
        self.calls.append((reason, [event.id for event in events]))

    def ring(self):
        self.rings += 1


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def hook(seen):
    return DropHook(seen, seen.ring)


def test_events_come_by_reason_and_in_order(hook, seen):
    """One call for each reason, with everything given up for it; the reason is a plain str."""
    for number, reason in enumerate([OVERFLOW, REFUSED, OVERFLOW]):
        hook.offer(reason, dropped(number))
    hook.deliver()
    assert seen.calls == [("overflow", ["id-0", "id-2"]), ("refused", ["id-1"])]
    assert {type(reason) for reason, _ in seen.calls} == {str}


def test_nothing_comes_twice(hook, seen):
    """What was shown is gone; without anything new nobody is called."""
    hook.offer(OVERFLOW, dropped(1))
    hook.deliver()
    hook.deliver()
    assert seen.calls == [("overflow", ["id-1"])]


def test_the_bell_rings_for_the_first_of_a_backlog(hook, seen):
    """Once is enough until somebody looks; after that, once again."""
    rings = []
    for number in range(3):
        hook.offer(OVERFLOW, dropped(number))
        rings.append(seen.rings)
    hook.deliver()
    hook.offer(OVERFLOW, dropped(3))
    assert (rings, seen.rings) == ([1, 1, 1], 2)


class Interrupted(deque):
    """A deque at whose `append` another thread, or a signal handler, gives an event up as well."""

    def __init__(self, interrupt):
        super().__init__()
        self._interrupt = interrupt

    def append(self, item):
        super().append(item)
        interrupt, self._interrupt = self._interrupt, lambda: None
        interrupt()


def test_the_bell_rings_although_two_threads_offer_at_once(hook, seen):
    """Any thread may offer: with two at the same moment somebody must still be told."""
    hook._backlog = Interrupted(lambda: hook.offer(OVERFLOW, dropped(2)))
    hook.offer(OVERFLOW, dropped(1))
    assert seen.rings >= 1


def test_what_is_given_up_during_the_callback_is_shown_too(seen):
    """A callback that causes another drop sees it in the same visit."""

    def callback(reason, events):
        seen(reason, events)
        if len(seen.calls) == 1:
            hook.offer(REFUSED, dropped(2))

    hook = DropHook(callback, seen.ring)
    hook.offer(OVERFLOW, dropped(1))
    hook.deliver()
    assert seen.calls == [("overflow", ["id-1"]), ("refused", ["id-2"])]


def test_a_slow_callback_costs_bounded_memory(hook, seen, caplog):
    """Beyond 10,000 events the rest is counted and said, and shown events make room again."""
    for number in range(MAX_BACKLOG + 5):
        hook.offer(OVERFLOW, dropped(number))
    assert hook.missed == 5
    hook.deliver()
    hook.offer(OVERFLOW, dropped("late"))
    hook.deliver()
    assert [len(events) for _, events in seen.calls] == [MAX_BACKLOG, 1]
    assert caplog.messages == ["on_drop was too slow: 5 dropped events were not shown to it"]
    assert (hook.missed, hook.missed_in_all) == (0, 5)


def test_large_events_are_bounded_by_their_bytes(seen):
    """16 MiB of bodies, also over many rounds; an event that does not fit lets a smaller one by."""
    hook = DropHook(seen, seen.ring, itertools.count(0, 60).__next__)
    half = bytes(MAX_BACKLOG_BYTES // 2)
    for _ in range(3):
        for number in range(3):
            hook.offer(OVERFLOW, dropped(number, half))
        assert hook.missed == 1
        hook.deliver()
    hook.offer(OVERFLOW, dropped(0, half))
    hook.offer(OVERFLOW, dropped(1, half + b"x"))
    hook.offer(OVERFLOW, dropped(2))
    hook.deliver()
    assert seen.calls[-1] == ("overflow", ["id-0", "id-2"])


def test_a_callback_that_raises_is_contained(caplog):
    """Other reasons are still shown; one log line, without the events; the rest is counted."""
    calls = []

    def callback(reason, events):
        calls.append(reason)
        raise ValueError("s3cret")

    hook = DropHook(callback, lambda: None)
    with caplog.at_level(logging.DEBUG, "sendoff"):
        for _ in range(2):
            hook.offer(OVERFLOW, dropped(1, b"s3cret"))
            hook.offer(REFUSED, dropped(2, b"s3cret"))
            hook.deliver()
    assert (calls, hook.failures) == (["overflow", "refused"] * 2, 4)
    assert [record.getMessage() for record in caplog.records] == [
        "on_drop raised ValueError; further ones are only counted"
    ]


def test_a_dropped_event_hides_its_body():
    """It holds the caller's data, and often a token."""
    assert repr(dropped(1, b"s3cret")) == "DroppedEvent(id='id-1', destination='datadog')"


def test_one_call_at_a_time():
    """The last call after a close waits for an earlier one that is still in the callback."""
    begun, go = threading.Event(), threading.Event()
    calls = []

    def callback(reason, events):
        calls.append(f"begin {events[0].id}")
        begun.set()
        assert go.wait(10)
        calls.append(f"end {events[0].id}")

    hook = DropHook(callback, lambda: None)
    hook.offer(OVERFLOW, dropped(1))
    first = threading.Thread(target=hook.deliver)
    first.start()
    assert begun.wait(10)
    hook.offer(OVERFLOW, dropped(2))
    second = threading.Thread(target=hook.deliver)
    second.start()
    go.set()
    first.join()
    second.join()
    assert calls == ["begin id-1", "end id-1", "begin id-2", "end id-2"]


# --- outcomes -------------------------------------------------------------------------------------


def test_outcomes_come_in_the_order_of_fates():
    """One call for each fate, with a plain tuple of ids."""
    calls = []
    hook = OutcomeHook(calls.append, lambda: None)
    hook.offer("datadog", Fate.DELIVERED, None, ["a", "b"])
    hook.offer("datadog", Fate.DROPPED, REFUSED, ["c"])
    hook.offer("datadog", Fate.DELIVERED, None, ["d"])
    hook.deliver()
    hook.deliver()
    assert calls == [
        Outcome("datadog", Fate.DELIVERED, None, ("a", "b")),
        Outcome("datadog", Fate.DROPPED, REFUSED, ("c",)),
        Outcome("datadog", Fate.DELIVERED, None, ("d",)),
    ]
    assert (calls[0].fate, calls[1].reason) == ("delivered", "refused")


def test_a_slow_on_outcome_costs_bounded_memory(caplog):
    """Beyond 100,000 ids the rest is counted and said, and shown ones make room again."""
    calls = []
    hook = OutcomeHook(lambda outcome: calls.append(len(outcome.ids)), lambda: None)
    hook.offer("datadog", Fate.DELIVERED, None, ["x"] * (MAX_OUTCOME_IDS - 2))
    hook.offer("datadog", Fate.DELIVERED, None, ["x"] * 5)
    hook.offer("datadog", Fate.DELIVERED, None, ["x"] * 5)
    hook.deliver()
    hook.offer("datadog", Fate.DELIVERED, None, ["x"])
    hook.deliver()
    assert calls == [MAX_OUTCOME_IDS - 2, 2, 1]
    assert caplog.messages == ["on_outcome was too slow: 8 events' fates were not shown to it"]
    assert hook.missed_in_all == 8


def test_an_on_outcome_that_raises_is_contained(caplog):
    """The next fate is still shown."""

    def callback(outcome):
        raise ValueError("s3cret")

    hook = OutcomeHook(callback, lambda: None)
    for _ in range(3):
        hook.offer("datadog", Fate.DELIVERED, None, ["s3cret"])
    hook.deliver()
    assert hook.failures == 3
    assert caplog.messages == ["on_outcome raised ValueError; further ones are only counted"]


def test_what_is_in_the_dead_letters_is_not_offered_to_on_drop():
    """The first events are, the others were dropped; each fate is told once."""
    drops, fates = [], []
    on_drop = DropHook(lambda reason, events: drops.extend(e.id for e in events), lambda: None)
    on_outcome = OutcomeHook(lambda o: fates.append((o.fate, o.ids)), lambda: None)
    hooks = Hooks(on_drop, on_outcome)
    hooks.given_up("datadog", REFUSED, [b"1", b"2", b"3"], ["a", "b", "c"], 2)
    hooks.given_up("datadog", REFUSED, [b"4"], ["d"], 1)
    hooks.given_up("datadog", REFUSED, [b"5"], ["e"])
    for hook in hooks.all():
        hook.deliver()
    assert drops == ["c", "e"]
    assert fates == [
        ("dead_lettered", ("a", "b")),
        ("dropped", ("c",)),
        ("dead_lettered", ("d",)),
        ("dropped", ("e",)),
    ]


def test_a_slow_callback_is_one_line_a_minute(seen, caplog):
    """What was not shown is added up until the next line."""
    clock = {"now": 0.0}
    hook = DropHook(seen, seen.ring, lambda: clock["now"])
    for clock["now"] in (0.0, 1.0, 2.0, 61.0):
        for number in range(MAX_BACKLOG + 5):
            hook.offer(OVERFLOW, dropped(number))
        hook.deliver()
    assert caplog.messages == [
        f"on_drop was too slow: {count} dropped events were not shown to it" for count in (5, 15)
    ]
