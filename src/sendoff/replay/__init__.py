"""
Dead letters, sent again: what `sendoff replay` does.

Takes nothing but public names from sendoff.
"""

from __future__ import annotations

from sendoff.replay.feed import run
from sendoff.replay.journal import Journal, JournalBusyError
from sendoff.replay.plan import NoLettersError, Outcome, Plan, destination_of
from sendoff.replay.screen import PlainScreen, Screen

__all__ = [
    "Journal",
    "JournalBusyError",
    "NoLettersError",
    "Outcome",
    "PlainScreen",
    "Plan",
    "Screen",
    "destination_of",
    "run",
]
