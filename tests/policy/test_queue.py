"""The bounded queue, against a list that does the same by hand."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._batcher import Batcher
from sendoff._queue import LIGHT, STRETCH, EventQueue
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
        "queued": list(queue),
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
    assert ([one for _, one in queue], queue.head, queue.tail) == (["2", "3", "new"], 2, 5)


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
    assert set(queue) == {(b"call", "call"), (b"signal", "signal")}
    assert queue.held_events == len(queue)
    assert queue.held_bytes == queue.queued_bytes == sum(len(body) for body, _ in queue)


ONE_BY_ONE = Batcher(max_bytes=1_000, max_events=1, linger=0.0, framing=Framing())


def take_one(queue: EventQueue) -> list[tuple[bytes, str]]:
    batch = ONE_BY_ONE.one(queue)
    return list(zip(batch.bodies, batch.ids, strict=True))


def take_some(queue: EventQueue) -> list[tuple[bytes, str]]:
    taken = None
    while taken is None:
        queue.weigh()
        head, events = queue.head, min(3, queue.weighed // 2)
        with suppress(IndexError):
            taken = queue.take(events, sum(queue.sizes(0, 2 * events)), head)
    return list(zip(*taken[:2], strict=True))


def give_up(queue: EventQueue) -> list[tuple[bytes, str]]:
    return [queue.pop()]


@pytest.mark.parametrize("take", [take_one, take_some, give_up])
@pytest.mark.parametrize("light", [False, True])
def test_a_call_that_interrupts_a_taking_mixes_nothing_up(take, light: bool) -> None:
    """
    Whatever a signal's handler puts in or drives out in the middle of it: no event is lost, none
    comes twice, body and id stay together, and the counts are right.
    """
    queue = EventQueue(max_events=5, max_bytes=10**6, overflow="drop_oldest")
    if light:
        queue.max_events = 10**9
    given: list[str] = []
    seen: list[tuple[bytes, str]] = []

    def push() -> None:
        name = str(len(given))
        given.append(name)
        body = name.encode() * 3
        if light and len(queue.items) < queue.light:
            queue.items += (body, name)
            return
        evicted = queue.push(body, name)
        assert evicted is not None
        seen.extend(evicted)
        if light:
            queue.lighten()

    def handler(number: int, frame: object) -> None:
        push()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for number in range(20_000):
            # One at most in each taking, now here, now there.
            signal.setitimer(signal.ITIMER_REAL, 0.000001 * (1 + number % 30))
            if not len(queue):
                push()
            taken = take(queue)
            queue.release(len(taken), sum(len(body) for body, _ in taken))
            seen.extend(taken)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    queue.weigh()
    left = list(queue)
    assert sorted(given, key=int) == sorted([one for _, one in (*seen, *left)], key=int)
    assert all(body == one.encode() * 3 for body, one in (*seen, *left))
    assert (queue.held_events, queue.in_hand, queue.head) == (len(left), 0, len(given) - len(left))
    assert queue.held_bytes == queue.queued_bytes == sum(len(body) for body, _ in left)


# --- without the lock -----------------------------------------------------------------------------


def light_queue(**limits: float) -> EventQueue:
    """
    A queue with room for many, which says how far it may be filled without the lock.
    """
    queue = EventQueue(max_events=1_000, max_bytes=10**8, overflow="drop_newest")
    for name, value in limits.items():
        setattr(queue, name, value)
    queue.lighten()
    return queue


def test_what_is_put_in_without_the_lock_counts_when_it_is_weighed() -> None:
    """Pending at once; sizes, and what is held, at the next weighing."""
    queue = light_queue()
    for number in range(3):
        queue.items += (b"12345", str(number))
    assert (len(queue), queue.tail, queue.pending, queue.held_events) == (3, 3, 3, 0)
    queue.weigh()
    assert (queue.held_events, queue.held_bytes, queue.queued_bytes) == (3, 15, 15)
    assert (queue.pending, queue.in_hand) == (3, 0)
    assert queue.pop() == (b"12345", "0")
    assert (queue.pending, queue.in_hand, queue.queued_bytes) == (3, 1, 10)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_events": 2 * STRETCH - 1},
        {"max_bytes": 2 * STRETCH * LIGHT - 1},
        {"ring_events": 1},
        {"ring_events": 2 * STRETCH - 1},
        {"ring_bytes": 1},
        {"closed": True},
    ],
)
def test_where_the_bounds_or_a_sleeper_are_near_every_call_takes_the_lock(limits) -> None:
    """Else a limit would be passed, or nobody woken."""
    assert light_queue().light == 2 * STRETCH
    assert light_queue(**limits).light == 0


def test_a_stretch_is_bounded_by_what_it_began_with() -> None:
    """After each weighing as many as a stretch may come; fewer never pass a limit."""
    queue = light_queue(max_events=3 * STRETCH)
    while len(queue.items) < queue.light:
        queue.items += (b"x", "id")
    assert len(queue) == STRETCH
    queue.weigh()
    queue.lighten()
    assert queue.light == 4 * STRETCH
    while len(queue.items) < queue.light:
        queue.items += (b"x", "id")
    queue.weigh()
    queue.lighten()
    assert (queue.light, len(queue)) == (0, 2 * STRETCH)


def test_a_taking_does_not_lengthen_the_stretch() -> None:
    """Of one event: the mark goes along. Of many: it is taken back, until the next weighing."""
    for take, left in ((take_one, 2 * STRETCH - 2), (take_some, 0), (give_up, 2 * STRETCH - 2)):
        queue = light_queue()
        queue.items += (b"x", "id")
        take(queue)
        assert (queue.light, queue.weighed, queue.held_events) == (left, 0, 1)


@QUICK
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "take", "give up", "release"]),
            st.integers(1, 2 * STRETCH),
        ),
        max_size=20,
    ),
    st.integers(1, 4 * STRETCH),
)
def test_however_puts_and_takings_alternate_no_limit_is_passed(steps, room: int) -> None:
    """
    What is held keeps to the bounds, with as many to spare as a stretch has while a call may do
    without the lock; and what is counted is what is there.
    """
    queue = EventQueue(max_events=STRETCH + room, max_bytes=10**8, overflow="drop_newest")
    in_hand = 0
    for step, times in steps:
        for _ in range(times):
            if step == "put" and len(queue.items) < queue.light:
                queue.items += (b"xyz", "id")
            elif step == "put":
                queue.push(b"xyz", "id")
                queue.lighten()
            elif step == "release" and in_hand:
                queue.release(1, 3)
                in_hand -= 1
            elif step in ("take", "give up") and queue.items:
                (take_one if step == "take" else give_up)(queue)
                in_hand += 1
            assert queue.pending == len(queue) + in_hand
            assert queue.pending + STRETCH * (queue.light > 0) <= queue.max_events
            assert len(queue.items) - queue.weighed <= 2 * STRETCH
    queue.weigh()
    assert queue.held_events == len(queue) + in_hand
    assert (queue.held_bytes, queue.queued_bytes) == (3 * queue.held_events, 3 * len(queue))


def test_whoever_is_told_is_told_once() -> None:
    """At so many events or bytes; then not again until somebody wants to know."""
    queue = queue_of([5])
    for threshold in ({"ring_events": 2}, {"ring_bytes": 10}):
        assert not queue.rings()
        for name, value in threshold.items():
            setattr(queue, name, value)
        assert not queue.rings()
        queue.push(b"12345", "more")
        assert queue.rings()
        assert not queue.rings()
        queue.pop()


def test_an_event_that_is_driven_out_while_it_is_looked_at_is_not_the_one_taken() -> None:
    """The size that is counted is that of the event that was taken."""
    queue = EventQueue(max_events=2, max_bytes=10**6, overflow="drop_oldest")

    class Looked(bytes):
        hook = None

        def __len__(self) -> int:
            hook, self.hook = self.hook, None
            if hook is not None:
                hook()
            return super().__len__()

    oldest = Looked(b"1")
    queue.push(oldest, "oldest")
    queue.push(b"22", "second")
    oldest.hook = lambda: queue.push(b"333", "third")
    assert queue.take_one() == (b"22", "second", None)
    assert (queue.queued_bytes, queue.held_bytes, queue.head) == (3, 5, 2)
    assert list(queue) == [(b"333", "third")]
