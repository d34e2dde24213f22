"""
What a forked child must forget: its parent's queue, locks, connections and tasks.

Always holds: what was queued before a fork is the parent's alone, so it is sent once; a lock that
another thread of the parent held does not exist in the child. What the child forgets is kept alive
there, because finalizers of the parent's connections would reach into the event queue of the
parent's selector, which both processes share.

A fork waits for imports that run in a thread of ours: in the child that thread does not exist, and
the lock of a half-imported module would never be opened.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Protocol

__all__ = ["forget_in_children", "import_in_peace", "no_forks"]

QUIET_SECONDS = 0.02
"""
Seconds that a fork waits if an import has just ended: what our threads do next may be outside of
the interpreter's lock, and a lock of OpenSSL's that is held during a fork is never opened in the
child, which then hangs at its end.
"""

IMPORT_SECONDS = 10.0
"""Seconds that a fork waits for an import at most; loading aiohttp takes 0.4."""


class _Forgetful(Protocol):
    def _forget_parent(self) -> object:
        """
        Begins anew, and returns what must stay alive.
        """


_watched: weakref.WeakValueDictionary[int, _Forgetful] = weakref.WeakValueDictionary()
_kept: list[object] = []


class _Importing:
    """
    Held by a thread that imports, and by a fork.
    """

    lock = threading.RLock()  # where no thread can be started, one import is done within another
    held_by_fork = False
    over = -math.inf  # when the last import was, in seconds of the monotonic clock


def forget_in_children(thing: _Forgetful) -> None:
    """
    Has something begin anew in every forked child, for as long as it lives.
    """
    _watched[id(thing)] = thing


@contextmanager
def no_forks() -> Iterator[None]:
    """
    Has forks wait, while a thread of ours imports.
    """
    with _Importing.lock:
        try:
            yield
        finally:
            _Importing.over = time.monotonic()


def import_in_peace(name: str) -> ModuleType:
    """
    Imports a module while no fork happens.
    """
    with no_forks():
        return import_module(name)


def _before() -> None:
    _Importing.held_by_fork = _Importing.lock.acquire(timeout=IMPORT_SECONDS)
    if time.monotonic() - _Importing.over < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS)


def _in_parent() -> None:
    if _Importing.held_by_fork:
        _Importing.lock.release()


def _in_child() -> None:
    _Importing.lock = threading.RLock()
    # Not by going through them: a finalizer may make another one meanwhile.
    things = [reference() for reference in _watched.valuerefs()]
    _kept.extend(thing._forget_parent() for thing in things if thing is not None)


if hasattr(os, "register_at_fork"):  # else nothing forks here
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
