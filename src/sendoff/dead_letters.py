"""
The file of dead letters: one JSON object a line for every event that was given up.

The form of a line and the way back live here; who writes, and when, is in `_letters`. Always holds:
a line is whole JSON on its own, so a line that a crash tore is told from a letter, and costs no
other.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sendoff.errors import OptionError
from sendoff.option_checks import check_number, check_posix

__all__ = [
    "DeadLetters",
    "Letter",
    "Parcel",
    "letter_lines",
    "letter_of",
    "lines_of",
    "read_letters",
]

FILE_NAME = "dead-letters.ndjson"
"""The file's name where a directory is given."""

MAX_BYTES = 64 * 2**20
"""Bytes of the file: some 100,000 letters, and as much as a queue holds."""

MAX_LINE = 16 * 2**20
"""Bytes of a line that is read: an event has at most 5 MB, a third more as base64."""

BASE64_KEY = "event_base64"


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """
    Where events go that are given up, instead of being dropped.

    Attributes:
        path: A file, which is made when it is needed, for its owner alone; or a directory, in which
            it is ``dead-letters.ndjson``. Several processes may share it.
        max_bytes: Bytes that the file may have; what does not fit is dropped. At least 1.

    Raises:
        OptionError: A value is outside its limits.
    """

    path: str | os.PathLike[str]
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        check_posix("dead_letters")
        try:
            path = os.fspath(self.path)
        except TypeError:
            path = None
        if not isinstance(path, str) or not path or "\0" in path:
            raise OptionError(
                "dead_letters must be a non-empty path, or a DeadLetters with one, not "
                f"{type(self.path).__name__ if not isinstance(path, str) else repr(path)}"
            )
        check_number("DeadLetters.max_bytes", self.max_bytes, least=1, whole=True)
        # A program that changes its directory later goes on with the same file.
        object.__setattr__(self, "path", os.path.abspath(path))

    @property
    def file(self) -> Path:
        """
        The file itself.
        """
        path = Path(self.path)
        return path / FILE_NAME if path.is_dir() else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """
    One event that was given up.

    Attributes:
        time: When it was given up: ISO 8601, UTC.
        destination: The name of the destination that did not get it.
        id: The event's id.
        reason: Why: a value of `DropReason`.
        status: The HTTP status of the last answer; None if there was none.
        detail: The vendor's words, shortened.
        event: The encoded event, as an object; None if the destination's bodies are no JSON.
        body: The encoded event where it is no JSON, otherwise None.
    """

    time: str
    destination: str
    id: str
    reason: str
    status: int | None
    detail: str
    event: dict[str, Any] | None = field(repr=False)
    body: bytes | None = field(repr=False)


# --- writing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """
    Events that were given up together, of which each becomes a letter.

    Attributes:
        bodies: The encoded events.
        ids: Their ids.
        time: When that was, epoch seconds.
        destination: The destination's name.
        reason: Why.
        status: The HTTP status of the last answer, if there was one.
        detail: The vendor's words.
    """

    bodies: Sequence[bytes]
    ids: Sequence[str]
    time: float
    destination: str
    reason: str
    status: int | None
    detail: str


def lines_of(parcel: Parcel) -> list[bytes]:
    """
    The lines of the events of a parcel.
    """
    moment = datetime.fromtimestamp(parcel.time, UTC).isoformat(timespec="milliseconds")
    before = {"time": moment.replace("+00:00", "Z"), "destination": parcel.destination}
    after = {"reason": parcel.reason, "status": parcel.status, "detail": parcel.detail}
    head = json.dumps(before)[:-1].encode() + b', "id": '
    middle = b", " + json.dumps(after)[1:-1].encode() + b", "
    text = json.JSONEncoder().encode  # made once: `json.dumps` takes ten times as long for an id
    return [
        b"".join((head, text(event_id).encode(), middle, _event_of(body), b"}\n"))
        for body, event_id in zip(parcel.bodies, parcel.ids, strict=True)
    ]


def _event_of(body: bytes) -> bytes:
    if _is_object(body):
        return b'"event": ' + body
    return b'"%s": "%s"' % (BASE64_KEY.encode(), base64.b64encode(body))


def _is_object(body: bytes) -> bool:
    """
    Whether a body is one JSON object on one line, so that it can stand inside another one.
    """
    if body[:1] != b"{" or b"\n" in body:
        return False
    try:
        _STRICT.decode(body.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_no_constant)  # NaN and infinities are not JSON


# --- reading --------------------------------------------------------------------------------------


def read_letters(path: str | os.PathLike[str]) -> Iterator[Letter | None]:
    """
    The letters of a file in order, and None for every line that is none: torn by a crash, or
    somebody else's.

    Reads what the file holds at the beginning; what is appended meanwhile is for the next time.

    Args:
        path: The file, or its directory, as `DeadLetters` takes it.

    Raises:
        OSError: The file cannot be read.
    """
    for line in letter_lines(path):
        yield letter_of(line)


def letter_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """
    The lines of a file that are not empty, without their ends; one above `MAX_LINE` is cut, so that
    it is no letter.

    Raises:
        OSError: The file cannot be read.
    """
    with DeadLetters(path).file.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while (begin := file.tell()) < end:
            line = file.readline(min(MAX_LINE, end - begin))
            if not line.endswith(b"\n"):
                _skip_line(file, end)
            line = line.strip(b"\r\n")
            if line:
                yield line


def _skip_line(file: BinaryIO, end: int) -> None:
    while (begin := file.tell()) < end:
        if file.readline(min(MAX_LINE, end - begin)).endswith(b"\n"):
            return


def letter_of(line: bytes) -> Letter | None:
    """
    The letter of a line, or None if it is none.
    """
    try:
        fields = json.loads(line)
        body = base64.b64decode(fields[BASE64_KEY], validate=True) if BASE64_KEY in fields else None
        event = fields["event"] if body is None else None
        letter = Letter(
            time=fields["time"],
            destination=fields["destination"],
            id=fields["id"],
            reason=fields["reason"],
            status=fields["status"],
            detail=fields["detail"],
            event=event,
            body=body,
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (letter.time, letter.destination, letter.id, letter.reason, letter.detail)
    if (
        not all(isinstance(text, str) for text in texts)
        or not isinstance(letter.status, int | None)
        or (body is None and not isinstance(event, dict))
    ):
        return None
    return letter
