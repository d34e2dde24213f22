"""Batches: as full as a request allows, never fuller, never empty, in order."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Datadog, Framing
from sendoff._batcher import CHUNK, Batch, Batcher
from sendoff._queue import EventQueue

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
FRAMINGS = ("array", "ndjson", "single")


def destination_of(framing):
    return Datadog(api_key="key", application_id="app", framing=framing)


def queue_of(bodies, places=None):
    queue = EventQueue(max_events=10**6, max_bytes=10**9, overflow="drop_newest", places=places)
    for number, body in enumerate(bodies):
        assert queue.push(body, str(number)) == ()
    return queue


def sized(sizes):
    """Distinguishable bodies of given sizes."""
    return [(b"%d" % number).ljust(size, b".")[:size] for number, size in enumerate(sizes)]


def take(batcher, queue):
    """One batch, taken as a worker takes it: chunk by chunk until it is complete."""
    batch = Batch([], [], queue.head)
    room = batcher.max_bytes
    while room >= 0:
        room = batcher.fill(queue, batch, room)
    return batch


@QUICK
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=20),
    spooled=st.booleans(),
    popped=st.integers(0, 5),
)
def test_one_event_is_taken_as_a_batch_of_one_is_filled(sizes, spooled, popped):
    """The short way for a lane of single events leaves queue and batch as the long one does."""
    batcher = batcher_of(destination_of("single"), max_bytes=60, max_events=1)
    seen = []
    for way in (batcher.one, lambda queue: take(batcher, queue)):
        places = deque(range(100, 100 + len(sizes))) if spooled else None
        queue = queue_of(sized(sizes), places=places)
        batches = [way(queue) for _ in range(min(popped, len(sizes)))]
        rest = (list(queue), queue.places, queue.head, queue.queued_bytes)
        slots = [[getattr(batch, name) for name in Batch.__slots__] for batch in batches]
        seen.append((slots, rest, queue.held_events))
    assert seen[0] == seen[1]


def batcher_of(destination, *, max_bytes=1_000, max_events=None, linger=1.0):
    return Batcher(
        max_bytes=max_bytes,
        max_events=max_events,
        linger=linger,
        framing=destination.framing,
    )


@QUICK
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=80),
    max_bytes=st.integers(60, 400),
    max_events=st.none() | st.integers(1, 20),
    framing=st.sampled_from(FRAMINGS),
)
def test_batches_fit_are_full_and_keep_the_order(sizes, max_bytes, max_events, framing):
    """Every framed body is at most `max_bytes`, none is empty, one more would not have fit."""
    destination = destination_of(framing)
    max_events = 1 if framing == "single" else max_events
    batcher = batcher_of(destination, max_bytes=max_bytes, max_events=max_events)
    bodies = sized(sizes)
    queue = queue_of(bodies)
    batches = []
    while queue:
        batches.append(take(batcher, queue))
        assert len(batches[-1]) > 0
    taken = [body for batch in batches for body in batch.bodies]
    ids = [event_id for batch in batches for event_id in batch.ids]
    assert (taken, ids) == (bodies, [str(number) for number in range(len(bodies))])
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        assert len(destination.request(batch.bodies).body) <= max_bytes
        assert batch.size == sum(map(len, batch.bodies))
        assert batch.first == int(batch.ids[0])
        if following is not None:
            fuller = [*batch.bodies, following.bodies[0]]
            too_many = max_events is not None and len(fuller) > max_events
            assert too_many or len(destination.request(fuller).body) > max_bytes


@pytest.mark.parametrize("framing", ["array", "ndjson"])
@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_a_batch_goes_on_over_chunks(framing, count):
    """A chunk is no batch: the lock is let go in between, and the room left is carried on."""
    destination = destination_of(framing)
    bodies = sized([10] * count)
    exact = len(destination.request(bodies).body)
    batcher = batcher_of(destination, max_bytes=exact)
    queue = queue_of([*bodies, b"next"])
    assert take(batcher, queue).bodies == bodies
    assert take(batcher, queue).bodies == [b"next"]


@pytest.mark.parametrize("framing", ["array", "ndjson"])
def test_the_bound_is_tested_before_adding(framing):
    """A body of exactly the limit goes; at one byte less its last event opens the next batch."""
    destination = destination_of(framing)
    bodies = sized([20, 20, 20])
    exact = len(destination.request(bodies).body)
    sizes = []
    for max_bytes in (exact, exact - 1):
        queue = queue_of(bodies)
        batcher = batcher_of(destination, max_bytes=max_bytes)
        sizes.append((len(take(batcher, queue)), len(queue)))
    assert sizes == [(3, 0), (2, 1)]


def test_a_batch_of_one_needs_no_room_for_framing():
    """An event of exactly `max_bytes` goes alone, as the plain object it is."""
    destination = destination_of("array")
    batcher = batcher_of(destination, max_bytes=30)
    queue = queue_of(sized([30, 1]))
    assert [take(batcher, queue).bodies, take(batcher, queue).bodies] == [
        [sized([30])[0]],
        [b"1"],
    ]


def test_an_event_above_the_limit_goes_alone_and_not_for_ever():
    """Should one be queued all the same, it is a batch of its own and holds nobody up."""
    batcher = batcher_of(destination_of("array"), max_bytes=10)
    queue = queue_of(sized([5, 50, 5]))
    assert [len(take(batcher, queue)) for _ in range(3)] == [1, 1, 1]


def test_an_empty_queue_gives_no_event():
    """What is taken from an empty queue is empty, so that the lane can tell."""
    queue = queue_of([])
    assert len(take(batcher_of(destination_of("array")), queue)) == 0


def test_from_now_on_one_by_one():
    """An intake that refuses batches gets one event a request, whatever would fit."""
    batcher = batcher_of(destination_of("array"))
    queue = queue_of(sized([5, 5, 5]))
    batcher.one_by_one()
    assert [take(batcher, queue).ids for _ in range(3)] == [["0"], ["1"], ["2"]]
    assert batcher.full_at() == (1_000, 1)


def test_a_batch_that_is_being_filled_when_that_becomes_known_is_complete():
    """It goes as it is, and halving it shows the rest; nothing more comes into it."""
    batcher = batcher_of(destination_of("array"), max_bytes=10**6)
    queue = queue_of(sized([5] * 3 * CHUNK))
    batch = Batch([], [], 0)
    room = batcher.fill(queue, batch, 10**6)
    assert (room > 0, len(batch)) == (True, CHUNK)
    batcher.one_by_one()
    assert batcher.fill(queue, batch, room) == -1
    assert (len(batch), len(queue)) == (CHUNK, 2 * CHUNK)


# --- when a batch is due --------------------------------------------------------------------------


def test_nothing_queued_is_never_due():
    """Without an event there is no time at which a batch should go, however urgent it is."""
    batcher = batcher_of(destination_of("array"), linger=0.0)
    assert [batcher.due_in(queue_of([]), 5.0, urgent=urgent) for urgent in (False, True)] == [
        math.inf,
        math.inf,
    ]


def test_a_batch_lingers_from_the_first_look_at_its_oldest_event():
    """The wait shrinks with the clock, ends at 0, and further events do not lengthen it."""
    batcher = batcher_of(destination_of("array"), linger=2.0)
    queue = queue_of([b"a"])
    waits = [batcher.due_in(queue, 10.0), batcher.due_in(queue, 10.5)]
    queue.push(b"b", "later")
    waits += [batcher.due_in(queue, 11.0), batcher.due_in(queue, 12.0), batcher.due_in(queue, 99.0)]
    assert waits == [2.0, 1.5, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "urgent"),
    [
        pytest.param({}, True, id="urgent"),
        pytest.param({"linger": 0.0}, False, id="no linger"),
        pytest.param({"max_events": 3}, False, id="full by count"),
        pytest.param({"max_bytes": 15}, False, id="full by bytes"),
    ],
)
def test_due_at_once(options, urgent):
    """Somebody who waits, a linger of 0 or a full batch sends what is there now."""
    batcher = batcher_of(destination_of("array"), **options)
    assert batcher.due_in(queue_of(sized([5, 5, 5])), 0.0, urgent=urgent) == 0.0


def test_what_is_left_begins_to_wait_when_a_batch_is_taken():
    """Events that did not fit linger from then, not from when the batch before them was opened."""
    batcher = batcher_of(destination_of("array"), max_events=2)
    queue = queue_of(sized([5, 5, 5]))
    assert batcher.due_in(queue, 0.0) == 0.0
    take(batcher, queue)
    batcher.took(queue, 0.5)
    assert batcher.due_in(queue, 0.6) == pytest.approx(0.9)


def test_after_everything_was_taken_the_next_event_lingers_in_full():
    """A batch that left nothing opens none: the next event waits for company like any other."""
    batcher = batcher_of(destination_of("array"), linger=1.0)
    queue = queue_of([b"a"])
    batcher.due_in(queue, 0.0, urgent=True)
    take(batcher, queue)
    batcher.took(queue, 0.0)
    queue.push(b"b", "a minute later")
    assert batcher.due_in(queue, 60.0) == 1.0


# --- a batch --------------------------------------------------------------------------------------


@QUICK
@given(count=st.integers(2, 50))
def test_halves_are_the_whole(count):
    """Two halves, none empty, differ by one event at most and are the batch in its order."""
    bodies = sized([9] * count)
    batch = Batch(bodies, [str(number) for number in range(count)], 7)
    left, right = batch.halves()
    assert (left.bodies + right.bodies, left.ids + right.ids) == (batch.bodies, batch.ids)
    assert (left.size + right.size, abs(len(left) - len(right)) <= 1) == (batch.size, True)
    assert {(part.parent, part.first) for part in (left, right)} == {(batch, 7)}


def test_a_batch_is_let_go_of_in_slices():
    """From its end, until nothing is left: to free all of a large one at once takes too long."""
    batch = Batch(sized([9] * 5), list("abcde"), 7)
    left = [(batch.let_go(2), batch.ids[:]) for _ in range(3)]
    assert left == [(True, ["a", "b", "c"]), (True, ["a"]), (False, [])]
    assert batch.bodies == []


def test_singles_are_the_whole():
    """A batch for each event, in order, each knowing where it came from."""
    batch = Batch(sized([3, 4, 5]), ["a", "b", "c"], 7)
    singles = batch.singles()
    assert [(one.bodies, one.ids, one.first, one.size) for one in singles] == [
        ([batch.bodies[0]], ["a"], 7, 3),
        ([batch.bodies[1]], ["b"], 7, 4),
        ([batch.bodies[2]], ["c"], 7, 5),
    ]
    assert all(one.parent is batch for one in singles)


def test_without_framing_sizes_just_add_up():
    """A framing of nothing costs nothing."""
    batcher = Batcher(max_bytes=10, max_events=None, linger=0.0, framing=Framing())
    assert len(take(batcher, queue_of(sized([5, 5, 5])))) == 2
