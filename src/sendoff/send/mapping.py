"""
Which column of a CSV becomes which part of an event.

Plain. `parse_columns` reads what a user wrote, `Columns.bind` holds it against a header, and the
result turns records into events. Always holds: an empty cell is no value, whatever its column
should become; what cannot be mapped is found before the first record.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sendoff import Event
from sendoff.destinations.checks import insert_id_of
from sendoff.errors import EventRejected
from sendoff.send.cells import Convert, time_reader, value_reader
from sendoff.send.items import FIELDS, BadRow, neutral

__all__ = ["Columns", "MappingError", "own_id", "parse_columns"]

PROPERTY = "properties."
REST = "properties.*"


class MappingError(ValueError):
    """
    A mapping makes no sense, or does not fit the file; the message says what to write.
    """


def own_id(value: object) -> str:
    """
    An event's own id, as the vendors take it.

    Raises:
        BadRow: They would not.
    """
    try:
        return insert_id_of(value)
    except EventRejected as exc:
        raise BadRow("insert_id", exc.detail) from exc


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column and what it becomes.

    Attributes:
        field: One of `FIELDS`, or ``properties.NAME``.
        name: The column's name in the header; its position, from 1, where there is none.
        kind: The type's name; empty for the usual one.
        read: From a cell's text to the value.
    """

    field: str
    name: str
    kind: str
    read: Convert


@dataclass(frozen=True, slots=True)
class Columns:
    """
    A mapping.

    Attributes:
        columns: In the order in which they were given.
        rest: Whether all columns that are not mapped become properties.
        by_name: Whether columns that are called like fields become these.
        event: The name of every event, where no column has it.
    """

    columns: tuple[Column, ...]
    rest: bool
    by_name: bool
    event: str | None

    @property
    def text(self) -> str:
        """
        The mapping as one text, equal for equal mappings: part of the ids of what it makes.
        """
        pairs = sorted((one.field, one.name, one.kind) for one in self.columns)
        return json.dumps([pairs, self.rest, self.by_name, self.event])

    def bind(self, header: Sequence[str]) -> Callable[[Sequence[str]], Event]:
        """
        What turns the records of a file into events; it raises `BadRow` for one that is none.

        Args:
            header: The columns' names, or their positions as text.

        Raises:
            MappingError: A column is not there, is there twice, or nothing names the event.
        """
        counts = Counter(header)
        for column in self.columns:
            if counts[column.name] != 1:
                what = "is not in the file" if not counts[column.name] else "is there twice"
                raise MappingError(
                    f"column {column.name!r} {what}; the file has {', '.join(header)}"
                )
        columns = list(self.columns)
        if self.by_name:
            columns += [_column(name, name, "") for name in header if _is_field(name)]
        if self.rest:
            used = {column.name for column in columns}
            others = [name for name in header if name not in used]
            for name, times in Counter(others).items():
                if not name or times > 1:
                    raise MappingError(
                        f"column {name!r} cannot be a property: its name is empty or there twice"
                    )
            columns += [_column(PROPERTY + name, name, "") for name in others]
        fields = Counter(column.field for column in columns)
        for field, times in fields.items():
            if times > 1:
                raise MappingError(f"{field} is mapped twice")
        if "event" in fields and self.event is not None:
            raise MappingError("the event's name comes from event=COLUMN or from --event, not both")
        if "event" not in fields and self.event is None:
            raise MappingError(
                "nothing names the events: give --event NAME, or --map event=COLUMN; the file has"
                f" {', '.join(header)}"
            )
        return _Binding(columns, len(header), self.event, {n: i for i, n in enumerate(header)})


class _Binding:
    """
    A mapping that fits a header.
    """

    def __init__(
        self, columns: Iterable[Column], width: int, event: str | None, places: dict[str, int]
    ) -> None:
        self._width = width
        self._constant = {} if event is None else {"event": event}
        self._fields = [
            (column.field, places[column.name], column.read)
            for column in columns
            if column.field in FIELDS
        ]
        self._properties = [
            (column.field.removeprefix(PROPERTY), places[column.name], column.read)
            for column in columns
            if column.field not in FIELDS
        ]

    def __call__(self, cells: Sequence[str]) -> Event:
        if len(cells) != self._width:
            raise BadRow("columns", f"{len(cells)} columns, and the file has {self._width}")
        parts: dict[str, Any] = dict(self._constant)
        for field, place, read in self._fields:
            if cells[place]:
                parts[field] = read(cells[place])
        properties = {
            name: read(cells[place]) for name, place, read in self._properties if cells[place]
        }
        if "event" not in parts:
            raise BadRow("event", "the event has no name")
        return neutral(parts, properties)


def _is_field(name: str) -> bool:
    return name in FIELDS or (name.startswith(PROPERTY) and name not in (PROPERTY, REST))


def _column(field: str, name: str, kind: str) -> Column:
    try:
        if field == "time":
            read = time_reader(name, kind)
        elif field in FIELDS:
            if kind:
                raise ValueError(f"{field} is text and takes no type, got {kind!r}")
            read = own_id if field == "insert_id" else str
        else:
            read = value_reader(name, kind)
    except ValueError as exc:
        raise MappingError(f"column {name!r}: {exc}") from exc
    return Column(field, name, kind, read)


def parse_columns(texts: Iterable[str], event: str | None = None) -> Columns:
    """
    The mapping that somebody wrote.

    ``FIELD=COLUMN[:TYPE]``, where FIELD is one of `FIELDS` or ``properties.NAME``; a column's name
    that holds a colon stands in double quotes. ``properties.*`` alone takes all other columns. No
    text at all means: columns called like fields are these, all others are properties.

    Args:
        texts: One mapping each.
        event: The name of every event, where no column has it.

    Raises:
        MappingError: The message names the text and what may stand there.
    """
    columns = []
    rest = False
    count = 0
    for text in texts:
        count += 1
        if text == REST:
            rest = True
            continue
        field, equals, column = text.partition("=")
        if not equals or not _is_field(field) or not column:
            raise MappingError(
                f"{text!r} is not FIELD=COLUMN[:TYPE] or {REST}; FIELD is one of"
                f" {', '.join(FIELDS)} or {PROPERTY}NAME"
            )
        columns.append(_column(field, *_name_and_kind(text, column)))
    if event == "":
        raise MappingError("the event's name must not be empty")
    return Columns(tuple(columns), rest or not count, not count, event)


def _name_and_kind(text: str, column: str) -> tuple[str, str]:
    if not column.startswith('"'):
        name, _, kind = column.partition(":")
        return name, kind
    try:
        name, end = json.JSONDecoder().raw_decode(column)
    except ValueError as exc:
        raise MappingError(f"{text!r}: the quotes of the column's name do not end") from exc
    kind = column[end:]
    if kind and not kind.startswith(":"):
        raise MappingError(f"{text!r}: behind a quoted name stands nothing but :TYPE")
    return name, kind[1:]
