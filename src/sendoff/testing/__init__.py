"""
What an app's tests need: events captured in memory, vendors that misbehave by script, and a clock
that jumps.

Nothing here needs pytest, a network or, but for the sink, another process. The fixtures of
`pytest_sendoff` are thin coats around these names.
"""

from __future__ import annotations

from sendoff.sink import SinkProcess
from sendoff.testing._capture import capture
from sendoff.testing._captured import CapturedEvent, Rejection
from sendoff.testing._clock import VirtualLoop, run_virtual
from sendoff.testing._events import CapturedEvents
from sendoff.testing._vendors import ScriptedVendors, events_of

__all__ = [
    "CapturedEvent",
    "CapturedEvents",
    "Rejection",
    "ScriptedVendors",
    "SinkProcess",
    "VirtualLoop",
    "capture",
    "events_of",
    "run_virtual",
]
