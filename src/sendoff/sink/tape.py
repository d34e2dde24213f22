"""
What a live page gets to see: a fair sample of the events, and the sizes of all bodies.

Plain: no clock, no chance, no I/O. Counting is the ledgers' business and leaves nothing out; a tape
is for looking. It holds the requests of one turn, as far as `NOTES_LIMIT`, and the rows of the last
turns, as far as `ROWS_KEPT`. Whatever arrives in a turn, no more than `ROWS_A_TURN` of it become
rows, spread evenly over all that was wanted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sendoff.sink.contract import Verdict
from sendoff.sink.rows import Note, Row, Wanted, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sendoff.sink.checks import Event, Vendor

# At four turns a second that is a hundred rows, more than anybody reads.
ROWS_A_TURN = 25
# How many rows a page that has just been opened gets to see.
ROWS_KEPT = 300
# How many events of each vendor it gets that came before anybody looked.
EARLIER_ROWS = 100
# A turn's requests at several times the vendors' limit.
NOTES_LIMIT = 10_000
# How many events a turn looks at for one page's filter, some 2 ms; beyond, it takes every nth.
LOOKS_LIMIT = 4_000
# The same for requests that nobody has judged, whose bodies have to be read for it.
GUESSES_LIMIT = 200
# Characters of bodies in a turn, so that large events become fewer rows and not longer turns.
TEXT_A_TURN = 262_144
# Upper bounds of the classes into which bodies are sorted by size; what is larger is in a last one.
SIZES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)


class Turn(NamedTuple):
    """
    What one page gets of one turn.

    Args:
        rows: the sample, in order of arrival.
        seen: events and unaccepted requests that came.
        matching: how many of them were wanted; an estimate where not all could be looked at.
    """

    rows: list[Row]
    seen: int
    matching: int


class Tape:
    """
    The requests of the running turn, the sample of the last one, and the rows of those before it.
    """

    def __init__(self) -> None:
        # All mutable state. `_running` takes requests in, `_missed` counts those beyond its limit;
        # `_notes`, `_seen`, `_offset` and `_made` are the ended turn's: its requests each with a
        # number of its own, how much came, what makes a moment epoch seconds, and the rows so far.
        self._running = _Notes()
        self._missed = 0
        self._next = 0
        self._notes = _Notes()
        self._seen = 0
        self._offset = 0.0
        self._made: dict[str, Row] = {}
        self._kept: deque[Row] = deque(maxlen=ROWS_KEPT)
        self.sizes: dict[Vendor, list[int]] = {}

    def note(self, note: Note) -> None:
        """
        Take a request into the running turn.

        Args:
            note: what became of it.
        """
        if len(self._running.notes) < NOTES_LIMIT:
            self._running.add(self._next, note)
        else:
            self._missed += 1
        self._next += 1
        sizes = self.sizes.get(note.vendor)
        if sizes is None:
            sizes = self.sizes[note.vendor] = [0] * (len(SIZES) + 1)
        sizes[bisect_left(SIZES, note.size)] += 1

    def turn(self, now: float, wall: float) -> None:
        """
        End the running turn; `pick` then answers for it.

        Args:
            now: the moment, by the monotonic clock.
            wall: the same moment in epoch seconds.
        """
        self._notes, self._running = self._running, _Notes()
        self._seen = self._notes.total + self._missed
        self._missed = 0
        self._offset = wall - now
        self._made = {}
        self._kept.extend(self.pick(_EVERYTHING).rows)

    def pick(self, wanted: Wanted) -> Turn:
        """
        What a page gets of the turn that has ended.

        Args:
            wanted: what it wants to see.
        """
        notes = self._notes
        if wanted.vendor or wanted.kind:
            notes = _Notes()
            for number, note in self._notes.notes:
                if wanted.takes_note(note):
                    notes.add(number, note)
        matching = notes.total
        if wanted.name or wanted.user or wanted.kind == "repeated":
            looked = list(notes.spread(LOOKS_LIMIT))
            found = list(_wanted_ones(wanted, looked))
            # Equal parts were looked at, so what was found stands for as much of the rest.
            matching = len(found) * matching // max(1, len(looked))
            chosen = [found[place] for place in _places(len(found), ROWS_A_TURN)]
        else:
            chosen = list(notes.spread(ROWS_A_TURN))
            matching = self._seen if wanted == _EVERYTHING else matching
        return Turn(self._rows(chosen), self._seen, matching)

    def kept(self, wanted: Wanted) -> list[Row]:
        """
        The rows of the last turns, oldest first.

        Args:
            wanted: what a page wants to see.
        """
        return [row for row in self._kept if wanted.takes_row(row)]

    def _rows(self, chosen: Iterable[_One]) -> list[Row]:
        rows: list[Row] = []
        room = TEXT_A_TURN
        for number, note, index in chosen:
            key = key_of(note.vendor, note.first + index) if note.events else f"request/{number}"
            row = self._made.get(key)
            if row is None:
                at = note.arrived + self._offset
                row = self._made[key] = row_of(note, index, key=key, at=at)
            room -= len(row["body"])
            rows.append(row)
            if room <= 0:
                break
        return rows


def key_of(vendor: Vendor, place: int) -> str:
    """
    The key of an accepted event.

    Args:
        vendor: who accepted it.
        place: its place among all that the vendor has accepted since the last reset, from 0.
    """
    return f"{vendor}/{place}"


def earlier_rows(
    vendor: Vendor, bodies: Sequence[Event], ids: Sequence[str | None], first: int, wanted: Wanted
) -> list[Row]:
    """
    The rows of events that were accepted while nobody looked, the last of them, oldest first.

    Nobody has noted when they came and what was answered.

    Args:
        vendor: who accepted them.
        bodies: the events.
        ids: the id of each.
        first: the place of the first of them among all that were accepted.
        wanted: what a page wants to see.
    """
    rows: list[Row] = []
    room = TEXT_A_TURN
    for index in range(len(bodies) - 1, -1, -1):
        verdict = Verdict(0, b"", count=1, events=(bodies[index],), ids=(ids[index],))
        note = Note(vendor, 0.0, 0, None, verdict=verdict)
        if not (wanted.takes_note(note) and wanted.takes(note, 0)):
            continue
        rows.append(row_of(note, 0, key=key_of(vendor, first + index), at=None))
        room -= len(rows[-1]["body"])
        if len(rows) == EARLIER_ROWS or room <= 0:
            break
    return rows[::-1]


_EVERYTHING = Wanted()
_One = tuple[int, Note, int]


class _Notes:
    """
    Requests with their numbers, and the rows that they would make, all in one row.
    """

    __slots__ = ("ends", "notes")

    def __init__(self) -> None:
        # All mutable state; where the rows of each request end, so that a place is soon found.
        self.notes: list[tuple[int, Note]] = []
        self.ends: list[int] = []

    @property
    def total(self) -> int:
        """
        How many rows all would make.
        """
        return self.ends[-1] if self.ends else 0

    def add(self, number: int, note: Note) -> None:
        """
        Put a request behind the others.
        """
        self.notes.append((number, note))
        self.ends.append(self.total + max(1, len(note.events)))

    def spread(self, most: int) -> Iterator[_One]:
        """
        At most so many of the rows, evenly: each as a number, its request, its place therein.
        """
        for place in _places(self.total, most):
            index = bisect_right(self.ends, place)
            number, note = self.notes[index]
            yield number, note, place - (self.ends[index - 1] if index else 0)


def _places(total: int, most: int) -> Iterable[int]:
    return range(total) if total <= most else (n * total // most for n in range(most))


def _wanted_ones(wanted: Wanted, looked: Iterable[_One]) -> Iterator[_One]:
    guesses = 0
    for number, note, index in looked:
        if not note.events:
            # Its body has to be read for this, which takes longer than a look.
            guesses += 1
            if guesses > GUESSES_LIMIT:
                continue
        if wanted.takes(note, index):
            yield number, note, index
