"""
The bell of a lane: from whatever thread, has its loop look at what there is to do.

Always holds: ringing never blocks and never raises, whether a loop is there, was closed, or never
was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Bell"]


class Bell:
    """
    Rings in one loop after the other.
    """

    def __init__(self) -> None:
        # All mutable state.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung: Callable[[], None] = _nobody
        self._settled: Callable[[], None] = _nobody

    def hang(
        self,
        loop: asyncio.AbstractEventLoop,
        rung: Callable[[], None],
        settled: Callable[[], None],
    ) -> None:
        """
        From now on it rings in a loop.

        Args:
            loop: The loop.
            rung: Called there when events have come.
            settled: Called there when some got their fate in another thread.
        """
        self._rung = rung
        self._settled = settled
        self._loop = loop

    def take_down(self) -> None:
        """
        Nobody is there to ring for.
        """
        self._loop = None

    def ring(self) -> None:
        """
        Says that events have come.
        """
        self.call(self._rung)

    def settled(self) -> None:
        """
        Says that events have their fate.
        """
        self.call(self._settled)

    def call(self, callback: Callable[[], None]) -> None:
        """
        Has the loop call something soon, if there is one.
        """
        # `call_soon_threadsafe` also from the loop's own thread: a signal handler there interrupts
        # a sleeping selector, which `call_soon` would not wake.
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(callback)
            except RuntimeError:  # closed in the meantime: the next start finds the queue as it is
                return


def _nobody() -> None:
    """
    Nobody listens yet.
    """
