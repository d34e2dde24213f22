"""
`sendoff demo`: real purchases, replayed to a local stand-in of both vendors and counted at both
ends.

Uses public names of `sendoff` and `sendoff.sink` only, as any user's code would. Imports neither
click nor rich; `screen` alone imports rich, when it is used.
"""

from __future__ import annotations

from sendoff.demo.compare import Differences, compare
from sendoff.demo.purchases import Purchase, PurchasesError, read_purchases
from sendoff.demo.replay import Outcome, Plan, run

__all__ = [
    "Differences",
    "Outcome",
    "Plan",
    "Purchase",
    "PurchasesError",
    "compare",
    "read_purchases",
    "run",
]
