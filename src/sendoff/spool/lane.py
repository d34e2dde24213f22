"""
One destination's part of the spool: where its events are written, and which files can go.

Always holds: a file is deleted only when every event in it has its fate; nothing here raises, what
the disk refuses is counted and said. Changed under the intake's lock alone. A call may interrupt
another one of the same thread (a signal handler's does), so nothing is closed while one is under
way.
"""

from __future__ import annotations

import errno
import math
import os
from typing import TYPE_CHECKING

from sendoff.spool.files import Segment
from sendoff.spool.places import FULL, IN_MEMORY, PLACE_BITS, Fates
from sendoff.spool.record import frame

if TYPE_CHECKING:
    from sendoff.spool.store import Found, Store

__all__ = ["DAMAGED", "LaneSpool"]

RETRY = 1.0
"""Seconds after which the disk is tried again, and looked at whether the files are still there."""

MOST_SPARE = 2**20
"""Bytes written at most between two looks at what all lanes have on disk together."""

MAX_ACK_FILES = 8
"""Files of acknowledgements kept open, of those that belong to older segments."""

DAMAGED = "damaged"
"""The folder, in the spool's, of files that were not wholly readable."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class LaneSpool:
    """
    The segments of one destination.

    Args:
        store: The dispatcher's.
        name: The destination's.
    """

    def __init__(self, store: Store, name: str) -> None:
        options = store.options
        self._store = store
        self._name = name
        self._max_bytes = options.max_bytes
        # A few segments fit, so that delivered events make room before everything is.
        self._segment_bytes = min(options.segment_bytes, options.max_bytes // 4)
        self._always = options.fsync == "always"
        # All mutable state.
        self.segments: dict[int, Segment] = {}
        self.current: Segment | None = None  # what events are appended to
        self.bytes: int = 0  # on disk
        self._spare = 0  # bytes that may be written before the others' are asked for
        self.faults: int = 0
        self.trouble: str | None = None  # the last fault, until it was said
        self._retry_at = -math.inf
        self._look_at = math.inf
        self._depth = 0  # calls under way; more than one if they interrupted each other
        self._full_files: list[Segment] = []  # to be closed
        self._acked: list[Segment] = []  # whose acknowledgements are open, the latest last

    # --- events -----------------------------------------------------------------------------------

    def append(self, body: bytes, event_id: str, now: float) -> int:
        """
        Writes an event.

        Args:
            body: The encoded event.
            event_id: Its id.
            now: Seconds of a monotonic clock.

        Returns:
            Its place; or `IN_MEMORY` if the disk does not take it; or `FULL`.
        """
        if now < self._retry_at:
            return IN_MEMORY
        self._depth += 1
        try:
            segment = self.current
            if segment is None or segment.size >= self._segment_bytes or now >= self._look_at:
                segment = self._ready(now)
            number = segment.number()
            record = frame(number, event_id, body)
            size = len(record)
            self._spare -= size
            if self._spare < 0 and not self._has_room(size):
                return FULL
            before = segment.size
            written = os.write(segment.fd, record)
            if written != size:
                segment.cut_away(before, written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            segment.size += size
            segment.total += 1
            self.bytes += size
            if self._always:
                self._sync(segment.fd)
            return segment.key << PLACE_BITS | number
        except (OSError, ValueError) as exc:
            self._retry_at = now + RETRY
            self.fault(exc)
            if getattr(exc, "errno", None) not in FULL_DISK:
                self._retire_current()  # another file may do
            return IN_MEMORY
        finally:
            self._depth -= 1
            if self._full_files and not self._depth:
                self._close_full_files()

    def _has_room(self, size: int) -> bool:
        """
        Whether a record fits, and how much may be written until that is asked again.
        """
        store = self._store
        room = self._max_bytes - store.used() - size
        # All lanes together set aside half of what there is, so none passes the limit.
        self._spare = min(MOST_SPARE, room // (2 * len(store.lanes)))
        return room >= 0

    def _ready(self, now: float) -> Segment:
        """
        A segment to append to, that has room and can be found.
        """
        segment = self.current
        if segment is not None and now >= self._look_at:
            self._look_at = now + RETRY
            self._store.look_after(segment)
        if segment is not None and segment.size >= self._segment_bytes:
            self._retire_current()
            segment = None
        if segment is None:
            segment = self._store.new_segment(self._name)
            self.segments[segment.key] = segment
            self.bytes += segment.size
            self._look_at = now + RETRY
            self.current, interrupted = segment, self.current
            if interrupted is not None:
                self._full_files.append(interrupted)
        return segment

    def _retire_current(self) -> None:
        segment, self.current = self.current, None
        if segment is not None:
            self._full_files.append(segment)

    def _close_full_files(self) -> None:
        while self._full_files:
            segment = self._full_files.pop()
            segment.close()
            self._remove_if_done(segment)

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as exc:
            self.fault(exc)

    def fault(self, exc: Exception) -> None:
        """
        Counts something that the disk refused.
        """
        self.faults += 1
        number = getattr(exc, "errno", None)
        self.trouble = (
            type(exc).__name__ if number is None else errno.errorcode.get(number, str(number))
        )

    # --- fates ------------------------------------------------------------------------------------

    def settle(self, fates: Fates) -> None:
        """
        Notes that events have their fate.

        Args:
            fates: Their places, as `places.runs_of` puts them together.
        """
        for key, runs in fates.items():
            if (segment := self.segments.get(key)) is not None:
                self._settle(segment, runs)

    def _settle(self, segment: Segment, runs: list[tuple[int, int]]) -> None:
        segment.settled += sum(last - first + 1 for first, last in runs)
        if self._remove_if_done(segment):
            return
        try:
            opened = segment.ack_fd < 0
            self.bytes += segment.acknowledge(runs)
            if opened:
                self._keep_open(segment)
        except OSError as exc:
            self.fault(exc)  # after a crash these come twice

    def _keep_open(self, segment: Segment) -> None:
        self._acked = [one for one in self._acked if one.ack_fd >= 0 and one is not segment]
        self._acked.append(segment)
        if len(self._acked) > MAX_ACK_FILES:
            self._acked.pop(0).close_acks()

    def write_off(self, key: int, events: int) -> None:
        """
        Notes that events of a segment could not be read back.
        """
        segment = self.segments[key]
        segment.damaged = True
        segment.settled += events
        self._remove_if_done(segment)

    def _remove_if_done(self, segment: Segment) -> bool:
        """
        Deletes a segment without an event that still needs it; a current one only if it is large.
        """
        if segment.settled < segment.total or segment.key not in self.segments:
            return False
        if segment is self.current:
            if (
                segment.size < self._segment_bytes // 4
                and self._store.used() < self._max_bytes // 2
            ):
                return False
            self.current = None
            if segment.settled < segment.total:  # a call has interrupted this one
                self._full_files.append(segment)
                return False
        if self._depth and segment.fd >= 0:
            self._full_files.append(segment)
            return True
        del self.segments[segment.key]
        self.bytes -= segment.size + segment.ack_size
        try:
            self._store.remove(segment)
        except OSError as exc:
            self.fault(exc)
        return True

    # --- being opened and closed ------------------------------------------------------------------

    def take(self, found: Found) -> None:
        """
        Takes over a segment of a dead process.
        """
        segment = found.segment
        segment.total = len(found.runs)
        self.segments[segment.key] = segment
        self.bytes += segment.size + segment.ack_size

    def start_of(self, key: int) -> int:
        """
        Where the events of a segment begin; below 0 if it cannot be found any more.
        """
        segment = self.segments[key]
        return segment.start if os.path.exists(segment.path) else -1

    def start_of_place(self, place: int) -> int:
        """
        A place in the file before an event that was just written.
        """
        segment = self.segments.get(place >> PLACE_BITS)
        return 0 if segment is None else segment.start

    @property
    def aside(self) -> str:
        """
        Where damaged files are kept.
        """
        return f"{self._store.root}/{DAMAGED}"

    @property
    def root(self) -> str:
        """
        Where the spool is.
        """
        return self._store.root

    def leave_if_empty(self) -> None:
        """
        Removes the dispatcher's own folder if nothing is in it. Not under the intake's lock.
        """
        self._store.tidy()

    def tidy(self) -> None:
        """
        Deletes what nobody needs, the current segment included if everything in it has its fate.
        """
        segment = self.current
        if segment is not None and segment.settled >= segment.total:
            self._retire_current()
        if not self._depth:
            self._close_full_files()

    def rest(self) -> None:
        """
        Closes all files; the next event begins a new one.
        """
        self._retire_current()
        if not self._depth:
            self._close_full_files()
        for segment in self._acked:
            segment.close_acks()
        self._acked.clear()

    def close(self) -> None:
        """
        Closes every descriptor, and does nothing else.
        """
        self.current = None
        self._retry_at = math.inf
        self._full_files.clear()
        for segment in list(self.segments.values()):
            segment.close()

    def sync(self) -> None:
        """
        Brings to disk what was written. In a worker thread, under no lock.
        """
        segment = self.current
        if segment is None:
            return
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # everything in it had its fate
        except OSError as exc:
            self.fault(exc)
            return
        try:
            self._sync(fd)
        finally:
            os.close(fd)
