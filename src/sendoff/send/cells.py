"""
From the text of a cell to a value: the types that a mapping may name.

Plain. Always holds: what a type does not fit raises `BadRow`, whose message names the column and
the type and never the cell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from sendoff.destinations.checks import epoch_seconds
from sendoff.errors import EventRejected
from sendoff.send.items import BadRow

__all__ = ["TIME_FORMS", "TYPES", "Convert", "moment", "time_reader", "value_reader"]

Convert = Callable[[str], Any]
"""Raises ValueError, or ArithmeticError, for a text that it does not fit."""

_INT = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}


def _int(text: str) -> int:
    if not _INT.fullmatch(text):  # `int` takes underscores and the digits of all scripts
        raise ValueError("int")
    return int(text)


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not isfinite(value := float(text)):
        raise ValueError("float")
    return value


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError("decimal")
    return Decimal(text)


def _bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError as exc:
        raise ValueError("bool") from exc


def _constant(name: str) -> None:
    raise ValueError(name)


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_constant)


TYPES: dict[str, Convert] = {
    "str": str,
    "int": _int,
    "float": _float,
    "decimal": _decimal,
    "bool": _bool,
    "json": _json,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}
"""Types of a property. The last two may have a format behind a colon: ``date:%Y%m%d``."""

TIME_FORMS = ("epoch", "epoch_ms", "iso")
"""Forms of a time, beside a format of `strptime`."""


def moment(text: str) -> datetime:
    """
    The moment that an ISO 8601 text names; UTC where it names no zone.
    """
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _formatted(form: str, kind: str) -> Convert:
    def convert(text: str) -> Any:
        value = datetime.strptime(text, form)
        if kind == "date":
            return value.date()
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    return convert


def _plain(kind: str) -> Convert:
    if kind == "epoch":
        return _float
    if kind == "epoch_ms":
        return lambda text: _float(text) / 1_000
    return moment


def time_reader(column: str, kind: str) -> Convert:
    """
    What reads an event's time from a column: epoch seconds.

    Args:
        column: Its name, for messages.
        kind: ``epoch``, ``epoch_ms``, ``iso``, or a format with ``%``; empty for ``iso``.

    Raises:
        ValueError: There is no such form; the message says what may stand there.
    """
    kind = kind or "iso"
    if "%" not in kind and kind not in TIME_FORMS:
        raise ValueError(
            f"a time is one of {', '.join(TIME_FORMS)} or a format such as %Y%m%d, not {kind!r}"
        )
    convert = _formatted(kind, "datetime") if "%" in kind else _plain(kind)

    def read(text: str) -> float:
        try:
            return epoch_seconds(convert(text))
        except (ValueError, OverflowError, EventRejected) as exc:
            raise BadRow("time", f"column {column} is no time of the form {kind}") from exc

    return read


def value_reader(column: str, kind: str) -> Convert:
    """
    What reads a property from a column.

    Args:
        column: Its name, for messages.
        kind: One of `TYPES`; empty for ``str``.

    Raises:
        ValueError: There is no such type; the message says which there are.
    """
    kind = kind or "str"
    name, _, form = kind.partition(":")
    if name not in TYPES or (form and (name not in ("date", "datetime") or "%" not in form)):
        raise ValueError(
            f"a type is one of {', '.join(TYPES)}, date:FORMAT or datetime:FORMAT, not {kind!r}"
        )
    convert = _formatted(form, name) if form else TYPES[name]

    def read(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, ArithmeticError, RecursionError) as exc:
            raise BadRow("type", f"column {column} is no {kind}") from exc

    return read
