"""
The events that a file would become, for people to look at: nothing is sent, noted or written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sendoff.send.items import FIELDS, Body, Item, Row
from sendoff.send.rows import Form, Rows
from sendoff.send.source import Lines, open_source

__all__ = ["events_of"]


def events_of(path: Path | None, form: Form) -> Iterator[tuple[str, bool]]:
    """
    A line for every row, and whether it says why the row is no event.

    The lines of events are NDJSON that `sendoff send` takes.

    Args:
        path: The file; None for stdin.
        form: How it is read.

    Raises:
        MappingError: The mapping does not fit the file.
        SourceError: The file is gzipped and damaged.
        OSError: It cannot be read.
    """
    file, _ = open_source(path)
    try:
        for row in Rows(Lines(file), form):
            yield _line(row)
    finally:
        if path is not None:
            os.close(file)


def _line(row: Row) -> tuple[str, bool]:
    if row.item is None:
        return f"row {row.number:,}: {row.error}", True
    return json.dumps(_shown(row.item), ensure_ascii=False, default=_plain), False


def _shown(item: Item) -> dict[str, Any]:
    if isinstance(item, Body):
        return dict(item.payload)
    values = item._asdict() | {"event": item.name, "insert_id": item.id or None}
    shown = {name: values[name] for name in FIELDS if values[name] is not None}
    if item.identify:
        shown["type"] = "identify"
    if item.properties is not None:
        shown["properties"] = item.properties
    return shown


def _plain(value: object) -> object:
    if isinstance(value, Decimal):  # as the dispatcher does it
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
