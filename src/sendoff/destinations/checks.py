"""
Checks that destinations share: from what a caller gave to what a vendor takes, or `EventRejected`.

A message names fields and types, never values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from numbers import Integral
from typing import Any
from uuid import UUID

from sendoff.errors import EventRejected
from sendoff.events import EPOCH_MILLISECONDS

__all__ = ["epoch_seconds", "event_name", "insert_id_of", "object_of", "text_id", "without"]

MAX_KEYS = 10_000
"""Keys of a mapping that is no dict: one of somebody's may have no end."""


def text_id(field: str, value: object) -> str | None:
    """
    An id as the vendors want it, a string: None and the empty string mean there is none.

    Args:
        field: The argument's name, for the message.
        value: A str, an int or a UUID.

    Raises:
        EventRejected: The value is of another type.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value or None
    if type(value) is not bool and isinstance(value, Integral | UUID):
        return str(value)
    raise EventRejected(
        f"invalid_{field}", f"{field} must be a str, int or UUID, not {type(value).__name__}"
    )


_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


def insert_id_of(value: object, *, field: str = "insert_id") -> str:
    """
    An id of an event as Freshpaint takes it: 1 to 36 characters of ``[A-Za-z0-9-]``; a UUID will
    do.

    Raises:
        EventRejected: It is not.
    """
    text = str(value) if isinstance(value, UUID) else value
    if isinstance(text, str) and _INSERT_ID.fullmatch(text):
        return str.__str__(text)  # a subclass's own methods stay behind
    raise EventRejected("invalid_insert_id", f"{field} must be 1 to 36 of A-Z a-z 0-9 -")


def event_name(value: object) -> str:
    """
    An event's name, a non-empty str.

    Raises:
        EventRejected: It is not.
    """
    if isinstance(value, str) and value:
        return value
    kind = "an empty str" if isinstance(value, str) else type(value).__name__
    raise EventRejected("invalid_event", f"the event's name must be a non-empty str, not {kind}")


def object_of(field: str, value: object) -> Mapping[Any, Any]:
    """
    Properties as a mapping; None means none.

    Raises:
        EventRejected: The value is of another type.
    """
    if type(value) is dict:  # a type's test costs a tenth of an ABC's
        return value
    if value is None:
        return {}
    if isinstance(value, dict):
        return dict(dict.items(value))  # what it holds, whatever its own methods say
    if isinstance(value, Mapping):
        copy = {key: value[key] for key in islice(value, MAX_KEYS + 1)}
        if len(copy) > MAX_KEYS:
            raise EventRejected(f"invalid_{field}", f"{field} has more than {MAX_KEYS:,} keys")
        return copy
    raise EventRejected(
        f"invalid_{field}", f"{field} must be a mapping, not {type(value).__name__}"
    )


def epoch_seconds(value: object) -> float:
    """
    Epoch seconds from a number or a datetime (one without a zone is taken as UTC).

    Raises:
        EventRejected: It is no time, or it is in milliseconds.
    """
    if type(value) is float and 0.0 <= value < EPOCH_MILLISECONDS:
        return value
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EventRejected(
            "invalid_time", f"time must be epoch seconds or a datetime, not {type(value).__name__}"
        )
    if not 0 <= value < EPOCH_MILLISECONDS:  # NaN neither
        raise EventRejected("invalid_time", "time must be epoch seconds from 1970 to 5138")
    return float(value)


def without(reserved: frozenset[str], properties: Mapping[Any, Any]) -> dict[Any, Any]:
    """
    A copy of properties in which no key is one of the vendor's: such a key gets underscores behind
    it, its value stays.
    """
    result = {key: value for key, value in properties.items() if key not in reserved}
    for key, value in properties.items():
        if key in reserved:
            name = f"{key}_"
            while name in result or name in reserved:
                name += "_"
            result[name] = value
    return result
