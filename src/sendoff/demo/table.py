"""
The two counts side by side, as rows of text that any screen can lay out.

Plain: values in, text out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sendoff import DestinationStats
from sendoff.demo.compare import Differences
from sendoff.sink import VendorStats

__all__ = ["REQUEST_LIMIT", "Row", "ledger_table", "plain_table"]

REQUEST_LIMIT = 5_000
"""Requests a second: the limit that Freshpaint documents, and both destinations' default."""

BODY_LIMIT = 5_000_000
"""Bytes of a body: above this Datadog answers 413."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the table.

    Attributes:
        side: Who counted; empty below the first row of a side.
        what: What was counted.
        values: One for each destination.
        note: The limit, where there is one.
    """

    side: str
    what: str
    values: tuple[str, ...]
    note: str = ""


LEDGER: tuple[tuple[str, Callable[[DestinationStats], int]], ...] = (
    ("submitted", lambda ledger: ledger.submitted),
    ("delivered", lambda ledger: ledger.delivered),
    (
        "given up",
        lambda ledger: ledger.rejected + sum(ledger.dropped.values()) + ledger.dead_lettered,
    ),
    ("pending", lambda ledger: ledger.pending),
    ("requests", lambda ledger: ledger.requests),
    ("retries", lambda ledger: ledger.retries),
)

SINK: tuple[tuple[str, Callable[[VendorStats], int], str], ...] = (
    ("accepted", lambda sink: sink.accepted, ""),
    ("unique ids", lambda sink: sink.unique, ""),
    ("duplicates", lambda sink: sink.duplicates, ""),
    ("requests", lambda sink: sink.requests, ""),
    ("met a fault", lambda sink: sum(sink.faults.values()), ""),
    ("fullest second", lambda sink: sink.fullest_second, f"of {REQUEST_LIMIT:,}"),
    ("largest body", lambda sink: sink.largest_body, f"of {BODY_LIMIT:,}"),
)


def ledger_table(
    ledgers: Mapping[str, DestinationStats],
    sinks: Mapping[str, VendorStats],
    differences: Mapping[str, Differences],
) -> list[Row]:
    """
    Everything that was counted, and by how much the two sides differ.

    Args:
        ledgers: The dispatcher's counts, by destination; the other two have the same keys.
        sinks: The stand-in's counts.
        differences: What comparing them gave.
    """
    rows = [
        Row("", what, tuple(f"{count(ledger):,}" for ledger in ledgers.values()))
        for what, count in LEDGER
    ]
    rows += [
        Row("", what, tuple(f"{count(sinks[name]):,}" for name in ledgers), note)
        for what, count, note in SINK
    ]
    for index, side in ((0, "dispatcher"), (len(LEDGER), "sink")):
        rows[index] = Row(side, rows[index].what, rows[index].values, rows[index].note)
    rows.append(Row("difference", "", tuple(str(differences[name]) for name in ledgers)))
    return rows


def plain_table(names: tuple[str, ...], rows: list[Row]) -> str:
    """
    The table in plain columns.

    Args:
        names: The destinations' names, for the head.
        rows: As `ledger_table` gives them.
    """
    lines = [("", "", *names, ""), *((row.side, row.what, *row.values, row.note) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = len(("side", "what"))
    numbers = words + len(names)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if words <= index < numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
