"""
How events and acknowledgements lie in a file: framed, numbered, with a check sum each.

Plain: bytes in, values out, no I/O. Always holds: what is read back was written as it is (a check
sum covers number, id and body); whatever is damaged, every undamaged record is found, because each
begins with a mark that occurs in no UTF-8 text.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

__all__ = [
    "Header",
    "Parsed",
    "Record",
    "file_header",
    "frame",
    "frame_acks",
    "parse",
    "parse_acks",
    "read_header",
]

VERSION = 1

FILE_MARK = b"\xffsendoff-spool\n"
RECORD_MARK = b"\xff\xfe\xffR"
ACK_MARK = b"\xff\xfe\xffA"

_FILE = struct.Struct(">HHI")  # version, length of the name, check sum over both and the name
_RECORD = struct.Struct(">4sIIII")  # mark, number, length of id, length of body, check sum
_NUMBERS = struct.Struct(">III")  # what the check sum covers beside id and body
_ACK = struct.Struct(">4sIII")  # mark, first number, count, check sum
_RUN = struct.Struct(">II")

MAX_HEADER = len(FILE_MARK) + _FILE.size + 0xFFFF
"""Bytes of the longest file header."""


class Header(NamedTuple):
    """
    What a segment's header says.

    Attributes:
        version: The format's.
        name: The destination's, in format 1.
        size: Bytes of the header.
    """

    version: int
    name: str
    size: int


class Record(NamedTuple):
    """
    One event as it was written.

    Attributes:
        number: Its ordinal in the segment.
        id: The event's id.
        body: The encoded event.
        end: Where the next record begins, counted from the start of the bytes that were read.
    """

    number: int
    id: str
    body: bytes
    end: int


class Parsed(NamedTuple):
    """
    What some bytes of a segment hold.

    Attributes:
        records: The good ones, in order.
        end: Where to go on: before a record that is cut off by the end of the bytes, if more may
            follow.
        bad: Stretches of bytes that are no record.
        lost: Whether the bytes end within such a stretch.
    """

    records: list[Record]
    end: int
    bad: int
    lost: bool


# --- files ----------------------------------------------------------------------------------------


def file_header(name: str) -> bytes:
    """
    The beginning of a segment of one destination.
    """
    text = name.encode("utf-8", "surrogatepass")[:0xFFFF]
    numbers = struct.pack(">HH", VERSION, len(text))
    return FILE_MARK + _FILE.pack(VERSION, len(text), crc32(text, crc32(numbers))) + text


def read_header(data: bytes) -> Header | None:
    """
    The header at the beginning of a file, or None if there is none or it is damaged.
    """
    start = len(FILE_MARK) + _FILE.size
    if len(data) < start or not data.startswith(FILE_MARK):
        return None
    version, length, check = _FILE.unpack_from(data, len(FILE_MARK))
    text = data[start : start + length]
    if check != crc32(text, crc32(struct.pack(">HH", version, length))) or len(text) != length:
        return None
    return Header(version, text.decode("utf-8", "replace"), start + length)


# --- events ---------------------------------------------------------------------------------------

_pack_numbers = _NUMBERS.pack


def frame(number: int, event_id: str, body: bytes) -> bytes:
    """
    One event as a record.

    Args:
        number: Its ordinal in the segment, below 2 ** 32.
        event_id: Its id.
        body: The encoded event.
    """
    text = event_id.encode("utf-8", "surrogatepass")
    numbers = _pack_numbers(number, len(text), len(body))
    check = crc32(body, crc32(numbers + text)).to_bytes(4, "big")
    return b"".join((RECORD_MARK, numbers, check, text, body))  # one copy of the body


def parse(data: bytes, start: int = 0, *, final: bool, lost: bool = False) -> Parsed:
    """
    Finds every undamaged record.

    Args:
        data: Bytes of a segment.
        start: Where to begin.
        final: Whether nothing follows these bytes; otherwise a record may go on behind them.
        lost: Whether the bytes before these ended within something damaged, which is counted.
    """
    records: list[Record] = []
    bad = 0
    at, size = start, len(data)
    view = memoryview(data)
    while at < size:
        record = _record_at(data, view, at)
        if isinstance(record, Record):
            records.append(record)
            at = record.end
            lost = False
            continue
        if record is None and not final:
            return Parsed(records, at, bad, lost)
        if not lost:
            lost = True
            bad += 1
        found = data.find(RECORD_MARK, at + 1)
        if found < 0:
            # The last bytes may be the beginning of a mark.
            at = size if final else max(at + 1, size - len(RECORD_MARK) + 1)
            break
        at = found
    return Parsed(records, at, bad, lost)


def _record_at(data: bytes, view: memoryview, at: int) -> Record | bool | None:
    """
    The record that begins here; False if none does; None if it is cut off by the end.
    """
    head = view[at : at + _RECORD.size]
    if len(head) < _RECORD.size:
        return None if RECORD_MARK.startswith(bytes(head[:4])) else False
    mark, number, id_length, length, check = _RECORD.unpack(head)
    if mark != RECORD_MARK:
        return False
    middle = at + _RECORD.size + id_length
    end = middle + length
    if end > len(data):
        return None
    start = at + _RECORD.size
    if check != crc32(view[start:end], crc32(_NUMBERS.pack(number, id_length, length))):
        return False
    try:
        event_id = data[start:middle].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # its check sum is right, but we did not write it
        return False
    return Record(number, event_id, data[middle:end], end)


# --- acknowledgements -----------------------------------------------------------------------------


def frame_acks(runs: list[tuple[int, int]]) -> bytes:
    """
    Acknowledgements as records.

    Args:
        runs: First and last number of each.
    """
    packed = []
    for first, last in runs:
        count = last - first + 1
        packed.append(_ACK.pack(ACK_MARK, first, count, crc32(_RUN.pack(first, count))))
    return b"".join(packed)


def parse_acks(data: bytes) -> list[tuple[int, int]]:
    """
    First and last number of every undamaged acknowledgement; others are passed over, because better
    an event comes twice than never.
    """
    runs = []
    at = 0
    while 0 <= at <= len(data) - _ACK.size:
        mark, first, count, check = _ACK.unpack_from(data, at)
        if mark == ACK_MARK and check == crc32(_RUN.pack(first, count)) and count:
            runs.append((first, first + count - 1))
            at += _ACK.size
        else:
            at = data.find(ACK_MARK, at + 1)
    return runs
