"""
A set of whole numbers that come mostly in order, kept as runs; and events known by such a set.

Plain. A million events behind a full memory are one run of two numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["Runs", "Stretch"]


class Runs:
    """
    A set of whole numbers.

    Args:
        runs: First and last number of each run, in any order; they may overlap.
    """

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        # All mutable state: runs in order, without overlap, and how many numbers are in them.
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._count = 0
        for first, last in sorted(runs):
            self._extend(first, last)

    def __len__(self) -> int:
        """
        How many numbers.
        """
        return self._count

    def __contains__(self, number: int) -> bool:
        """
        Whether a number is in it.
        """
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __repr__(self) -> str:
        """
        The runs.
        """
        return f"Runs({self.pairs()})"

    def pairs(self) -> list[tuple[int, int]]:
        """
        First and last number of each run, in order.
        """
        return list(zip(self._firsts, self._lasts, strict=True))

    def last(self) -> int:
        """
        The highest number; there must be one.
        """
        return self._lasts[-1]

    def add(self, number: int) -> None:
        """
        Takes a number in that is not yet there.
        """
        if not self._lasts or number > self._lasts[-1]:
            self._extend(number, number)
            return
        at = bisect_right(self._firsts, number)
        self._firsts.insert(at, number)
        self._lasts.insert(at, number)
        self._count += 1

    def remove(self, number: int) -> bool:
        """
        Takes a number out; whether it was there.
        """
        at = bisect_right(self._firsts, number) - 1
        if at < 0 or number > self._lasts[at]:
            return False
        first, last = self._firsts[at], self._lasts[at]
        self._count -= 1
        if first == last:
            del self._firsts[at], self._lasts[at]
        elif number == first:
            self._firsts[at] = number + 1
        elif number == last:
            self._lasts[at] = number - 1
        else:
            self._lasts[at] = number - 1
            self._firsts.insert(at + 1, number + 1)
            self._lasts.insert(at + 1, last)
        return True

    def cut(self, last: int) -> int:
        """
        Takes out every number up to one; how many that were.
        """
        before = self._count
        while self._firsts and self._firsts[0] <= last:
            if self._lasts[0] > last:
                self._count -= last - self._firsts[0] + 1
                self._firsts[0] = last + 1
                break
            self._count -= self._lasts.pop(0) - self._firsts.pop(0) + 1
        return before - self._count

    def _extend(self, first: int, last: int) -> None:
        # Runs come sorted by their first number here, so only the last one can touch it.
        if self._lasts and first <= self._lasts[-1] + 1:
            if last > self._lasts[-1]:
                self._count += last - self._lasts[-1]
                self._lasts[-1] = last
            return
        self._firsts.append(first)
        self._lasts.append(last)
        self._count += last - first + 1


class Stretch:
    """
    Events of one segment that are on disk alone.

    Args:
        key: The segment's.
        runs: Their numbers.
        at: Where in the file to look for the first of them.
        size: Bytes of their bodies.
    """

    __slots__ = ("at", "key", "runs", "size")

    def __init__(self, key: int, runs: Runs, at: int, size: int) -> None:
        self.key: int = key
        self.runs: Runs = runs
        self.at: int = at
        self.size: int = size
