"""
Where rows come from: a file or a stream, as it is or gzipped, cut into lines.

Always holds: gzip is known by its first bytes and not by a name; a line above `MAX_LINE` is cut
out, whatever is in memory is bounded; a file is read no further than it went when it was opened.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Content", "Lines", "SourceError", "content_of", "open_source"]

GZIP_MAGIC = b"\x1f\x8b"

BLOCK = 2**16
"""Bytes of one read."""

MAX_LINE = 16 * 2**20
"""Bytes of a line: three times what an event may have."""


class SourceError(Exception):
    """
    What is there cannot be read as rows any further; the message says why.
    """


@dataclass(frozen=True, slots=True)
class Content:
    """
    What a file holds.

    Attributes:
        digest: A hash of it, unpacked: the same file gzipped has the same.
        lines: How many line ends are in it, unpacked.
        size: Bytes of the file itself.
    """

    digest: bytes
    lines: int
    size: int


def open_source(path: Path | None) -> tuple[int, bool]:
    """
    Opens a file, or takes stdin.

    Args:
        path: The file; None for stdin.

    Returns:
        The descriptor, and whether it can be read again from its beginning.

    Raises:
        OSError: It cannot be opened.
    """
    # By descriptor: a thread that sleeps in a read of `sys.stdin` would hold a lock that the
    # interpreter wants at its end.
    file = 0 if path is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return file, path is not None and stat.S_ISREG(os.fstat(file).st_mode)


def _blocks(file: int, size: int | None) -> Iterator[bytes]:
    """
    What a descriptor gives, in blocks as they come; no more than `size` bytes.
    """
    while size is None or size > 0:
        block = os.read(file, BLOCK if size is None else min(BLOCK, size))
        if not block:
            return
        if size is not None:
            size -= len(block)
        yield block


def _unpacked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """
    The blocks, without gzip if there is any; of one or more members.
    """
    first = b""
    for block in blocks:
        first += block
        if len(first) >= len(GZIP_MAGIC):
            break
    if not first.startswith(GZIP_MAGIC):
        yield first
        yield from blocks
        return
    member = zlib.decompressobj(wbits=31)
    data = first
    while True:
        try:
            yield member.decompress(data, BLOCK * 16)
            while member.unconsumed_tail:
                yield member.decompress(member.unconsumed_tail, BLOCK * 16)
        except zlib.error as exc:
            raise SourceError(f"the gzip data is damaged: {exc}") from exc
        data = member.unused_data or next(blocks, b"")
        if member.eof:
            data = data.lstrip(b"\0")  # tapes and block devices fill up with zeros
            while not data and (block := next(blocks, b"")):
                data = block.lstrip(b"\0")
            if not data:
                return
            member = zlib.decompressobj(wbits=31)
        elif not data:
            raise SourceError("the gzip data ends too early")


def content_of(file: int) -> Content:
    """
    Reads a file through, from its beginning.

    Args:
        file: A descriptor; stands at the beginning again afterwards.

    Raises:
        OSError: It cannot be read.
        SourceError: It is gzipped and damaged.
    """
    size = os.fstat(file).st_size
    digest = hashlib.blake2b(digest_size=32)
    lines = 0
    os.lseek(file, 0, os.SEEK_SET)
    for block in _unpacked(_blocks(file, size)):
        digest.update(block)
        lines += block.count(b"\n")
    os.lseek(file, 0, os.SEEK_SET)
    return Content(digest.digest(), lines, size)


class Lines:
    """
    The lines of a descriptor, with their ends; None in the place of one that is too long.

    Args:
        file: The descriptor.
        size: Bytes to read at most; None for all there are.
    """

    def __init__(self, file: int, size: int | None = None) -> None:
        self._blocks = _unpacked(_blocks(file, size))
        # All mutable state: lines that are whole, in reverse; the beginning of the next one.
        self._whole: list[bytes] = []
        self._rest: list[bytes] = []
        self._length = 0
        self._ended = False

    @property
    def ready(self) -> bool:
        """
        Whether there is a line that was read already.
        """
        return bool(self._whole)

    def __iter__(self) -> Iterator[bytes | None]:
        """
        Itself.
        """
        return self

    def __next__(self) -> bytes | None:
        """
        The next line; waits for it.

        Raises:
            OSError: The source cannot be read.
            SourceError: It is gzipped and damaged.
        """
        while not self._whole:
            if self._ended:
                raise StopIteration
            block = next(self._blocks, None)
            self._take(block)
        line = self._whole.pop()
        return None if len(line) > MAX_LINE else line

    def _take(self, block: bytes | None) -> None:
        if block is None:
            self._ended = True
            if self._length:
                self._whole = [b"".join(self._rest)]
            return
        first, newline, others = block.partition(b"\n")
        # Of a line that is too long no more is kept than what shows that it is.
        if self._length <= MAX_LINE:
            self._rest.append(first)
            self._length += len(first)
        if not newline:
            return
        *whole, last = others.split(b"\n")
        lines = [b"".join((*self._rest, newline)), *(line + newline for line in whole)]
        self._whole = lines[::-1]
        self._rest, self._length = ([last], len(last)) if last else ([], 0)
