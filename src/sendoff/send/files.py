"""
The files that a run writes beside the vendors: rows that are no events, and dead letters.

Always holds: a line is whole JSON in one write; a file is made when it is first needed, for its
owner alone, since what is in it is your data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from sendoff.send.items import BadRow, Row

__all__ = ["append", "reject_line"]


def append(path: Path, data: bytes) -> None:
    """
    Appends whole lines to a file that others may append to as well.

    Raises:
        OSError: They could not be written.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # torn by a crash
            data = b"\n" + data
        if os.write(file, data) < len(data):
            raise OSError("the disk is full")
    finally:
        os.close(file)


def reject_line(row: Row, error: BadRow, vendor: str | None = None) -> bytes:
    """
    A row that was not sent, as a line of the file of such rows.

    Args:
        row: The row.
        error: Why.
        vendor: Who would not take it; None if nobody could.
    """
    line = {
        "row": row.number,
        "to": vendor,
        "reason": error.reason,
        "detail": error.detail,
        "text": row.text,
    }
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
