"""
Batches that are filled over several turns: one behind the other, whole, and in order.
"""

from __future__ import annotations

import threading

from sendoff import Datadog
from sendoff._batcher import CHUNK, Batcher
from sendoff._queue import EventQueue
from sendoff._taking import CHUNKS, Taking

TURN = CHUNK * CHUNKS


class Lock:
    """
    A lock that notes how far the queue shrank while it was held.
    """

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._lock = threading.RLock()
        self.taken: list[int] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._before = len(self._queue)

    def __exit__(self, *_: object) -> None:
        self.taken.append(self._before - len(self._queue))
        self._lock.release()


def taking(events: int, *, max_events: int | None = None) -> tuple[EventQueue, Lock, Taking]:
    queue = EventQueue(max_events=10**6, max_bytes=10**9, overflow="drop_newest")
    for number in range(events):
        queue.push(b"%d" % number, str(number))
    batcher = Batcher(
        max_bytes=10**6,
        max_events=max_events,
        linger=1.0,
        framing=Datadog(api_key="key", application_id="app").framing,
    )
    lock = Lock(queue)
    return queue, lock, Taking(queue, lock, batcher)


def test_a_large_batch_takes_several_turns() -> None:
    """Each takes some thousand events, the lock is held for a chunk, and the order is kept."""
    queue, lock, steps = taking(2 * TURN + 5)
    batch = steps.begin()
    sizes = []
    while steps.unfinished is batch:
        complete = steps.go_on(batch, 0.0)
        sizes.append(len(batch))
        assert complete is (steps.unfinished is None)
    assert sizes == [TURN, 2 * TURN, 2 * TURN + 5]
    assert batch.ids == [str(number) for number in range(2 * TURN + 5)]
    assert batch.size == sum(map(len, batch.bodies))
    assert max(lock.taken) == CHUNK
    assert (len(queue), queue.queued_bytes, queue.held_events) == (0, 0, 2 * TURN + 5)


def test_a_small_batch_is_complete_at_once() -> None:
    """Whoever takes less than a turn's worth need not come again."""
    _, _, steps = taking(10)
    batch = steps.begin()
    assert steps.go_on(batch, 0.0)
    assert (len(batch), steps.unfinished) == (10, None)


def test_a_batch_that_is_full_by_count_ends_there() -> None:
    """`max_batch_events` holds over turns as well."""
    queue, _, steps = taking(3 * TURN, max_events=TURN + 1)
    batch = steps.begin()
    assert [steps.go_on(batch, 0.0), steps.go_on(batch, 0.0)] == [False, True]
    assert (len(batch), len(queue)) == (TURN + 1, 2 * TURN - 1)


def test_a_batch_whose_worker_is_gone_stands_in_nobodys_way() -> None:
    """The next start fills another one."""
    _, _, steps = taking(2 * TURN)
    first = steps.begin()
    steps.go_on(first, 0.0)
    steps.reset()
    second = steps.begin()
    while not steps.go_on(second, 0.0):
        pass
    assert (len(first), len(second)) == (TURN, TURN)


def test_what_is_given_up_comes_in_small_batches() -> None:
    """All of the queue, in order, in batches that free the queue as they are taken."""
    queue, _, steps = taking(2 * CHUNK + 1)
    batches = list(steps.everything())
    assert [len(batch) for batch in batches] == [CHUNK, CHUNK, 1]
    assert [batch.first for batch in batches] == [0, CHUNK, 2 * CHUNK]
    assert not queue
