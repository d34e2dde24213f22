"""
What tests on a virtual clock have in common; the clock and the vendors are `sendoff.testing`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sendoff import Datadog, Dispatcher, Freshpaint, Request
from sendoff.testing import ScriptedVendors, VirtualLoop, events_of
from sendoff.testing import run_virtual as run

__all__ = [
    "Vendors",
    "VirtualLoop",
    "datadog",
    "dispatcher",
    "events_of",
    "fates",
    "freshpaint",
    "now",
    "run",
]


def now() -> float:
    return asyncio.get_running_loop().time()


class Vendors(ScriptedVendors):
    """
    Both vendors, who answer as told, or else by their rules.
    """

    def __init__(self, answer: Callable[[Request, list[Any]], Any] | None = None) -> None:
        super().__init__(answer=answer)


def datadog(**options: Any) -> Datadog:
    return Datadog(**{"api_key": "key", "application_id": "app", **options})


def freshpaint(**options: Any) -> Freshpaint:
    return Freshpaint(**{"token": "token", **options})


def dispatcher(vendors: Vendors, *destinations: Any, **options: Any) -> Dispatcher:
    return Dispatcher(*destinations, transport=vendors, **options)


def fates(dispatcher: Dispatcher, name: str) -> dict[str, Any]:
    """
    The ledger of one destination, without what is zero.
    """
    stats = dispatcher.stats().destinations[name]
    parts = {
        "delivered": stats.delivered,
        "rejected": dict(stats.rejections),
        "dropped": dict(stats.dropped),
        "dead_lettered": stats.dead_lettered,
        "pending": stats.pending,
    }
    assert stats.submitted == (
        stats.delivered
        + stats.rejected
        + sum(stats.dropped.values())
        + stats.dead_lettered
        + stats.pending
    )
    return {name: value for name, value in parts.items() if value}
