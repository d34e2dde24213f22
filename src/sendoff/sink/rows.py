"""
What the live page shows of one event or request: a row of plain values.

Pure. A row holds text and numbers only, and its body is text already: a browser that parsed it
would round large numbers. No body is shown beyond `TEXT_LIMIT` characters, and none costs much more
than that to print, however large it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sendoff.sink.strict import inflate, parse_json

if TYPE_CHECKING:
    from sendoff.sink.checks import Event, Vendor
    from sendoff.sink.contract import Verdict

Row = dict[str, Any]

# A screen shows some 4,000 characters; what is longer than this nobody reads in a list of events.
TEXT_LIMIT = 65_536

# The kinds of rows that a page can ask for. "faulted" met a scripted fault, whatever came of it.
KINDS = ("accepted", "refused", "faulted", "repeated")

_PRINTER = json.JSONEncoder(indent=2, ensure_ascii=False)


class Note(NamedTuple):
    """
    One request to a vendor, as it was dealt with.

    Args:
        vendor: to whom it was sent.
        arrived: when, by the monotonic clock.
        size: bytes of its body as sent.
        status: what it was answered; `None` if it got no answer.
        fault: the text of the scripted fault that shaped its answer.
        verdict: what the contract says; `None` where a fault kept it from it.
        first: the place of its first event among all that the vendor has accepted.
        repeats: which of its events carry an id that had been accepted before.
        body: its beginning, as sent, where its events were not accepted.
        encoding: its `Content-Encoding`.
    """

    vendor: Vendor
    arrived: float
    size: int
    status: int | None
    fault: str | None = None
    verdict: Verdict | None = None
    first: int = 0
    repeats: frozenset[int] = frozenset()
    body: bytes = b""
    encoding: str | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """
        The accepted events; none where the request was refused or kept from being looked at.
        """
        return self.verdict.events if self.verdict is not None else ()


class Wanted(NamedTuple):
    """
    What a page wants to see; an empty field means everything.

    Args:
        vendor: to whom the events went.
        kind: one of `KINDS`.
        name: a part of the event's name, whatever its case.
        user: a part of the id of its user, account or session, whatever its case.
    """

    vendor: str = ""
    kind: str = ""
    name: str = ""
    user: str = ""

    def takes_note(self, note: Note) -> bool:
        """
        Whether any row of a request could be wanted, by all that needs no look at its events.
        """
        if self.vendor not in ("", note.vendor):
            return False
        match self.kind:
            case "accepted":
                return bool(note.events)
            case "refused":
                return note.verdict is not None and note.verdict.reason is not None
            case "faulted":
                return note.fault is not None
            case "repeated":
                return bool(note.repeats)
        return True

    def takes(self, note: Note, index: int) -> bool:
        """
        Whether the row of one event is wanted.

        Args:
            note: a request that `takes_note` took.
            index: which of its events; 0 where none was accepted.
        """
        if self.kind == "repeated" and index not in note.repeats:
            return False
        if not (self.name or self.user):
            return True
        event = note.events[index] if note.events else _guess(note)[0]
        return self._takes_words(name_of(note.vendor, event), user_of(note.vendor, event))

    def takes_row(self, row: Row) -> bool:
        """
        Whether a row that was made before is wanted.
        """
        if self.vendor not in ("", row["vendor"]):
            return False
        if self.kind and self.kind not in row["kinds"]:
            return False
        return self._takes_words(row["name"], row["user"])

    def _takes_words(self, name: str, user: str) -> bool:
        return self.name.lower() in name.lower() and self.user.lower() in user.lower()


def row_of(note: Note, index: int, *, key: str, at: float | None) -> Row:
    """
    The row of one accepted event, or of a request none of whose events was accepted.

    Args:
        note: the request.
        index: which of its events; 0 where none was accepted.
        key: what no other row since the last reset has.
        at: epoch seconds of its arrival; `None` where nobody has noted it.
    """
    verdict = note.verdict
    if note.events:
        event, count = note.events[index], len(note.events)
        text, cut = text_of(event)
    else:
        event, count = _guess(note)
        text, cut = _raw_text(note)
    refused = verdict is not None and verdict.reason is not None
    facts = (bool(note.events), refused, note.fault is not None, index in note.repeats)
    return {
        "key": key,
        "vendor": note.vendor,
        "at": at,
        "status": note.status,
        "fault": note.fault,
        "reason": _detail(verdict) if refused else None,
        "kinds": [kind for kind, holds in zip(KINDS, facts, strict=True) if holds],
        "name": name_of(note.vendor, event),
        "user": user_of(note.vendor, event),
        "id": id_of(note, index),
        "size": note.size,
        "count": count,
        "index": index,
        "body": text,
        "cut": cut,
    }


def text_of(value: Any) -> tuple[str, bool]:
    """
    A JSON value as text for people, and whether some of it had to be left out.

    Args:
        value: what `json.loads` can return.
    """
    # Not all at once: printing stops where nobody would see the rest. The indentation alone stops
    # it at some 250 levels, so that no nesting is too deep for it.
    parts: list[str] = []
    size = 0
    for part in _PRINTER.iterencode(value):
        parts.append(part)
        size += len(part)
        if size > TEXT_LIMIT:
            break
    return "".join(parts)[:TEXT_LIMIT], size > TEXT_LIMIT


def name_of(vendor: Vendor, event: Any) -> str:
    """
    The name of an event, or `""` where it has none.
    """
    return _text(event, "event", "name") if vendor == "datadog" else _text(event, "event")


def user_of(vendor: Vendor, event: Any) -> str:
    """
    Who an event is about: the id of its user, else of its account or session, else `""`.
    """
    if vendor == "freshpaint":
        return _text(event, "properties", "distinct_id")
    found = (_text(event, field, "id") for field in ("usr", "account", "session"))
    return next(filter(None, found), "")


def id_of(note: Note, index: int) -> str:
    """
    The id of an accepted event, or `""` where it has none.
    """
    ids = note.verdict.ids if note.verdict is not None else ()
    return (ids[index] or "") if index < len(ids) else ""


def _text(event: Any, *path: str) -> str:
    for key in path:
        event = event.get(key) if isinstance(event, dict) else None
    return event if isinstance(event, str) else ""


def _detail(verdict: Verdict | None) -> str:
    # The closed phrase is counted; what was wrong with this very body stands in the answer.
    assert verdict is not None
    try:
        answer = json.loads(verdict.body)
        found = answer["errors"][0]["detail"] if "errors" in answer else answer["error"]
    except (ValueError, KeyError, IndexError, TypeError):
        found = verdict.reason
    return str(found)


def _plain_body(note: Note) -> bytes:
    if not note.encoding:
        return note.body
    try:
        return inflate(note.body, note.encoding, TEXT_LIMIT)
    except ValueError:
        return b""


def _guess(note: Note) -> tuple[Any, int]:
    # What was not judged is read as far as it can be: in an outage one wants to know what is tried.
    try:
        value = parse_json(_plain_body(note))
    except ValueError:
        return None, 0
    if isinstance(value, list):
        return (value[0] if value else None), len(value)
    return value, 1


def _raw_text(note: Note) -> tuple[str, bool]:
    plain = _plain_body(note)
    if not plain and note.size:
        return f"({note.size:,} bytes that cannot be decompressed)", False
    try:
        return text_of(parse_json(plain))
    except ValueError:  # malformed: shown as it came
        text = plain.decode(errors="replace")
        return text[:TEXT_LIMIT], len(text) > TEXT_LIMIT or note.size > len(plain)
