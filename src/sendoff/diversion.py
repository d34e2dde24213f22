"""
Where events go in place of the vendors while a test runs: what `sendoff.testing` stands on.

Always holds: while a dispatcher is diverted nothing of it leaves the process; its own queue, ledger
and state lie below, untouched, and are there again at the end.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from sendoff._diverted import Diverted
from sendoff._notes import Given, Notes, Refusal, json_form
from sendoff._roll import follow, unfollow

if TYPE_CHECKING:
    from sendoff._assembly import Assembly
    from sendoff.dispatcher import Dispatcher

__all__ = ["Diversion", "Given", "Notes", "Refusal", "json_form"]


class Diversion:
    """
    Leads the events of dispatchers into `Notes`, from its beginning as a context manager to its
    end.

    Each begins open and empty, even one that was closed. Where several diversions of a dispatcher
    overlap, the last one that began and has not ended has its events.

    Args:
        dispatchers: Whose events; without any, those of every dispatcher in the process, also of
            those that are made meanwhile.
        notes: Where they are noted.
    """

    def __init__(self, *dispatchers: Dispatcher, notes: Notes) -> None:
        self._wanted = dispatchers
        self._notes = notes
        # All mutable state.
        self._diverted: list[Dispatcher] = []

    def __enter__(self) -> Self:
        """
        Begins.
        """
        for dispatcher in self._wanted:
            self._divert(dispatcher)
        if not self._wanted:
            follow(self._divert)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Ends; what calls give from now on goes where it went before.
        """
        if not self._wanted:
            unfollow(self._divert)
        while self._diverted:
            dispatcher = self._diverted.pop()
            dispatcher._use(cast("Assembly", _without(self, dispatcher._assembly)))

    def _divert(self, dispatcher: Dispatcher) -> None:
        parts = Diverted(dispatcher._settings, dispatcher._assembly, self._notes, self)
        # The facade needs of an assembly what this has, and no more.
        dispatcher._use(cast("Assembly", parts))
        self._diverted.append(dispatcher)


def _without(owner: Diversion, parts: Assembly | Diverted) -> Assembly | Diverted:
    """
    The parts of a dispatcher once a diversion has ended, on whatever lies on it by now.
    """
    if not isinstance(parts, Diverted):
        return parts
    if parts.owner is owner:
        return parts.below
    parts.below = _without(owner, parts.below)
    return parts
