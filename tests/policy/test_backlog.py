"""The queue that goes on on disk, against a list that does the same by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._backlog import SpooledQueue
from sendoff._batcher import Batch, Batcher
from sendoff.events import Framing
from sendoff.spool.record import Record
from sendoff.spool.runs import Runs, Stretch

QUICK = settings(derandomize=True, deadline=None, max_examples=100)
KEY = 7
SIZE = 10


def queue_of(max_events=4, max_bytes=1_000, overflow="drop_newest"):
    return SpooledQueue(max_events=max_events, max_bytes=max_bytes, overflow=overflow)


class Harness:
    """
    A queue, its disk, and what should be true of both.

    An event's body is its number, and so is its number in the segment, if it is written.
    """

    def __init__(self, max_events):
        self.queue = queue_of(max_events)
        self.batcher = Batcher(max_bytes=3 * SIZE, max_events=3, linger=0, framing=Framing())
        self.accepted = 0
        self.untaken = []  # numbers, in order
        self.on_disk = set()
        self.taken = []
        self.in_hand = []
        self.lost = set()
        self.refused = 0
        self.misread = False

    def give(self, written):
        number = self.accepted
        body = b"%0*d" % (SIZE, number)
        place = KEY << 32 | number if written else -1
        if self.queue.push_placed(body, str(number), place, 0) is None:
            assert not written
            assert self.queue.held_events == self.queue.max_events
            return
        self.accepted += 1
        self.refused += not written
        self.untaken.append(number)
        if written:
            self.on_disk.add(number)

    def take(self):
        batch = Batch([], [], self.queue.head)
        self.batcher.fill(self.queue, batch, 3 * SIZE)
        if len(batch):
            numbers = list(map(int, batch.ids))
            self.taken += numbers
            self.untaken = [one for one in self.untaken if one not in numbers]
            self.in_hand.append(batch)
            written = [number in self.on_disk for number in numbers]
            assert [place >= 0 for place in batch.places] == written

    def release(self):
        if self.in_hand:
            batch = self.in_hand.pop()
            self.queue.release(len(batch), batch.size)

    def read(self, readable):
        stretch = self.queue.next_stretch()
        if stretch is None:
            return
        self.misread |= not readable
        last = stretch.runs.last()
        # Everything that was ever written is in the file, in order.
        records = [
            Record(number, str(number), b"%0*d" % (SIZE, number), number + 1)
            for number in sorted(self.on_disk)
            if number + 1 > stretch.at and (readable or number % 3)
        ]
        before = len(stretch.runs)
        if self.queue.take_back(stretch, records, 0) == len(records):
            wanted = {one for pair in stretch.runs.pairs() for one in range(pair[0], pair[1] + 1)}
            assert self.queue.miss(stretch, last) == len(wanted)
            assert self.misread or not wanted
            self.lost |= wanted
            self.untaken = [one for one in self.untaken if one not in wanted]
        else:
            assert len(stretch.runs) <= before

    def check(self):
        queue = self.queue
        in_hand = sum(map(len, self.in_hand))
        assert queue.tail == self.accepted
        assert queue.pending == len(self.untaken) + in_hand
        assert queue.in_hand == in_hand
        # One more, where those that the disk refused would bar the way of those on disk.
        assert queue.held_events <= queue.max_events + (self.refused > 0)
        assert self.taken == [one for one in range(self.accepted) if one in set(self.taken)]
        if not self.misread:  # what is lost on disk is known only when the rest has been read
            assert queue.pending_bytes == queue.pending * SIZE
            for target in range(self.accepted + 1):
                true = sum(number < target for number in self.untaken)
                assert queue.before(target) == true


@QUICK
@given(
    steps=st.lists(
        st.sampled_from(["disk"] * 4 + ["memory", "take", "take", "release", "read", "misread"]),
        max_size=60,
    ),
    max_events=st.integers(1, 6),
)
def test_any_sequence_of_calls_keeps_order_and_counts(steps, max_events):
    """In memory, on disk, refused by it, lost there: one order, one count, exact flushes."""
    harness = Harness(max_events)
    for step in steps:
        match step:
            case "disk" | "memory":
                harness.give(step == "disk")
            case "read" | "misread":
                harness.read(step == "read")
            case _:
                getattr(harness, step)()
        harness.check()
    while harness.untaken or harness.in_hand:
        harness.read(readable=True)
        harness.take()
        harness.release()
        harness.check()
    assert sorted(harness.taken + list(harness.lost)) == list(range(harness.accepted))
    assert (harness.queue.pending, harness.queue.pending_bytes) == (0, 0)
    assert harness.queue.before(harness.accepted) == 0


@QUICK
@given(
    places=st.lists(st.sampled_from([1, 1, 1, 2, -1]), max_size=12),
    taken=st.integers(0, 5),
    gone=st.booleans(),
)
def test_parking_leaves_on_disk_what_is_there(places, taken, gone):
    """In order, those in workers' hands first; what is in memory alone stays queued."""
    queue = queue_of(6)
    keys = [key << 32 | number if key > 0 else -1 for number, key in enumerate(places)]
    accepted = [
        (place, number)
        for number, place in enumerate(keys)
        if queue.push_placed(b"%010d" % number, str(number), place, 0) == ()
    ]
    batch = Batch([], [], 0)
    Batcher(max_bytes=1_000, max_events=taken, linger=0, framing=Framing()).fill(
        queue, batch, 1_000
    )
    tail, pending = queue.tail, queue.pending

    def start_of(key):
        return -1 if gone and key == 2 else 30

    given_back = [(place, 10) for place in batch.places or ()]
    parked = queue.park(given_back, start_of)
    assert parked == [place > 0 and start_of(place >> 32) > 0 for place, _ in given_back]
    on_disk = [
        (place, number) for place, number in accepted if place > 0 and start_of(place >> 32) > 0
    ]
    stretches = [one for one in queue._behind if isinstance(one, Stretch)]
    found = [
        one.key << 32 | number
        for one in stretches
        for first, last in one.runs.pairs()
        for number in range(first, last + 1)
    ]
    # Those behind the memory were there before, whether their file is still found or not.
    assert [place for place in found if place in dict(on_disk)] == [place for place, _ in on_disk]
    assert queue.waiting == 0
    assert queue.pending == pending
    assert queue.tail == tail
    assert queue.held_events == len(queue) + parked.count(False)


def test_an_adopted_stretch_goes_behind_everything():
    """What a dead process left is sent after what is there, and counts at once."""
    queue = queue_of()
    queue.push_placed(b"first", "first", 1 << 32, 0)
    queue.adopt(Stretch(2, Runs([(3, 4)]), 20, 10))
    queue.push_placed(b"later", "later", 1 << 32 | 1, 0)
    assert (queue.pending, queue.pending_bytes, queue.tail) == (4, 20, 4)
    stretch = queue.next_stretch()
    assert stretch is not None
    assert queue.take_back(stretch, [Record(n, str(n), b"12345", n) for n in (2, 3, 4)], 0) == 3
    assert [one for _, one in queue] == ["first", "3", "4"]


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_what_the_disk_refused_overflows_as_ever(overflow):
    """An evicted event that is on disk is named, so that it can be acknowledged there."""
    queue = queue_of(2, overflow=overflow)
    for number in range(2):
        queue.push_placed(b"x", str(number), KEY << 32 | number, 0)
    evicted = queue.push(b"new", "new")
    if overflow == "drop_newest":
        assert (evicted, queue.given_up) == (None, [])
    else:
        assert (evicted, queue.given_up) == (((b"x", "0"),), [KEY << 32])
        assert list(queue.places) == [KEY << 32 | 1, -1]


def test_where_only_refused_events_wait_a_new_one_that_the_disk_refuses_goes():
    """They stand behind what is on disk, so none of them is the oldest; nothing raises."""
    queue = queue_of(2, overflow="drop_oldest")
    for number in range(3):
        queue.push_placed(b"x", str(number), KEY << 32 | number, 0)
    assert [queue.push(b"y", str(number)) for number in range(3)] == [
        ((b"x", "0"),),
        ((b"x", "1"),),
        None,
    ]
    assert (queue.waiting, queue.held_events, queue.disk_events, queue.pending) == (2, 2, 1, 3)
