"""
The purchases that the demo replays: how a row of the CSV is read, and what event it becomes.

Always holds: a customer's id is text, so that its leading zeros stay; an amount is a `Decimal`,
which is what a shop would put into its events. The origin of the rows stands in the README beside
them.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "Purchase", "PurchasesError", "parse_purchases", "read_purchases"]

COLUMNS = ["customer_id", "date", "quantity", "amount_usd"]

GZIP_MAGIC = b"\x1f\x8b"


class PurchasesError(ValueError):
    """
    The rows cannot be replayed as asked; the message names the line or the limit.
    """


@dataclass(frozen=True, slots=True)
class Purchase:
    """
    One row: who bought how many CDs, when, and for how much.

    Attributes:
        customer_id: Digits with leading zeros.
        purchased_on: The day, in 1997 or 1998.
        quantity: How many CDs.
        amount_usd: What they cost together.
    """

    customer_id: str
    purchased_on: date
    quantity: int
    amount_usd: Decimal

    @property
    def properties(self) -> dict[str, Any]:
        """
        The event's properties. The day is an ordinary one, since no intake takes events this old.
        """
        return {
            "quantity": self.quantity,
            "amount_usd": self.amount_usd,
            "purchased_on": self.purchased_on,
        }


def parse_purchases(lines: Iterable[str]) -> Iterator[Purchase]:
    """
    The purchases in the lines of a CSV with the columns `COLUMNS`.

    Args:
        lines: The header and the rows.

    Raises:
        PurchasesError: The header is another one, or a row is no purchase; the message names the
            line.
    """
    rows = csv.reader(lines)
    if next(rows, None) != COLUMNS:
        raise PurchasesError(f"line 1 must be {','.join(COLUMNS)}")
    for row in rows:
        try:
            customer_id, day, quantity, amount = row
            if len(day) != 8:  # from 3.11 on, `fromisoformat` takes more forms than this one
                raise ValueError(day)
            bought = Purchase(customer_id, date.fromisoformat(day), int(quantity), Decimal(amount))
        except (ValueError, InvalidOperation) as exc:
            raise PurchasesError(f"line {rows.line_num} is not a purchase") from exc
        if not customer_id:
            raise PurchasesError(f"line {rows.line_num} has no customer_id")
        yield bought


def read_purchases(path: Path | None = None, limit: int | None = None) -> list[Purchase]:
    """
    The first purchases of a file.

    Args:
        path: A CSV, gzipped or not; None for the shipped tenth.
        limit: How many; None for all.

    Raises:
        PurchasesError: The file is no such CSV, or holds fewer than `limit`; the message says how
            many it holds.
        OSError: The file cannot be read.
    """
    shipped = files("sendoff.demo").joinpath("purchases.csv.gz")
    data = shipped.read_bytes() if path is None else path.read_bytes()
    try:
        if data.startswith(GZIP_MAGIC):
            data = gzip.decompress(data)
        found = list(islice(parse_purchases(io.StringIO(data.decode(), newline="")), limit))
    except (EOFError, OSError, UnicodeDecodeError, csv.Error, zlib.error) as exc:
        raise PurchasesError(f"the file is no CSV, gzipped or not: {exc}") from exc
    if limit is not None and len(found) < limit:
        held = "the shipped file" if path is None else path.name
        raise PurchasesError(f"{limit:,} are more than the {len(found):,} purchases of {held}")
    return found
