"""
The way of a dispatcher's lines to the logger: few, whatever happens and however often.

Always holds: what a vendor does fills at most `FAULT_LINES` a minute over all destinations, what
callers do at most `CALL_LINES`, so that neither hides the other; the lock is not held while a line
is written, so a handler that calls us again cannot hang; every line carries its stable name and its
arguments as fields of its log record, each under ``sendoff_``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sendoff._lines import Line
from sendoff.observers import LogDamper

__all__ = ["Log", "type_name", "write"]

FAULT_LINES = 6
CALL_LINES = 3
"""
Lines a minute. Together with one of `on_drop`'s they are at most 10: what a person can read while a
vendor is down.
"""

logger = logging.getLogger("sendoff")

_NAME = type.__dict__["__name__"]


def type_name(value: object) -> str:
    """
    The name of a value's type, whatever a metaclass makes of `__name__`.
    """
    name: str = _NAME.__get__(type(value))
    return name


def write(line: Line, *args: object, level: int = logging.WARNING, repeats: int = 0) -> None:
    """
    Writes a line, undamped. Never raises.

    Args:
        line: Which.
        args: Its fields, in their order; never a caller's data.
        level: The level.
        repeats: How many like it were held back.
    """
    fields = {f"sendoff_{name}": value for name, value in zip(line.fields, args, strict=False)}
    fields["sendoff_event"] = line.event
    text, shown = line.text, args[: line.places]
    if repeats:
        text += " (%d more like it since the last such line)"
        shown += (repeats,)
        fields["sendoff_repeats"] = repeats
    # A handler or filter is somebody's code, and there is nobody to tell.
    with contextlib.suppress(Exception):
        logger.log(level, text, *shown, extra=fields)


class Log:
    """
    A dispatcher's damped lines.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._faults = LogDamper(most=FAULT_LINES)
        self._calls = LogDamper(most=CALL_LINES)

    def fault(self, kind: str, line: Line, *args: object, level: int = logging.WARNING) -> None:
        """
        Writes a line on what happened to accepted events. Any thread.

        Args:
            kind: One of a small set; lines of a kind are an interval apart.
            line: Which.
            args: Its fields, in their order; never a caller's data.
            level: The level of the line.
        """
        self._write(self._faults, kind, level, line, args)

    def call(self, kind: str, line: Line, *args: object) -> None:
        """
        Writes a line on a call that took no event, as `fault` does.
        """
        self._write(self._calls, kind, logging.WARNING, line, args)

    def _write(
        self, damper: LogDamper, kind: str, level: int, line: Line, args: tuple[object, ...]
    ) -> None:
        with self._lock:
            held_back = damper.admit(kind, self.clock())
        if held_back is not None:
            write(line, *args, level=level, repeats=held_back)
