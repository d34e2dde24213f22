"""
Work that would hold the loop up, in a worker thread; or in place, once no thread can be started.

An interpreter that is shutting down starts no threads (Python 3.12 from the beginning of its exit
functions on), so the flush at exit does everything in place: nobody else is on its loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio.to_thread

__all__ = ["forbid_threads", "in_thread", "start_daemon"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_forbidden = threading.Event()


def forbid_threads() -> None:
    """
    From now on everything runs in place.
    """
    _forbidden.set()


async def in_thread(call: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """
    Runs something in a worker thread. Cancelling it abandons the thread.
    """
    if _forbidden.is_set():
        return call(*args)
    return await anyio.to_thread.run_sync(call, *args, abandon_on_cancel=True)


def start_daemon(name: str, work: Callable[[], object]) -> bool:
    """
    Starts a thread that keeps no process alive.

    Returns:
        Whether it could be started: not in an interpreter that shuts down, nor beyond the system's
        limit.
    """
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True
