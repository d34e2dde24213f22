"""
Which dispatchers there are in this process, for who has to do with all of them.

Always holds: nothing here keeps a dispatcher alive; a listener hears of each one that is made while
it listens, in the thread that makes it; a forked child's lock is open.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sendoff.dispatcher import Dispatcher

__all__ = ["enrol", "follow", "unfollow"]

Listener = Callable[["Dispatcher"], None]


class _Roll:
    def __init__(self) -> None:
        # All mutable state, changed under the lock; re-entrant, because a listener may make a
        # dispatcher, and so may a finalizer.
        self.lock = threading.RLock()
        self.dispatchers: weakref.WeakValueDictionary[int, Dispatcher] = (
            weakref.WeakValueDictionary()
        )
        self.listeners: list[Listener] = []

    def open_lock(self) -> None:
        self.lock = threading.RLock()


_roll = _Roll()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_roll.open_lock)


def enrol(dispatcher: Dispatcher) -> None:
    """
    Notes a new dispatcher, and tells of it.
    """
    with _roll.lock:
        _roll.dispatchers[id(dispatcher)] = dispatcher
        for listener in tuple(_roll.listeners):
            listener(dispatcher)


def follow(listener: Listener) -> None:
    """
    Tells a listener of all dispatchers there are, and of each one to come.
    """
    with _roll.lock:
        _roll.listeners.append(listener)
        # A list that is made in one operation: a finalizer that makes a dispatcher meanwhile would
        # end an iteration with an error. That one's listener knows of it already.
        for reference in _roll.dispatchers.valuerefs():
            dispatcher = reference()
            if dispatcher is not None:
                listener(dispatcher)


def unfollow(listener: Listener) -> None:
    """
    Tells a listener no more.
    """
    with _roll.lock:
        _roll.listeners.remove(listener)
