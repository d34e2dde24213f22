"""
The load of all measurements: one realistic event, some 300 bytes as Datadog's body.
"""

from __future__ import annotations

from typing import Any

from sendoff import Datadog, Dispatcher, Freshpaint, MemoryTransport

__all__ = ["EVENT", "KEYWORDS", "datadog", "datadog_body", "dispatcher", "freshpaint"]

EVENT = "checkout.completed"

PROPERTIES: dict[str, Any] = {
    "order_id": "ord-0184467",
    "amount": 149.99,
    "currency": "EUR",
    "items": 3,
    "first_order": False,
    "customer": {"tier": "premium", "country": "DE"},
    "channel": "web",
}

KEYWORDS: dict[str, Any] = {
    "user_id": "user-0184467",
    "session_id": "6f1c2b3e-8a51-4d",
    "properties": PROPERTIES,
}
"""What goes with `EVENT` into `track`."""


def datadog_body() -> dict[str, Any]:
    """
    What has to be encoded for it: Datadog's documented object with the properties in it.
    """
    return {
        "application": {"id": "0f4c7f6e"},
        "event": {"name": EVENT},
        "type": "server",
        "usr": {"id": KEYWORDS["user_id"]},
        "session": {"id": KEYWORDS["session_id"]},
        **PROPERTIES,
    }


def datadog(**options: Any) -> Datadog:
    """
    The destination, with credentials that nobody takes.
    """
    return Datadog(**{"api_key": "key", "application_id": "0f4c7f6e", **options})


def freshpaint(**options: Any) -> Freshpaint:
    """
    As `datadog`.
    """
    return Freshpaint(**{"token": "8f14e45f-ceea-467f-ab9e-8a5a2b1f1f7f", **options})


def dispatcher(*destinations: Any, **options: Any) -> Dispatcher:
    """
    One with room for all that is given to it, sending nowhere unless told otherwise.
    """
    room: dict[str, Any] = {"max_queue_events": 10**7, "max_queue_bytes": 2**33}
    return Dispatcher(*destinations, **{**room, "transport": MemoryTransport(), **options})
