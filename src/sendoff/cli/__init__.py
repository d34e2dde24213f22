"""
The command line: a small file for each command.

Thin: reads options, calls what does the work, turns its outcome into an exit status. Imported by
`__main__` once click and rich are known to be there.
"""

from __future__ import annotations

from sendoff.cli import check, completion, demo, replay, send, sink, tail  # noqa: F401
from sendoff.cli.group import cli

__all__ = ["cli"]
