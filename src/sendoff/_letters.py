"""
The way of given-up events into the file of dead letters: off the loop, without ever blocking a
caller.

One task of the host runs `deliver` in a worker thread. Always holds: every parcel is settled once,
with the number of its events that are in the file; what is in the file is whole lines (but for one
that a crash tore, behind which the next writer begins a new one), and never above its limit, with
any number of processes at it.

Needs POSIX: loaded where there are dead letters, when their dispatcher is made.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from sendoff.dead_letters import DeadLetters, Parcel, lines_of

__all__ = ["LetterBox", "Settled", "append"]

FULL = "the file has reached max_bytes"
LATE = "there was no time left"


Settled = Callable[[int, str | None], None]
"""
Called once for each parcel, in the thread that writes: with the number of its events, counted from
the first, that are in the file now, and why the others are not.
"""


class LetterBox:
    """
    The file and what is still to be written to it.

    What waits here is still held by the queue it came from, so its memory is bounded there.

    Args:
        options: The user's.
        ring: Called from any thread when there is something new.
    """

    name = "dead letters"

    def __init__(self, options: DeadLetters, ring: Callable[[], None]) -> None:
        self._options = options
        self._ring = ring
        self._turn = threading.Lock()  # held while one thread writes
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._waiting: deque[tuple[Parcel, Settled]] = deque()

    def post(self, parcel: Parcel, settled: Settled) -> None:
        """
        Keeps events to be written. Any thread.

        Args:
            parcel: The events.
            settled: Told what became of them.
        """
        with self._lock:
            first = not self._waiting
            self._waiting.append((parcel, settled))
        if first:
            self._ring()

    def deliver(self) -> None:
        """
        Writes everything kept. Runs in a worker thread; never raises.
        """
        # A last call after a close may find an earlier one still writing.
        with self._turn:
            while (waiting := self._next()) is not None:
                self._write(*waiting)

    def give_up(self) -> None:
        """
        Settles everything that is not being written yet: there is no time left for it.
        """
        while (waiting := self._next()) is not None:
            _, settled = waiting
            settled(0, LATE)

    def _next(self) -> tuple[Parcel, Settled] | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _write(self, parcel: Parcel, settled: Settled) -> None:
        written, fault = 0, None
        try:
            lines = lines_of(parcel)
            written = append(self._options.file, lines, self._options.max_bytes)
            if written < len(lines):
                fault = FULL
        except OSError as exc:
            fault = exc.strerror or type(exc).__name__
        except Exception as exc:  # noqa: BLE001 a destination is somebody's code, and gave the words
            fault = type(exc).__name__
        settled(written, fault)


def append(path: Path, lines: Sequence[bytes], max_bytes: int) -> int:
    """
    Appends lines to a file in one write, as many of the first as fit.

    The file is opened anew each time, so it may be moved away between two writes.

    Args:
        path: The file; made if it is not there, for its owner alone.
        lines: With their ends.
        max_bytes: Bytes that the file may have afterwards.

    Returns:
        How many were written.

    Raises:
        OSError: Nothing was written.
    """
    # Non-blocking for the sake of a pipe in the file's place, which is then refused.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        # Among the processes that share the file one at a time looks at its end and writes.
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        pieces = [b"\n"] if torn else []
        room = max_bytes - size - len(pieces)
        written = 0
        for line in lines:
            room -= len(line)
            if room < 0:
                break
            pieces.append(line)
            written += 1
        if written:
            data = b"".join(pieces)
            if os.write(file, data) < len(data):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written
    finally:
        os.close(file)
