"""
From the queue into batches, a few chunks in each turn of the loop.

Always holds: one batch is filled at a time, so batches hold events that came one behind the other;
the lane's lock, for which callers wait, is held for one chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from sendoff._batcher import CHUNK, Batch, Batcher
from sendoff._queue import EventQueue

__all__ = ["Taking"]

CHUNKS = 8
"""
Chunks that are taken in one turn of the loop, some 0.4 ms: 15,000 events at once would hold it up
for 3 ms.
"""


class Taking:
    """
    Fills batches.

    Args:
        queue: Where the events are.
        lock: What is held while it changes.
        batcher: Knows what fits.
    """

    def __init__(
        self, queue: EventQueue, lock: AbstractContextManager[object], batcher: Batcher
    ) -> None:
        self._queue = queue
        self._lock = lock
        self._batcher = batcher
        # All mutable state, changed in the loop.
        self.unfinished: Batch | None = None  # it takes several turns
        self._room = 0  # bytes that it may still grow by

    def begin(self) -> Batch:
        """
        A new batch, without events so far.
        """
        self.unfinished = batch = Batch([], [], self._queue.head)
        self._room = self._batcher.max_bytes
        return batch

    def go_on(self, batch: Batch, now: float) -> bool:
        """
        Fills the batch that was begun, for one turn of the loop.

        Returns:
            Whether it is complete.
        """
        for _ in range(CHUNKS):
            with self._lock:
                self._queue.weigh()
                self._room = self._batcher.fill(self._queue, batch, self._room)
                self._queue.lighten()
            if self._room < 0:
                self.unfinished = None
                self._batcher.took(self._queue, now)
                return True
        return False

    def reset(self) -> None:
        """
        Whoever was at it is no more; the batch is where all batches in hand are.
        """
        self.unfinished = None

    def everything(self) -> Iterator[Batch]:
        """
        What is queued, in batches that need not fit a request.
        """
        while self._queue:
            batch = Batch([], [], self._queue.head)
            with self._lock:
                self._queue.weigh()
                while self._queue and len(batch) < CHUNK:
                    batch.add(*self._queue.pop())
            yield batch
