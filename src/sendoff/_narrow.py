"""
Which events of a refused batch are at fault: halve until they stand alone.

Plain. Always holds: the parts still to do, the current and the settled ones are together the whole
batch; among n events one bad one costs at most 2·⌈log2 n⌉ + 1 requests.
"""

from __future__ import annotations

from sendoff._batcher import Batch

__all__ = ["Narrowing"]


class Narrowing:
    """
    The parts of one batch that are still to be sent, the oldest first.

    Args:
        batch: The batch.
    """

    __slots__ = ("_current", "first", "todo")

    def __init__(self, batch: Batch) -> None:
        self.first = batch.first
        # All mutable state.
        self.todo = [batch]
        self._current: Batch | None = None  # handed out by `next`, without a fate yet

    def events(self) -> int:
        """
        Events without a fate.
        """
        return sum(map(len, self.rest()))

    def rest(self) -> list[Batch]:
        """
        The parts without a fate, the oldest first.
        """
        if self._current is None and not self.todo:
            return []  # as nearly always when it is asked
        current = [] if self._current is None else [self._current]
        return [*current, *reversed(self.todo)]

    def give_up(self) -> list[Batch]:
        """
        Takes out what has no fate, the oldest first.
        """
        rest = self.rest()
        self.todo.clear()
        self._current = None
        return rest

    def settle(self) -> None:
        """
        Notes that the part that `next` gave has its fate.
        """
        self._current = None

    def next(self, *, one_by_one: bool) -> Batch | None:
        """
        The next part to send, or None when all have been.

        Args:
            one_by_one: Whether the intake takes no batches at all.
        """
        if not self.todo:
            return None
        part = self.todo.pop()
        if one_by_one and len(part.bodies) > 1:
            self.todo.extend(reversed(part.singles()))
            part = self.todo.pop()
        self._current = part
        return part

    def refused(self, part: Batch, *, too_large: bool) -> None:
        """
        Puts a refused part of two events or more back, in halves.

        Args:
            part: What was refused.
            too_large: Whether it was refused for its size and not for what is in it.
        """
        self._current = None
        part.suspect = not too_large
        self.todo.extend(reversed(part.halves()))

    def delivered(self, part: Batch) -> bool:
        """
        Notes that a part arrived.

        Returns:
            Whether that shows an intake that refuses batches: both events of a refused pair passed
            alone.
        """
        parent = part.parent
        if parent is None or not parent.suspect or len(part) > 1:
            return False
        parent.passed += 1
        return len(parent) == parent.passed == 2
