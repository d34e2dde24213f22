"""
Work that would hold the loop up, in a worker thread; or in place, where no thread can be started.

An interpreter that is shutting down may start no thread (Python 3.12 does not, from the end of the
main module on), and what is left to do then is done on a loop that nobody else uses.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio.to_thread

__all__ = ["in_thread", "start_daemon", "under_gevent"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_thread(call: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """
    Runs something in a worker thread. Cancelling it abandons the thread.
    """
    begun = False

    def work() -> T:
        nonlocal begun
        begun = True
        return call(*args)

    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except RuntimeError:
        if begun:
            raise
    return call(*args)  # the thread could not be started


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


def under_gevent() -> bool:
    """
    Whether gevent has replaced what threads and event loops stand on, so that asyncio cannot run
    beside the program.
    """
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and any(
        monkey.is_module_patched(name) for name in ("threading", "select", "socket", "queue")
    )
