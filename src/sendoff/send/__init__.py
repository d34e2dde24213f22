"""
A file of events, sent: what `sendoff send` does.

Takes nothing but public names from sendoff, and what it shares with `sendoff.replay`. Imports
neither click nor rich; `live` alone imports rich, where there is a terminal.
"""

from __future__ import annotations

from sendoff.send.feed import run
from sendoff.send.mapping import Columns, MappingError, parse_columns
from sendoff.send.plan import Outcome, Plan, VendorOutcome
from sendoff.send.rows import Form
from sendoff.send.screen import PlainScreen, Screen
from sendoff.send.source import SourceError

__all__ = [
    "Columns",
    "Form",
    "MappingError",
    "Outcome",
    "PlainScreen",
    "Plan",
    "Screen",
    "SourceError",
    "VendorOutcome",
    "parse_columns",
    "run",
]
