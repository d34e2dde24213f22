"""
The thread that reads rows, so that neither a slow pipe nor a large file holds the loop up.

Always holds: no more than a few handfuls of rows are read ahead; a row that has come is handed on
without waiting for the next one.
"""

from __future__ import annotations

import asyncio
import queue
import threading

from sendoff.send.items import Row
from sendoff.send.rows import Rows

__all__ = ["Reading"]

HANDFUL = 256
"""Rows that are handed over at once."""

AHEAD = 4
"""Handfuls that may wait."""


class Reading:
    """
    Rows on their way to the loop.

    Args:
        rows: The source's.
        came: Set in the loop when there is something new.
        loop: The loop.
    """

    def __init__(self, rows: Rows, came: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        self._rows = rows
        self._came = came
        self._loop = loop
        # All mutable state. What is in the queue: rows, an error, or None for the end.
        self._queue: queue.Queue[list[Row] | Exception | None] = queue.Queue(AHEAD)

    def start(self) -> None:
        """
        Begins to read. The thread dies with the process: it may sleep in a read for ever.
        """
        threading.Thread(target=self._run, name="sendoff rows", daemon=True).start()

    def take(self) -> list[Row] | None:
        """
        The next rows, if there are any; None at the end.

        Raises:
            OSError: The source cannot be read.
            SourceError: It is gzipped and damaged.
        """
        try:
            found = self._queue.get_nowait()
        except queue.Empty:
            return []
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self) -> None:
        try:
            handful: list[Row] = []
            for row in self._rows:
                handful.append(row)
                if len(handful) >= HANDFUL or not self._rows.ready:
                    self._hand(handful)
                    handful = []
            if handful:
                self._hand(handful)
            self._hand(None)
        except Exception as exc:  # noqa: BLE001 whatever it is, it belongs to the loop
            self._hand(exc)

    def _hand(self, found: list[Row] | Exception | None) -> None:
        self._queue.put(found)
        try:
            self._loop.call_soon_threadsafe(self._came.set)
        except RuntimeError:  # the loop is closed: the run ended early
            return
