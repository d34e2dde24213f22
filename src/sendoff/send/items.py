"""
What a row of a file becomes: a neutral event, a vendor's own body, or a reason why it is neither.

Plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sendoff import Event

__all__ = ["FIELDS", "BadRow", "Body", "Item", "Row", "neutral"]

FIELDS = ("event", "user_id", "account_id", "session_id", "device_id", "time", "ip", "insert_id")
"""Names of a neutral event's parts, but for its properties; those of `track`'s arguments."""


class BadRow(Exception):
    """
    A row cannot be an event.

    Args:
        reason: A short stable word.
        detail: What is wrong. It names fields and columns, never values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Body:
    """
    A vendor's own body.

    Attributes:
        vendor: ``"datadog"`` or ``"freshpaint"``.
        payload: As it stands in the file.
    """

    vendor: str
    payload: Mapping[str, Any] = field(repr=False)


Item: TypeAlias = Event | Body
"""An event's id is empty where the row has none of its own, its time None where it has none."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row.

    Attributes:
        number: Counted from 1. NDJSON: of the line; CSV: of the record, the header not counted.
        text: As it stands in the file; only for a row that is no event, or may yet be refused.
        item: What it became; None if it is no event.
        error: Why it is none.
    """

    number: int
    text: str = field(repr=False)
    item: Item | None = None
    error: BadRow | None = None


def neutral(
    parts: Mapping[str, Any], properties: Mapping[str, Any] | None, *, identify: bool = False
) -> Event:
    """
    A neutral event of named parts.

    Args:
        parts: Values by the names in `FIELDS`; what is not there is None.
        properties: The event's own.
        identify: Whether the properties describe the user and no event happened.
    """
    return Event(
        name=parts.get("event"),
        user_id=parts.get("user_id"),
        account_id=parts.get("account_id"),
        session_id=parts.get("session_id"),
        device_id=parts.get("device_id"),
        properties=properties,
        time=parts.get("time"),
        ip=parts.get("ip"),
        id=parts.get("insert_id") or "",
        integrations=parts.get("integrations"),
        identify=identify,
    )
