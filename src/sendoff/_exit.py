"""
The end of the process: one last flush of whatever still has something pending, in bounded time.

It runs as an exit function, at the end of a child of `multiprocessing`, and at a SIGTERM that
nobody else handles. Always holds: a handler of the application's is never replaced; the process
ends with the status it would have had; nothing here takes longer than the longest
`shutdown_timeout` that is left, and `GRACE`.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Protocol

from sendoff._fork import forget_in_children
from sendoff._threads import start_daemon

__all__ = [
    "GRACE",
    "Leaver",
    "Left",
    "after_last_flush",
    "arm",
    "keep_until_exit",
    "listed",
    "release",
]

GRACE = 0.45
"""Seconds beyond its timeout that a close waits for another thread's loop to answer."""


Left = Mapping[tuple[str, str], int]
"""How many events are left, by destination and by where they are."""


class Leaver(Protocol):
    """
    What has something to bring out before the process ends.
    """

    def stop_taking(self) -> None:
        """
        Takes no more events: nobody would send them.
        """

    def seconds_left(self) -> float | None:
        """
        Seconds it may take at most; None if there is nothing to do.
        """

    async def leave(self) -> None:
        """
        Brings out what it can within these seconds.
        """

    def left(self) -> Left:
        """
        What is left.
        """


class _Exit:
    """
    One for the process.
    """

    def __init__(self) -> None:
        # All mutable state.
        self.kept: dict[int, Leaver] = {}  # by id: alive until it has nothing pending
        self.arranged = False
        self.afterwards: list[Callable[[], object]] = []  # what others do then

    def _forget_parent(self) -> object:
        """
        A child leaves nothing of its parent's, and dies of a SIGTERM as it would have.
        """
        kept, self.kept = self.kept, {}
        # `atexit` is inherited, but a child of `multiprocessing` does not run it.
        self.arranged = False
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            with suppress(ValueError):  # forked by another thread than the main one
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return kept


_exit = _Exit()
forget_in_children(_exit)


def keep_until_exit(leaver: Leaver, *, handle_sigterm: bool) -> None:
    """
    Keeps something alive, and has it leave when the process ends.

    Args:
        leaver: What has, or may have, something pending.
        handle_sigterm: Whether to `arm` here, too.
    """
    _exit.kept[id(leaver)] = leaver
    _arrange_once()
    if handle_sigterm:
        arm()


def after_last_flush(callback: Callable[[], object]) -> None:
    """
    Has something done when the process ends, after the last flush of all dispatchers; in a forked
    child, too. What it raises is ignored.
    """
    _exit.afterwards.append(callback)
    _arrange_once()


def arm() -> None:
    """
    Has a SIGTERM that nobody handles flush before it kills. Python lets only the main thread
    arrange that, so this does nothing in others.
    """
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        with suppress(ValueError):  # not the main interpreter
            signal.signal(signal.SIGTERM, _on_sigterm)


def release(leaver: Leaver) -> None:
    """
    Lets something go that has nothing pending.
    """
    _exit.kept.pop(id(leaver), None)


def _arrange_once() -> None:
    if not _exit.arranged:
        _exit.arranged = True
        _arrange()


def _arrange() -> None:
    # Loaded only where it is in use: then this may be one of its children, which end without
    # running exit functions.
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _leave, exitpriority=0)


def _leave() -> None:
    """
    Has everything leave, says what is left, and does what others want done then.
    """
    try:
        _flush()
    finally:
        for callback in tuple(_exit.afterwards):
            with suppress(Exception):
                callback()


def _flush() -> None:
    kept = list(_exit.kept.values())
    for leaver in kept:
        leaver.stop_taking()  # from other threads, between the last look and the end
    asked = [(leaver, leaver.seconds_left()) for leaver in kept]
    leaving = [(leaver, seconds) for leaver, seconds in asked if seconds is not None]
    if not leaving:
        return
    leavers = [leaver for leaver, _ in leaving]
    seconds = max(seconds for _, seconds in leaving)
    done = threading.Event()

    def leave() -> None:
        try:
            _run(leavers)
        finally:
            done.set()

    with suppress(KeyboardInterrupt):  # impatient: what is left is said all the same
        if start_daemon("sendoff exit", leave):
            # In a thread, because then a resolver that hangs cannot hold up the end.
            done.wait(seconds + GRACE)
        else:
            _run(leavers)
    _say(leavers)
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        # The interpreter remembers how the main module ended, and dies of SIGINT in the end; but
        # every `exec` of text, such as in the making of a dataclass in a module that was imported
        # just now, makes it forget. One that ends in the same way reminds it.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 a constant


def _run(leavers: list[Leaver]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(leaver.leave() for leaver in leavers), return_exceptions=True)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(all_of_them())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _say(leavers: list[Leaver]) -> None:
    left: Counter[tuple[str, str]] = Counter()
    for leaver in leavers:
        left.update(leaver.left())
    if left and sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed
            # Not by the logger: whoever reads logs may have gone home.
            sys.stderr.write(f"sendoff: events are left at the end: {listed(left)}\n")
            sys.stderr.flush()


def listed(left: Left) -> str:
    """
    What is left, for a line: "datadog 5 (lost), freshpaint 7 (lost)".
    """
    return ", ".join(f"{name} {events:,} ({where})" for (name, where), events in left.items())


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """
    Flushes in a thread while the program goes on, then dies of the signal; a second one kills at
    once.
    """
    if signal.getsignal(number) is not _on_sigterm:
        return  # called on by a handler of the application's, which decides what happens
    signal.signal(number, signal.SIG_DFL)

    def leave_and_die() -> None:
        try:
            _leave()
        finally:
            os.kill(os.getpid(), number)

    # By `_thread`, which takes no lock that the interrupted code may hold.
    _thread.start_new_thread(leave_and_die, ())


atexit.register(_leave)
