"""The bounded queue, against a list that does the same by hand."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._batcher import Batcher
from sendoff._queue import EventQueue
from sendoff.events import Framing

QUICK = settings(derandomize=True, deadline=None, max_examples=200)


def queue_of(sizes, *, max_events=100, max_bytes=1_000, overflow="drop_newest"):
    """A queue with an event of each size; the ids count from 0."""
    queue = EventQueue(max_events=max_events, max_bytes=max_bytes, overflow=overflow)
    for number, size in enumerate(sizes):
        assert queue.push(bytes(size), str(number)) == ()
    return queue


class Model:
    """What the queue promises, as slowly and plainly as can be."""

    def __init__(self, max_events, max_bytes, overflow):
        self.max_events, self.max_bytes, self.overflow = max_events, max_bytes, overflow
        self.queued = []  # (body, id, sequence number)
        self.in_hand = []
        self.taken = 0  # sequence numbers given out

    @property
    def held(self):
        return [*self.queued, *self.in_hand]

    def fits(self, others, size):
        too_many = len(others) + 1 > self.max_events
        return not too_many and sum(len(body) for body, *_ in others) + size <= self.max_bytes

    def push(self, body, event_id):
        evicted = []
        if not self.fits(self.held, len(body)):
            if self.overflow == "drop_newest" or not self.fits(self.in_hand, len(body)):
                return None
            while not self.fits(self.held, len(body)):
                evicted.append(self.queued.pop(0)[:2])
        self.queued.append((body, event_id, self.taken))
        self.taken += 1
        return tuple(evicted)

    def state(self):
        return {
            "queued": [(body, event_id) for body, event_id, _ in self.queued],
            "queued_bytes": sum(len(body) for body, *_ in self.queued),
            "held_events": len(self.held),
            "held_bytes": sum(len(body) for body, *_ in self.held),
            "head": self.queued[0][2] if self.queued else self.taken,
            "tail": self.taken,
        }


def state_of(queue):
    return {
        "queued": list(zip(queue.bodies, queue.ids, strict=True)),
        "queued_bytes": queue.queued_bytes,
        "held_events": queue.held_events,
        "held_bytes": queue.held_bytes,
        "head": queue.head,
        "tail": queue.tail,
    }


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 12)),
        st.tuples(st.just("pop"), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, 5)),
    ),
    max_size=60,
)


@QUICK
@given(
    steps=STEPS,
    max_events=st.integers(1, 6),
    max_bytes=st.integers(1, 30),
    overflow=st.sampled_from(["drop_newest", "drop_oldest"]),
)
def test_any_sequence_of_calls_leaves_what_the_model_leaves(steps, max_events, max_bytes, overflow):
    """Order, counts, bytes, evictions, sequence numbers are the model's; no limit is passed."""
    queue = EventQueue(max_events=max_events, max_bytes=max_bytes, overflow=overflow)
    model = Model(max_events, max_bytes, overflow)
    for number, (step, value) in enumerate(steps):
        if step == "push":
            body = bytes([number % 256]) * value
            assert queue.push(body, str(number)) == model.push(body, str(number))
        elif step == "pop" and model.queued:
            model.in_hand.append(model.queued.pop(0))
            assert queue.pop() == model.in_hand[-1][:2]
        elif step == "release" and model.in_hand:
            body, *_ = model.in_hand.pop(value % len(model.in_hand))
            queue.release(1, len(body))
        assert state_of(queue) == model.state()
        assert len(queue) == len(model.queued)
        assert queue.held_events <= max_events
        assert queue.held_bytes <= max_bytes


def test_what_is_in_hand_counts_until_it_is_released():
    """A full queue stays full while a worker has the event; only its fate makes room."""
    queue = queue_of([10], max_bytes=10)
    body, _ = queue.pop()
    assert (len(queue), queue.push(b"x", "late")) == (0, None)
    queue.release(1, len(body))
    assert queue.push(b"x", "later") == ()


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        pytest.param({"max_events": 3}, 1, id="count"),
        pytest.param({"max_bytes": 30}, 1, id="bytes"),
    ],
)
def test_drop_newest_refuses_and_changes_nothing(limits, size):
    """A new event beyond either limit is refused; what is queued stays as it is."""
    queue = queue_of([10, 10, 10], **limits)
    before = state_of(queue)
    assert queue.push(bytes(size), "new") is None
    assert state_of(queue) == before


def test_drop_oldest_evicts_no_more_than_it_must():
    """The oldest go, in order, until the new one fits; bodies come back with their ids."""
    queue = queue_of([4, 4, 4, 4], max_bytes=16, overflow="drop_oldest")
    assert queue.push(bytes(6), "new") == ((bytes(4), "0"), (bytes(4), "1"))
    assert (list(queue.ids), queue.head, queue.tail) == (["2", "3", "new"], 2, 5)


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        pytest.param({"max_events": 2}, 1, id="count"),
        pytest.param({"max_bytes": 20}, 1, id="bytes"),
    ],
)
def test_drop_oldest_cannot_take_what_is_in_hand(limits, size):
    """With everything in workers' hands the new event itself must go."""
    queue = queue_of([10, 10], overflow="drop_oldest", **limits)
    queue.pop()
    queue.pop()
    assert queue.push(bytes(size), "new") is None


def test_drop_oldest_evicts_nothing_in_vain():
    """An event that would not even fit an empty queue costs no other event its place."""
    queue = queue_of([5, 5, 5], max_bytes=15, overflow="drop_oldest")
    queue.pop()
    before = state_of(queue)
    assert queue.push(bytes(11), "new") is None
    assert state_of(queue) == before


def test_a_limit_itself_is_allowed():
    """Exactly `max_events` events and exactly `max_bytes` bytes are held."""
    queue = queue_of([10, 10, 10], max_events=3, max_bytes=30)
    assert (queue.held_events, queue.held_bytes) == (3, 30)


def interrupted_pushes(push: Callable[[bytes, str], object]) -> None:
    """
    Pushes events while a signal's handler, again and again in the middle of that, pushes others.
    """

    def handler(number: int, frame: object) -> None:
        push(b"signal", "signal")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        for _ in range(200_000):
            push(b"call", "call")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_call_from_a_signal_handler_mixes_nothing_up() -> None:
    """Body and id stay together, also where a handler's call interrupts another one."""
    queue = EventQueue(max_events=10**9, max_bytes=10**12, overflow="drop_newest")
    interrupted_pushes(queue.push)
    pairs = set(zip(queue.bodies, queue.ids, strict=True))
    assert pairs == {(b"call", "call"), (b"signal", "signal")}
    assert queue.held_events == len(queue.bodies)
    assert queue.held_bytes == queue.queued_bytes == sum(map(len, queue.bodies))


class Interrupted(deque):
    """Calls something in the middle of taking its first item out, as a signal's handler may."""

    call = None

    def popleft(self):
        item = super().popleft()
        call, self.call = self.call, None
        if call is not None:
            call()
        return item


ONE_BY_ONE = Batcher(max_bytes=1_000, max_events=1, linger=0.0, framing=Framing())


def one(queue):
    """A batch of one, as `pop` gives its event."""
    batch = ONE_BY_ONE.one(queue)
    return batch.bodies[0], batch.ids[0]


@pytest.mark.parametrize("take", [EventQueue.pop, one])
def test_a_call_that_interrupts_a_taking_evicts_nothing_of_it(take):
    """Else the body of one event would leave with the id of the next."""
    queue = queue_of([1, 2], max_events=2, overflow="drop_oldest")
    refused = []
    queue.bodies = Interrupted(queue.bodies)
    queue.bodies.call = lambda: refused.append(queue.push(bytes(9), "9"))
    assert take(queue) == (bytes(1), "0")
    assert refused == [None]
    assert list(zip(queue.bodies, queue.ids, strict=True)) == [(bytes(2), "1")]
    queue.release(1, 1)
    assert queue.push(bytes(3), "2") == ()
