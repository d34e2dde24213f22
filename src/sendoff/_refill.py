"""
A lane's side of the spool: brings back what is on disk alone, takes over what dead processes left,
and leaves there what the end finds.

Always holds: one task at a time reads for a lane, in a worker thread; cancelling it loses nothing,
because what was not yet queued is still on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import anyio

from sendoff._batcher import CHUNK
from sendoff._threads import in_thread
from sendoff.spool.files import WINDOW, read_window

if TYPE_CHECKING:
    from sendoff._batcher import Batch
    from sendoff._lane import Spawn
    from sendoff._spooled import SpooledIntake
    from sendoff.spool.runs import Stretch
    from sendoff.spool.store import Found, Store

__all__ = ["Refill", "tend"]

ADOPT_SECONDS = 60.0
"""Seconds between two looks for what dead processes have left."""

RETRY_SECONDS = 1.0
"""Seconds after which a file that could not be read is tried again."""


class Refill:
    """
    Reads for one lane.

    Args:
        intake: The caller's half.
        rung: Wakes a worker; called in the loop.
    """

    def __init__(self, intake: SpooledIntake, rung: Callable[[], None]) -> None:
        self._intake = intake
        self._rung = rung
        # All mutable state, changed in the loop.
        self.held_up = False  # there is more on disk, and no room for it
        self._turn: object = None  # the task that reads; None while there is none
        self._spawn: Spawn
        self._settled: Callable[[], None]

    @property
    def kept(self) -> int:
        """
        Events that are on disk alone.
        """
        return self._intake.queue.disk_events

    @property
    def root(self) -> str:
        """
        Where the spool is.
        """
        return self._intake.spool.root

    # --- in the loop ------------------------------------------------------------------------------

    def start(self, spawn: Spawn, settled: Callable[[], None]) -> None:
        """
        Makes ready to read in a loop.

        Args:
            spawn: Starts a task.
            settled: Tells whoever waits for events, some of which may have been lost.
        """
        self._spawn = spawn
        self._settled = settled
        self._turn = None
        self.held_up = False

    def poke(self) -> None:
        """
        Begins to read if there is something to read, and enough room for it.
        """
        queue = self._intake.queue
        if self._turn is not None or not queue.disk_events + queue.waiting:
            return
        # At half, so that not every delivered event costs a reading.
        if not queue.is_half_empty():
            self.held_up = True
            return
        self._turn = turn = object()
        self._spawn(partial(self._read, turn), f"sendoff {self._intake.name} refill")

    async def _read(self, turn: object) -> None:
        intake = self._intake
        try:
            while (found := intake.next_stretch()) is not None:
                self.held_up = False
                if not await self._read_window(*found):
                    break
        finally:
            if self._turn is turn:
                self._turn = None
                self.held_up = self.kept > 0
        self._rung()

    async def _read_window(
        self, stretch: Stretch, path: str, at: int, window: int, last: int
    ) -> bool:
        """
        Reads and queues one window; whether there may be room for another.
        """
        intake = self._intake
        try:
            parsed, final = await in_thread(read_window, path, at, min(window, WINDOW))
        except FileNotFoundError:  # deleted by somebody
            intake.miss(stretch, last)
            self._settled()
            return True
        except Exception as exc:  # noqa: BLE001 whatever it is, what needs no reading is still sent
            intake.disk_fault(exc)
            await anyio.sleep(RETRY_SECONDS)
            return True
        for start in range(0, len(parsed.records), CHUNK):
            # In turns, so that no call waits long for the lock.
            if not intake.take_back(stretch, parsed.records[start : start + CHUNK], at):
                return False
        if final:
            # Not beyond the last whole record: what seems torn behind it may be a write under way.
            intake.miss(stretch, last)
            self._settled()
        else:
            intake.read_on(stretch, parsed.end)
        self._rung()
        return True

    # --- at the end -------------------------------------------------------------------------------

    def park(self, returned: Iterable[Batch]) -> list[Batch]:
        """
        Leaves on disk what is there and has no fate; the batches that are in memory alone.
        """
        return self._intake.park(list(returned))

    def recover(self, found: list[Found], bad: int) -> bool:
        """
        Takes over what a dead process left, if it is not too late. Any thread.
        """
        return self._intake.recover(found, bad)

    def fault(self, exc: Exception) -> None:
        """
        Counts and says something that the disk refused.
        """
        self._intake.disk_fault(exc)


async def tend(store: Store, refills: Mapping[str, Refill]) -> None:
    """
    Looks after the spool while a loop runs: what dead processes left, and what is to be brought to
    disk now and then.

    Cancelling it loses nothing.

    Args:
        store: The dispatcher's.
        refills: Its lanes', by their names.
    """
    store.stopping = False

    def take(name: str, found: list[Found], bad: int) -> bool:
        return refills[name].recover(found, bad)

    async def adopt() -> None:
        while True:
            try:
                await in_thread(store.adopt, take)
            except Exception as exc:  # noqa: BLE001 as above
                for refill in refills.values():
                    refill.fault(exc)
            for refill in refills.values():
                refill.poke()
            await anyio.sleep(ADOPT_SECONDS)

    async def sync(seconds: float) -> None:
        while True:
            await anyio.sleep(seconds)
            for spool in store.lanes.values():
                await in_thread(spool.sync)

    often = store.options.fsync
    syncing = None if isinstance(often, str) else sync(often)
    try:
        async with anyio.create_task_group() as tasks:
            if syncing is not None:
                tasks.start_soon(lambda: syncing)
            await adopt()
    finally:
        store.stopping = True
        if syncing is not None:
            syncing.close()  # a loop closed under us may never have begun it
