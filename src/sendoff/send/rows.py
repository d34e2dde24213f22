"""
The rows of a source: NDJSON or CSV, told apart by the first byte if nobody says which.

Always holds: a row that is no event costs that row; what the file cannot be read as at all is found
before the first row.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sendoff import Event
from sendoff.send.items import BadRow, Row
from sendoff.send.mapping import Columns, MappingError, parse_columns
from sendoff.send.ndjson import item_of
from sendoff.send.source import MAX_LINE, Lines

__all__ = ["WHITESPACE", "Form", "Rows"]

WHITESPACE = "whitespace"
"""The delimiter that is any run of blanks."""

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    How a source is read.

    Attributes:
        kind: ``"ndjson"``, ``"csv"``, or ``"auto"``: NDJSON if it begins with a brace.
        columns: The mapping of a CSV; None for columns that are called like what they are.
        header: Whether the first record of a CSV names the columns.
        delimiter: One character, or `WHITESPACE`.

    Raises:
        MappingError: The delimiter is no such thing.
    """

    kind: Literal["auto", "ndjson", "csv"] = "auto"
    columns: Columns | None = None
    header: bool = True
    delimiter: str = ","

    def __post_init__(self) -> None:
        good = len(self.delimiter) == 1 and self.delimiter not in '"\r\n'
        if self.delimiter != WHITESPACE and not good:
            raise MappingError(
                f"the delimiter is one character, tab or {WHITESPACE}, not {self.delimiter!r}"
            )

    @property
    def text(self) -> str:
        """
        What of it makes events what they are, as one text.
        """
        columns = (self.columns or parse_columns(())).text
        return "\n".join((columns, str(self.header), self.delimiter))


class _Texts:
    """
    Lines as text, for the csv module; keeps what a record was made of.
    """

    def __init__(self, first: bytes | None, lines: Lines) -> None:
        self._lines = lines
        # All mutable state.
        self._first: list[bytes | None] = [first]
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._first.pop() if self._first else next(self._lines)
        if line is None:
            raise BadRow("too_long", f"the line has more than {MAX_LINE:,} bytes")
        text = line.decode("utf-8", "surrogateescape")
        self._taken.append(text)
        return text

    def taken(self) -> str:
        """
        The text of the record that was read last.
        """
        taken, self._taken = self._taken, []
        return "".join(taken)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise BadRow("encoding", "the row is not UTF-8") from exc


def _clean(text: str) -> str:
    """
    A row's text for people: without its line's end, and with what is no UTF-8 made visible.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").rstrip("\r\n")


class Rows:
    """
    The rows of a source.

    Args:
        lines: Of the source.
        form: How it is read.

    Raises:
        MappingError: The mapping does not fit the header, or is for NDJSON.
        OSError: The source cannot be read.
        SourceError: It is gzipped and damaged.
    """

    def __init__(self, lines: Lines, form: Form) -> None:
        self._lines = lines
        self._form = form
        # All mutable state: the row's number; the first record of a file without a header.
        self._number = 0
        self._first_record: list[Sequence[str]] = []
        first = self._first_line()
        self.is_empty: bool = first == b""
        begins = b"" if first is None else first.lstrip()
        self.is_ndjson: bool = form.kind == "ndjson" or (
            form.kind == "auto" and (begins.startswith(b"{") or first is None)
        )
        if self.is_ndjson and form.columns is not None:
            raise MappingError("a mapping and an event's name are for CSV, and this is NDJSON")
        self._texts = _Texts(first, lines)
        if not self.is_ndjson and not self.is_empty:
            # JSON in a cell may be long; the module's own limit is for all of the process.
            csv.field_size_limit(MAX_LINE)
            self._records = self._read()
            self._bound = self._bind(form.columns or parse_columns(()))

    def _first_line(self) -> bytes | None:
        """
        The first line that is not blank; empty if there is none.
        """
        for line in self._lines:
            if line is None:
                return None
            line = line.removeprefix(BOM) if not self._number else line
            if line.strip():
                return line
            self._number += 1  # a line of NDJSON counts, whatever is in it
        return b""

    def _read(self) -> Iterator[Sequence[str]]:
        # Both go on behind an error.
        if self._form.delimiter == WHITESPACE:
            return map(str.split, self._texts)
        return csv.reader(self._texts, delimiter=self._form.delimiter, strict=True)

    def _bind(self, columns: Columns) -> Callable[[Sequence[str]], Event]:
        self._number = 0
        try:
            record = next(self._records)
            _check_text("".join(record))
        except BadRow as exc:
            raise MappingError(f"the first line is no record of a CSV: {exc}") from exc
        except csv.Error as exc:  # its words are for programmers
            raise MappingError(
                "the first line is no record of a CSV: is the file damaged, or something else than"
                " text?"
            ) from exc
        if self._form.header:
            self._texts.taken()
            return columns.bind(record)
        self._first_record.append(record)
        return columns.bind([str(position) for position in range(1, len(record) + 1)])

    @property
    def ready(self) -> bool:
        """
        Whether the next row can be had without waiting for the source, or nearly so.
        """
        return self._lines.ready

    def __iter__(self) -> Iterator[Row]:
        """
        Itself.
        """
        return self

    def __next__(self) -> Row:
        """
        The next row; waits for it.

        Raises:
            OSError: The source cannot be read.
            SourceError: It is gzipped and damaged.
        """
        if self.is_empty:
            raise StopIteration
        return self._ndjson() if self.is_ndjson else self._csv()

    def _ndjson(self) -> Row:
        while True:
            self._number += 1
            text = ""
            try:
                next(self._texts)
                text = self._texts.taken()
                if not text.strip():
                    continue
                _check_text(text)
                return Row(self._number, _clean(text), item_of(text))
            except BadRow as exc:
                return Row(self._number, _clean(text), None, exc)

    def _csv(self) -> Row:
        while True:
            error: BadRow
            try:
                record = self._first_record.pop() if self._first_record else next(self._records)
                text = self._texts.taken()
                if not record:  # a blank line
                    continue
                self._number += 1
                _check_text(text)
                return Row(self._number, _clean(text), self._bound(record))
            except csv.Error as exc:
                self._number += 1
                error = BadRow("csv", str(exc))
                text = self._texts.taken()
            except BadRow as exc:
                error = exc
                if exc.reason == "too_long":  # raised before there was a record
                    self._number += 1
                    text = self._texts.taken()
            return Row(self._number, _clean(text), None, error)
