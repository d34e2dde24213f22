"""
Product-analytics events, given away with one plain call: batched, throttled, retried and accounted
for.
"""

from __future__ import annotations

from sendoff.context import Binding, bind
from sendoff.dead_letters import DeadLetters, Letter, read_letters
from sendoff.destinations.base import Destination, HttpDestination
from sendoff.destinations.datadog import Datadog
from sendoff.destinations.freshpaint import Freshpaint
from sendoff.dispatcher import Dispatcher
from sendoff.errors import EventRejected, OptionError, SendoffError, TransportError
from sendoff.events import (
    Action,
    DroppedEvent,
    DropReason,
    Event,
    Fate,
    Framing,
    Outcome,
    Request,
    Response,
    Verdict,
)
from sendoff.health import Ailment, Complaint, Health, health_of
from sendoff.observers import DestinationStats, Report, Stats
from sendoff.options import Retry, Spool, Tuning
from sendoff.transports.base import Transport
from sendoff.transports.memory import MemoryTransport

__all__ = [
    "Action",
    "Ailment",
    "Binding",
    "Complaint",
    "Datadog",
    "DeadLetters",
    "Destination",
    "DestinationStats",
    "Dispatcher",
    "DropReason",
    "DroppedEvent",
    "Event",
    "EventRejected",
    "Fate",
    "Framing",
    "Freshpaint",
    "Health",
    "HttpDestination",
    "Letter",
    "MemoryTransport",
    "OptionError",
    "Outcome",
    "Report",
    "Request",
    "Response",
    "Retry",
    "SendoffError",
    "Spool",
    "Stats",
    "Transport",
    "TransportError",
    "Tuning",
    "Verdict",
    "bind",
    "health_of",
    "read_letters",
]
