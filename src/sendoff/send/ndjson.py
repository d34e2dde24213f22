"""
What a line of NDJSON becomes: a neutral event, or a vendor's own body.

Plain. A body is Datadog's if it has an ``application`` or says ``"type": "server"``, Freshpaint's
if its properties have a ``distinct_id`` and nothing else of a neutral event is there; everything
else is neutral, and may have no field but those of one, so that a misspelt one costs the row and
not the data in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sendoff.destinations.checks import epoch_seconds
from sendoff.errors import EventRejected
from sendoff.send.cells import moment
from sendoff.send.items import FIELDS, BadRow, Body, Item, neutral
from sendoff.send.mapping import own_id

__all__ = ["item_of"]

KNOWN = frozenset((*FIELDS, "properties", "integrations", "type"))
TYPES = ("track", "identify")


def _constant(name: str) -> None:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_constant)  # NaN and infinities are not JSON


def item_of(line: str) -> Item:
    """
    What a line is.

    Raises:
        BadRow: It is no event.
    """
    try:
        data = _STRICT.decode(line)
    except (ValueError, RecursionError) as exc:
        raise BadRow("json", "the line is no JSON") from exc
    if not isinstance(data, dict):
        raise BadRow("json", "the line is no JSON object")
    vendor = _vendor_of(data)
    return _neutral(data) if vendor is None else Body(vendor, data)


def _vendor_of(data: Mapping[str, Any]) -> str | None:
    if "application" in data or data.get("type") == "server":
        return "datadog"
    properties = data.get("properties")
    if (
        isinstance(properties, dict)
        and "distinct_id" in properties
        and data.keys() <= {"event", "properties"}
    ):
        return "freshpaint"
    return None


def _neutral(data: dict[str, Any]) -> Item:
    if unknown := data.keys() - KNOWN:
        raise BadRow("field", f"an event has no field {', '.join(sorted(unknown))}")
    kind = data.get("type", "track")
    if kind not in TYPES:
        raise BadRow("type", f"type must be one of {', '.join(TYPES)}, or a vendor's own")
    identify = kind == "identify"
    if identify and "event" in data:
        raise BadRow("event", "an identification has no event")
    if not identify and not (isinstance(data.get("event"), str) and data["event"]):
        raise BadRow("event", "event must be a non-empty str")
    parts = {**data}
    if data.get("time") is not None:
        parts["time"] = _time(data["time"])
    if data.get("insert_id") is not None:
        parts["insert_id"] = own_id(data["insert_id"])
    return neutral(parts, data.get("properties"), identify=identify)


def _time(value: object) -> float:
    try:
        return epoch_seconds(moment(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError) as exc:
        raise BadRow("time", "time is neither epoch seconds nor ISO 8601") from exc
    except EventRejected as exc:
        raise BadRow("time", exc.detail) from exc
