"""
The journal of a file that is sent: which of its rows a vendor has.

Always holds: a row is noted after its request was answered with success, in one write, so that a
run that is killed leaves whole lines; one run at a time holds the journal; it belongs to one
identity, that is to ids that no other contents and no other mapping have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sendoff.replay.journal import HeldFile

__all__ = ["RowJournal", "RowSet", "StrangeJournalError", "runs_of"]

HEAD = "sendoff-send"
"""What the first line of a journal names."""

_LINE = re.compile(rb"(!?)([0-9]{1,15})(?:-([0-9]{1,15}))?;")
"""The semicolon tells a whole number from one that a crash tore."""

MOST_ROWS = 2**33
"""Rows that a journal's line may name: a bit each is a gigabyte."""


class StrangeJournalError(Exception):
    """
    The journal is another file's, or that of another mapping.
    """


class RowSet:
    """
    Numbers of rows, a bit for each.
    """

    def __init__(self) -> None:
        # All mutable state.
        self._bits = bytearray()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        place, bit = divmod(number, 8)
        return place < len(self._bits) and bool(self._bits[place] >> bit & 1)

    def add(self, number: int) -> None:
        """
        Adds one.
        """
        place, bit = divmod(number, 8)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits) + len(self._bits) // 8))
        if not self._bits[place] >> bit & 1:
            self._bits[place] |= 1 << bit
            self._count += 1


def runs_of(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """
    Numbers as runs, first and last, in order.
    """
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


class RowJournal(HeldFile):
    """
    A file of rows, held by this process between `__enter__` and `__exit__`.

    Args:
        path: The file; made for its owner alone if it is not there.
        identity: To which ids it belongs.
    """

    def __init__(self, path: Path, identity: str) -> None:
        super().__init__(path, "another run")
        self._identity = identity
        # All mutable state: what was noted before it was opened. Without an answer of the vendor's,
        # rows are given up that the vendor would not take, or that are in the dead letters.
        self.sent: RowSet = RowSet()
        self.given_up: RowSet = RowSet()

    def _load(self, file: BinaryIO) -> None:
        head = file.readline()
        if not head:
            self.append(json.dumps({HEAD: 1, "identity": self._identity}).encode() + b"\n")
            return
        try:
            found = json.loads(head)
            known = found[HEAD] == 1 and found["identity"]
        except (ValueError, TypeError, KeyError):
            known = False
        if not known:
            raise StrangeJournalError(f"{self.path} is no journal of sendoff's; move it away")
        if known != self._identity:
            raise StrangeJournalError(
                f"{self.path} was begun for other contents or another mapping; move it away to"
                f" send all rows under new ids, or go on under the old ones: --identity {known}"
            )
        for line in file:
            match = _LINE.fullmatch(line.rstrip(b"\n"))
            if match is None:
                continue
            first, last = int(match[2]), int(match[3] or match[2])
            rows = self.given_up if match[1] else self.sent
            if last < MOST_ROWS:
                for number in range(first, last + 1):
                    rows.add(number)

    def note(self, numbers: Iterable[int]) -> None:
        """
        Notes rows as sent.

        Raises:
            OSError: They could not be noted.
        """
        self._note("", numbers)

    def note_given_up(self, numbers: Iterable[int]) -> None:
        """
        Notes rows as given up: another run does not try them again.

        Raises:
            OSError: They could not be noted.
        """
        self._note("!", numbers)

    def _note(self, mark: str, numbers: Iterable[int]) -> None:
        lines = [
            f"{mark}{first};\n" if first == last else f"{mark}{first}-{last};\n"
            for first, last in runs_of(numbers)
        ]
        self.append("".join(lines).encode())
