"""
The journal of a replay: which lines of a file of dead letters have been sent to a vendor.

Always holds: a key is noted after its request was answered with success, in one write, so a replay
that is killed leaves whole lines; one replay at a time holds the journal.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

__all__ = ["HeldFile", "Journal", "JournalBusyError", "Keys"]

KEY_BYTES = 12
"""Bytes of a key's hash: two of a million lines are taken for one with a chance below 1e-16."""

_KEY = re.compile(rb"[0-9a-f]{%d}(\.[0-9]+)?" % (2 * KEY_BYTES))


class Keys:
    """
    Gives every line of one file its key: a hash, with a number behind it for lines that are equal.

    A line keeps its key when the file grows, or when other lines are taken out of it. Ids would not
    do: two letters may have the same one.
    """

    def __init__(self) -> None:
        # All mutable state.
        self._seen: Counter[str] = Counter()

    def next(self, line: bytes) -> str:
        """
        The key of the next line.
        """
        digest = hashlib.blake2b(line, digest_size=KEY_BYTES).hexdigest()
        before = self._seen[digest]
        self._seen[digest] += 1
        return f"{digest}.{before}" if before else digest


class JournalBusyError(Exception):
    """
    Another process holds the journal.
    """


class HeldFile:
    """
    A file of lines, held by this process between `__enter__` and `__exit__`.

    Args:
        path: The file; made for its owner alone if it is not there.
        other: What may hold it already, for the message.
    """

    def __init__(self, path: Path, other: str) -> None:
        self.path = path
        self._other = other
        # All mutable state.
        self._file = -1

    def __enter__(self) -> Self:
        """
        Takes the file and reads it.

        Raises:
            JournalBusyError: Somebody else holds it.
            OSError: It cannot be opened.
        """
        import fcntl  # here, so that without POSIX a replay can say what it needs

        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = file
            end = os.lseek(file, 0, os.SEEK_END)
            if end and os.pread(file, 1, end - 1) != b"\n":  # torn by a crash of the machine
                os.write(file, b"\n")
            os.lseek(file, 0, os.SEEK_SET)
            with open(file, "rb", closefd=False) as reader:
                self._load(reader)
        except BlockingIOError as exc:
            os.close(file)
            raise JournalBusyError(f"{self._other} holds {self.path}") from exc
        except BaseException:
            os.close(file)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Lets go of it.
        """
        os.close(self._file)
        self._file = -1

    def _load(self, file: BinaryIO) -> None:
        """
        Reads what the file holds.
        """
        raise NotImplementedError

    def append(self, data: bytes) -> None:
        """
        Adds whole lines, in one write.

        Raises:
            OSError: They could not be written.
        """
        if os.write(self._file, data) < len(data):
            raise OSError("the disk is full")


class Journal(HeldFile):
    """
    The keys of the lines that were sent.

    Args:
        path: The file; made for its owner alone if it is not there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "another replay")
        # All mutable state.
        self.keys: frozenset[str] = frozenset()  # those noted before it was opened

    def _load(self, file: BinaryIO) -> None:
        lines = (line.rstrip(b"\n") for line in file)
        self.keys = frozenset(line.decode() for line in lines if _KEY.fullmatch(line) is not None)

    def note(self, keys: Iterable[str]) -> None:
        """
        Notes lines as sent.

        Raises:
            OSError: They could not be noted.
        """
        self.append("".join(f"{key}\n" for key in keys).encode())
