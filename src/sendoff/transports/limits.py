"""
What both lanes keep to.
"""

from __future__ import annotations

__all__ = ["ANSWER_BYTES", "ANSWER_SECONDS", "KEEPALIVE_SECONDS", "PIECE"]

ANSWER_BYTES = 64 * 1024
"""Bytes of an answer's body that are read; the vendors' own are below 1 KB."""

ANSWER_SECONDS = 5.0
"""
Seconds for the body of an answer whose status is known: the status decides, the body only explains.
"""

KEEPALIVE_SECONDS = 15.0
"""
Seconds that an idle connection is kept: less than the gateways' 60, so that they rarely close it
first.
"""

PIECE = 1 << 18
"""Bytes that are written in one go, so that the loop can breathe during a large body."""
