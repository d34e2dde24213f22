"""
Where commands write: whether there is a terminal to draw on.
"""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["terminal"]


def terminal() -> Console | None:
    """
    The terminal behind stdout; None if there is none that takes control sequences.
    """
    console = Console()
    # Not `is_terminal`, which the environment can talk into escape codes in a file.
    return None if not sys.stdout.isatty() or console.is_dumb_terminal else console
