"""
A dispatcher's folders on disk: its own, made at the first event, and those it takes over.

Always holds: construction touches no disk; a folder's lock is held as long as one of its segments
is in use. Its lock is taken after an intake's, never before.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from zlib import crc32

from sendoff._lines import SPOOL_STRANGER
from sendoff._log import Log
from sendoff.options import Spool
from sendoff.spool.files import Segment, header_of, scan
from sendoff.spool.folder import Folder
from sendoff.spool.lane import LaneSpool
from sendoff.spool.record import VERSION
from sendoff.spool.runs import Runs

__all__ = ["Found", "Store", "Take"]

POLITE = 0.0002
"""
Seconds of sleep after each window of a scan, some 0.3 ms of work: the loop's thread gets its turn.
"""


class Found:
    """
    One segment of a dead process's, and what in it has no fate.

    Args:
        segment: The segment; None of its events is in memory.
        runs: The numbers of its events.
        size: Bytes of their bodies.
        bad: Damaged stretches in it.
    """

    def __init__(self, segment: Segment, runs: Runs, size: int, bad: int) -> None:
        self.segment = segment
        self.runs = runs
        self.size = size
        self.bad = bad


Take = Callable[[str, list[Found], int], bool]
"""
Given a destination's name, its segments and the damaged stretches in others of its files: takes
them over. False if it is too late for that.
"""


class Store:
    """
    The disk's side of a dispatcher.

    Args:
        options: What the user chose.
        names: The destinations' names.
        log: The dispatcher's lines.
    """

    def __init__(self, options: Spool, names: Iterable[str], log: Log) -> None:
        self.options = options
        self._log = log
        self.root: str = _absolute(os.fspath(options.path))
        self.lanes: dict[str, LaneSpool] = {name: LaneSpool(self, name) for name in names}
        # All mutable state, changed under the lock.
        self._lock = threading.RLock()
        self._folder: Folder | None = None  # our own, None before the first event
        self._taken: list[Folder] = []  # of dead processes
        self._said: set[str] = set()  # files that were left alone and said so
        self._keys = itertools.count(1).__next__
        self._spools = tuple(self.lanes.values())
        self._adopting = threading.Lock()
        self.stopping: bool = False

    def used(self) -> int:
        """
        Bytes on disk, of all lanes.
        """
        used = 0
        for spool in self._spools:  # asked at every event: a third of what `sum` takes
            used += spool.bytes
        return used

    # --- our own folder ---------------------------------------------------------------------------

    def new_segment(self, name: str) -> Segment:
        """
        A new segment for a destination, in our own folder.

        Raises:
            OSError: The disk does not want it.
        """
        with self._lock:
            folder = self._folder
            if folder is None:
                folder = self._folder = Folder.make(self.root)
            key = self._keys()
            segment = Segment(key, folder, f"{key:08x}-{_digest(name)}")
            segment.create(name)
            if self.options.fsync != "never":
                os.fsync(folder.fd)
            folder.segments += 1
            return segment

    def look_after(self, segment: Segment) -> None:
        """
        Makes sure that a segment can still be found by its path.

        Raises:
            OSError: Somebody has deleted it.
        """
        if not segment.is_deleted():
            return
        with self._lock:
            folder = segment.folder
            if folder is self._folder and not folder.is_ours():
                self._folder = None
                folder.close()
        raise OSError(errno.ENOENT, "the spool was deleted")

    def remove(self, segment: Segment) -> None:
        """
        Deletes a segment all of whose events have their fate; one with damage is kept aside.
        """
        segment.close()
        folder = segment.folder
        try:
            if segment.damaged:
                folder.set_aside(segment.name)
            else:
                folder.delete(segment.name)
        finally:
            with self._lock:
                folder.segments -= 1
                if not folder.segments and folder in self._taken:
                    self._taken.remove(folder)
                    folder.leave()

    def tidy(self) -> None:
        """
        Removes our own folder if nothing is in it any more.
        """
        with self._lock:
            if self._folder is not None and not self._folder.segments:
                self._folder.leave()
                self._folder = None

    def release(self) -> None:
        """
        Lets go of everything; what has no fate stays on disk for others.
        """
        self.stopping = True
        for spool in self._spools:
            spool.tidy()
            spool.close()
        with self._lock:
            for folder in self._taken:
                folder.leave()
            if self._folder is not None:
                self._folder.leave()

    def forget(self) -> None:
        """
        Closes a forked child's copies of the descriptors, without touching what they lead to.
        """
        # No lock is taken: a thread that does not exist here may hold it. A lock of a file goes
        # with the last copy of its descriptor, so a dead parent's folder would stay locked.
        for spool in self._spools:
            spool.close()
        for folder in (*self._taken, *filter(None, [self._folder])):
            folder.close()

    # --- what dead processes left -----------------------------------------------------------------

    def adopt(self, take: Take) -> None:
        """
        Takes over what dead processes have left. In a worker thread; politely.

        Args:
            take: Gives a lane its segments.

        Raises:
            OSError: A folder cannot be read; the others have been looked through.
        """
        if not self._adopting.acquire(blocking=False):
            return  # of a loop that has just ended
        fault: OSError | None = None
        try:
            for folder in Folder.abandoned(self.root):
                try:
                    self._adopt(folder, take)
                except OSError as exc:  # of this folder; the next one may be readable
                    fault = exc
                if self.stopping:
                    return
        finally:
            self._adopting.release()
        if fault is not None:
            raise fault

    def _adopt(self, folder: Folder, take: Take) -> None:
        found: dict[str, list[Found]] = {}
        bad: dict[str, int] = {}
        try:
            for name in folder.names():
                destination = self._destination_of(folder, name)
                if destination is None:
                    continue
                segment = Segment(self._keys(), folder, name)
                item = self._scan(segment)
                if item is None:  # stopping
                    folder.close()
                    return
                if item.bad:
                    segment.damaged = True
                if item.runs:
                    found.setdefault(destination, []).append(item)
                else:
                    bad[destination] = bad.get(destination, 0) + item.bad
                    (folder.set_aside if item.bad else folder.delete)(name)
        except BaseException:
            folder.close()
            raise
        with self._lock:
            folder.segments = 1 + sum(map(len, found.values()))  # one is ours while we hand over
            self._taken.append(folder)
        for destination in {**found, **bad}:
            items = found.get(destination, [])
            if not take(destination, items, bad.get(destination, 0)):
                with self._lock:
                    folder.segments -= len(items)
        with self._lock:
            folder.segments -= 1
            if not folder.segments:
                self._taken.remove(folder)
                folder.leave()

    def _scan(self, segment: Segment) -> Found | None:
        header = header_of(segment.path)
        segment.start = 0 if header is None else header.size
        found = Found(segment, Runs(), 0, 0)
        for runs, size, bad in scan(segment):
            found = Found(segment, runs, size, bad)
            if self.stopping:
                return None
            time.sleep(POLITE)
        return found

    def _destination_of(self, folder: Folder, name: str) -> str | None:
        """
        Whose segment it is; None if it is nobody's here, or there is nothing in it.
        """
        header = header_of(f"{folder.path}/{name}.seg")
        if header is not None and header.version != VERSION:
            self._leave_alone(folder, name, f"is of format {header.version}, this is {VERSION}")
            return None
        if header is not None:
            if header.name in self.lanes:
                return header.name
            self._leave_alone(folder, name, "is of a destination that is not here")
            return None
        # The file's name knows its destination as well.
        digest = name.partition("-")[2]
        for destination in self.lanes:
            if _digest(destination) == digest:
                return destination
        self._leave_alone(folder, name, "is damaged, and of a destination that is not here")
        return None

    def _leave_alone(self, folder: Folder, name: str, why: str) -> None:
        path = f"{folder.path}/{name}.seg"
        if path not in self._said:
            self._said.add(path)
            self._log.fault("spool stranger", SPOOL_STRANGER, path, why)


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)  # a later `chdir` must not move it
    except OSError:  # the working directory is gone; the first event will say so
        return path


def _digest(name: str) -> str:
    return f"{crc32(name.encode('utf-8', 'surrogatepass')):08x}"
