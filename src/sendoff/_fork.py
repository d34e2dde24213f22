"""
What a forked child must forget: its parent's queue, locks, connections and tasks.

Always holds: what was queued before a fork is the parent's alone, so it is sent once; a lock that
another thread of the parent held does not exist in the child. What the child forgets is kept alive
there, because finalizers of the parent's connections would reach into the event queue of the
parent's selector, which both processes share.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["forget_in_children"]


class _Forgetful(Protocol):
    def forget_parent(self) -> object:
        """
        Begins anew, and returns what must stay alive.
        """


_watched: weakref.WeakSet[_Forgetful] = weakref.WeakSet()
_kept: list[object] = []


def forget_in_children(thing: _Forgetful) -> None:
    """
    Has something begin anew in every forked child, for as long as it lives.
    """
    _watched.add(thing)


def _in_child() -> None:
    _kept.extend(thing.forget_parent() for thing in list(_watched))


os.register_at_fork(after_in_child=_in_child)
