"""
One segment on disk: events are appended, acknowledgements beside them, until it can be deleted.

Always holds: an event is one `write`, so a process that dies between two calls leaves whole
records; a write that was cut short is cut back. Every function here may raise `OSError`.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sendoff.spool.record import (
    MAX_HEADER,
    Header,
    Parsed,
    file_header,
    frame_acks,
    parse,
    parse_acks,
    read_header,
)
from sendoff.spool.runs import Runs

if TYPE_CHECKING:
    from sendoff.spool.folder import Folder

__all__ = ["WINDOW", "Segment", "header_of", "read_window", "scan"]

WINDOW = 2**18
"""
Bytes read in one go: some 800 events, about a millisecond of a worker thread, and less of the loop.
"""


class Segment:
    """
    A file of records and the file of their acknowledgements.

    Args:
        key: What tells it from every other segment of the dispatcher.
        folder: Where it lies.
        name: The name of its file, without the extension.
    """

    __slots__ = (
        "ack_fd",
        "ack_path",
        "ack_size",
        "damaged",
        "fd",
        "folder",
        "key",
        "name",
        "number",
        "path",
        "settled",
        "size",
        "start",
        "total",
    )

    def __init__(self, key: int, folder: Folder, name: str) -> None:
        self.key: int = key
        self.folder: Folder = folder
        self.name: str = name
        self.path: str = f"{folder.path}/{name}.seg"
        self.ack_path: str = f"{folder.path}/{name}.ack"
        # All mutable state, changed under the intake's lock.
        self.fd: int = -1  # -1: nothing is appended here any more
        self.ack_fd: int = -1
        self.start: int = 0  # where the header ends
        self.size: int = 0
        self.ack_size: int = 0
        self.total: int = 0  # events that must have a fate before it can go
        self.settled: int = 0  # those that have
        self.damaged: bool = False  # kept aside at the end
        self.number: Callable[[], int] = itertools.count().__next__  # one C call: never twice

    def create(self, destination: str) -> None:
        """
        Makes the file, with its header.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        header = file_header(destination)
        try:
            if os.write(fd, header) < len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(fd)
            os.unlink(self.path)
            raise
        self.fd = fd
        self.start = self.size = len(header)

    def cut_away(self, before: int, written: int) -> None:
        """
        Cuts away what was written of a record that is not there whole.

        Args:
            before: The size before that; `size` does not count it.
            written: How many bytes of it.

        Raises:
            OSError: It could not be cut away, and nothing must be appended here any more.
        """
        if os.fstat(self.fd).st_size != before + written:
            # A call that interrupted this one (a signal handler's) has written behind it.
            self.size += written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(self.fd, before)

    def acknowledge(self, runs: list[tuple[int, int]]) -> int:
        """
        Notes that events have their fate; the bytes that took.
        """
        if self.ack_fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.ack_fd = os.open(self.ack_path, flags, 0o600)
        written = os.write(self.ack_fd, frame_acks(runs))
        self.ack_size += written
        return written

    def is_deleted(self) -> bool:
        """
        Whether somebody has deleted the file under us.
        """
        return os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """
        Lets go of the files; what is in them stays.
        """
        fds, self.fd, self.ack_fd = (self.fd, self.ack_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def close_acks(self) -> None:
        """
        Lets go of the acknowledgements' file until the next one.
        """
        fd, self.ack_fd = self.ack_fd, -1
        if fd >= 0:
            os.close(fd)


# --- reading --------------------------------------------------------------------------------------


def read_window(path: str, at: int, window: int) -> tuple[Parsed, bool]:
    """
    The records from a place in a file on.

    Args:
        path: The segment's.
        at: Where to begin. The `end` of what comes back is counted from the file's beginning, those
            of its records from here.
        window: Bytes to read, at most `WINDOW`; more if not even one record fits.

    Returns:
        The records, and whether the file ends there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parsed, final = _window_of(fd, at, window, lost=False)
    finally:
        os.close(fd)
    return parsed, final


def _window_of(fd: int, at: int, window: int, *, lost: bool) -> tuple[Parsed, bool]:
    size = os.fstat(fd).st_size
    while True:
        data = _read(fd, at, min(window, max(0, size - at)))
        final = at + len(data) >= size or not data
        parsed = parse(data, final=final, lost=lost)
        if parsed.records or parsed.end or final:
            return parsed._replace(end=at + parsed.end), final
        # Not even one record fits; or its length is damaged, and then the whole file is needed.
        window = min(window * 8, size - at) if window < WINDOW else size - at


def _read(fd: int, at: int, length: int) -> bytes:
    chunks = []
    while length > 0:
        chunk = os.pread(fd, length, at)
        if not chunk:
            break
        chunks.append(chunk)
        at += len(chunk)
        length -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def header_of(path: str) -> Header | None:
    """
    A file's header, or None if it is damaged or missing.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return read_header(_read(fd, 0, MAX_HEADER))
    finally:
        os.close(fd)


def scan(segment: Segment) -> Iterator[tuple[Runs, int, int]]:
    """
    Goes through a segment of a process that is gone, a window at a time.

    Args:
        segment: The segment; its sizes are set.

    Yields:
        After each window: the numbers found so far that have no acknowledgement, the bytes of their
        bodies, and the damaged stretches.
    """
    acknowledged = Runs(parse_acks(_whole(segment.ack_path)))
    segment.ack_size = _size(segment.ack_path)
    waiting: Runs = Runs()
    size = bad = 0
    lost = final = False
    at = segment.start
    fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        segment.size = os.fstat(fd).st_size
        while not final:
            parsed, final = _window_of(fd, at, WINDOW // 4, lost=lost)
            at, lost = parsed.end, parsed.lost
            bad += parsed.bad
            for record in parsed.records:
                if record.number not in acknowledged and record.number not in waiting:
                    waiting.add(record.number)
                    size += len(record.body)
            yield waiting, size, bad
    finally:
        os.close(fd)


def _whole(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return _read(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
