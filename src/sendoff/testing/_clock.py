"""
A loop whose clock is virtual: it jumps to the next timer when nothing is ready, so no test sleeps.

Always holds: callbacks run in the order and at the times of a real loop without any load. Sockets
and worker threads do not fit in here: the clock knows nothing of them, and jumps while they work.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

__all__ = ["VirtualLoop", "run_virtual"]

T = TypeVar("T")

STUCK_SECONDS = 5.0
"""Real seconds after which a loop with no timer and no event is stuck."""

MOST_TURNS = 30_000
"""Turns of a loop in one instant, beyond which it turns for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """
    Moves the clock where another selector would sleep.
    """

    def __init__(self, now: float, patience: float) -> None:
        super().__init__()
        self.now = now
        self.patience = patience
        self.turns = 0  # in a row, at one instant

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise RuntimeError("the loop turns and turns, and no time passes")
        if events or timeout == 0:
            return events
        if timeout is None:
            events = super().select(self.patience)
            if not events:
                raise RuntimeError("the loop waits for something that never comes")
            return events
        self.now += timeout
        self.turns = 0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop in which an hour of sleeping takes no time.

    `loop.time()`, and with it `asyncio.sleep`, timeouts and everything that a dispatcher waits for,
    goes by the virtual clock; `time.time()` and `time.monotonic()` do not. It cannot wait for what
    comes from outside: real sockets, worker threads (`on_drop`, `on_outcome`, dead letters, a spool
    and bodies of a megabyte use them), other processes.

    Args:
        now: Seconds at which its clock begins.
        patience: Real seconds to wait for a call from another thread, where there is no timer.

    Raises:
        RuntimeError: From the loop's run, where it waits for something that never comes, or turns
            30,000 times while no time passes.
    """

    def __init__(self, now: float = 0.0, patience: float = STUCK_SECONDS) -> None:
        self._jumping = _JumpingSelector(now, patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        """
        Seconds of the virtual clock.
        """
        return self._jumping.now

    def catch_up(self, now: float) -> None:
        """
        Moves the clock on, if it is behind: where several loops share one time.

        Args:
            now: Seconds of the other clock.
        """
        self._jumping.now = max(self._jumping.now, now)


def run_virtual(
    main: Coroutine[Any, Any, T], *, now: float = 0.0, patience: float = STUCK_SECONDS
) -> T:
    """
    `asyncio.run` on a virtual clock.

    Args:
        main: What to run.
        now: Seconds at which the clock begins.
        patience: Real seconds to wait for a call from another thread, where there is no timer.

    Returns:
        What `main` returns.

    Raises:
        RuntimeError: It waits for something that never comes, or turns on the spot.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, now, patience)) as runner:
        return runner.run(main)
