"""
What somebody wants to do when the process ends and all dispatchers have had their last flush.

For those who report figures: what the last flush delivers is counted only then.
"""

from __future__ import annotations

from sendoff._exit import after_last_flush

__all__ = ["after_last_flush"]
