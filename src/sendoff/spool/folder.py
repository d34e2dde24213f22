"""
A folder of segments: one dispatcher's own, or one that a dead process left, locked while in use.

Always holds: whoever works in a folder holds the lock of its descriptor, which the system lets go
of when the process dies, however it dies; nobody finds a folder that is not yet locked, because it
gets its name afterwards.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator

from sendoff.spool.lane import DAMAGED

__all__ = ["Folder"]

MAX_DAMAGED = 64 * 2**20
"""Bytes kept there; the oldest files go first."""

NEWBORN = 60.0
"""Seconds that an unfinished folder of another process is left alone."""

_NAME = re.compile(r"[0-9]+-[0-9a-f]{16}")
_UNFINISHED = re.compile(r"\.[0-9]+-[0-9a-f]{16}")
_SEGMENT = re.compile(r"([0-9a-f]{8}-[0-9a-f]{8})\.seg")


class Folder:
    """
    A locked folder.

    Args:
        path: Where it is.
        fd: Its descriptor, which holds the lock.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        # All mutable state, changed under the store's lock.
        self.fd: int = fd  # -1: let go
        self.segments = 0  # in use by us

    @classmethod
    def make(cls, root: str) -> Folder:
        """
        A new one, locked before others can see it.
        """
        os.makedirs(root, mode=0o700, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        unfinished = f"{root}/.{name}"
        os.mkdir(unfinished, 0o700)
        fd = -1
        try:
            fd = _open(unfinished)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(unfinished, f"{root}/{name}")
        except OSError:
            if fd >= 0:
                os.close(fd)
            os.rmdir(unfinished)
            raise
        return cls(f"{root}/{name}", fd)

    @classmethod
    def abandoned(cls, root: str) -> Iterator[Folder]:
        """
        Locks the folders of dead processes, one after another.
        """
        try:
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            if _UNFINISHED.fullmatch(entry.name):
                _sweep(entry.path)
            elif _NAME.fullmatch(entry.name) and (fd := _lock(entry.path)) is not None:
                yield cls(entry.path, fd)

    def names(self) -> list[str]:
        """
        The names of the segments in it, in the order in which they were made.
        """
        found = (_SEGMENT.fullmatch(name) for name in os.listdir(self.path))
        return sorted(match.group(1) for match in found if match)

    def is_ours(self) -> bool:
        """
        Whether the path still leads to what is locked.
        """
        try:
            seen = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        own = os.fstat(self.fd)
        return (seen.st_ino, seen.st_dev) == (own.st_ino, own.st_dev)

    def set_aside(self, name: str) -> None:
        """
        Moves a segment that was not wholly readable to where a human finds it.
        """
        path = f"{self.path}/{name}.seg"
        if os.path.exists(path):  # else somebody has deleted it
            aside = f"{os.path.dirname(self.path)}/{DAMAGED}"
            os.makedirs(aside, mode=0o700, exist_ok=True)
            os.rename(path, f"{aside}/{os.path.basename(self.path)}-{name}.seg")
            _prune(aside)
        self.forget(name)

    def delete(self, name: str) -> None:
        """
        Deletes a segment. The events first: acknowledgements without events mean nothing.
        """
        _unlink(f"{self.path}/{name}.seg")
        self.forget(name)

    def forget(self, name: str) -> None:
        """
        Deletes a segment's acknowledgements.
        """
        _unlink(f"{self.path}/{name}.ack")

    def leave(self) -> None:
        """
        Removes the folder if nothing is in it, and lets go of the lock.
        """
        if self.fd < 0:
            return
        try:
            # Of acknowledgements whose events are gone, after a crash between the two.
            names = os.listdir(self.path)
            if not any(name.endswith(".seg") for name in names):
                for name in names:
                    if name.endswith(".ack"):
                        _unlink(f"{self.path}/{name}")
                os.rmdir(self.path)
        except OSError:
            pass  # something of somebody else's is in it, or it is gone already
        self.close()

    def close(self) -> None:
        """
        Lets go of the lock, unless a forked process holds it as well.
        """
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _lock(path: str) -> int | None:
    """
    Locks a folder that nobody has locked; None if somebody has, or it is gone.
    """
    try:
        fd = _open(path)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen, own = os.stat(path, follow_symlinks=False), os.fstat(fd)
        # Whoever had it may have deleted it between our opening and our locking.
        if (seen.st_ino, seen.st_dev) == (own.st_ino, own.st_dev):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _sweep(path: str) -> None:
    """
    Removes a folder whose maker died before it was finished.
    """
    try:
        if time.time() - os.stat(path, follow_symlinks=False).st_mtime < NEWBORN:
            return
        fd = _lock(path)
        if fd is not None:
            os.close(fd)
            os.rmdir(path)
    except OSError:
        return


def _prune(aside: str) -> None:
    """
    Deletes the oldest damaged files until the rest is small enough.
    """
    files = []
    for entry in os.scandir(aside):
        try:
            seen = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # another process prunes as well
            continue
        if stat.S_ISREG(seen.st_mode):
            files.append((seen.st_mtime, entry.path, seen.st_size))
    total = sum(size for _, _, size in files)
    for _, path, size in sorted(files):
        if total <= MAX_DAMAGED:
            return
        _unlink(path)
        total -= size


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
