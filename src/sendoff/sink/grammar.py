"""
The words of a fault script.

Whatever `parse_fault` takes makes sense as a whole; anything else is refused with the word at fault
and what may stand there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sendoff.sink.contract import PATHS
from sendoff.sink.faults import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sendoff.sink.checks import Vendor

_WORDS = {str(kind): kind for kind in Kind if kind is not Kind.STATUS}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|)")
_VENDORS = {str(vendor): vendor for vendor in PATHS.values()}


def parse_fault(text: str) -> Fault:
    """
    The fault that a line of script describes.

    `WHAT [for T] [after T] [on datadog|freshpaint] [first N] [share P] [retry-after T]
    [retry-after-date T] [reset-header T]`, where T is a time: `2s`, `400ms`, or bare seconds.

    WHAT is one of

    - a status from 200 to 599: answered without processing the events
    - `html STATUS`: the same with a body of HTML, as proxies do
    - `redirect`: a 307 to another path of the sink
    - `hang`: the request is read and never answered nor processed
    - `reset-before`: the connection is reset, nothing is processed
    - `reset`: the events are processed, then the connection is reset
    - `truncate`: the events are processed, the answer ends before its `Content-Length`
    - `close`: answered as ever, then closed without having said so
    - `latency T`: answered T later, on top of any other fault

    `after` counts from the installation of the script, and `for` from there. `first` takes that
    many requests, `share` that part of them. The three headers go with the three kinds that answer
    by themselves: a status, `html` and `redirect`.

    Args:
        text: such as `429 for 2s retry-after 1 after 0.5s on freshpaint`.

    Raises:
        ValueError: the message names the word and what is allowed in its place.
    """
    try:
        return _fault(text)
    except ValueError as error:
        raise ValueError(f"fault {text!r}: {error}") from error


def _fault(text: str) -> Fault:
    words = iter(text.split())
    fields = _what(next(words, ""), words)
    for word in words:
        if word not in _OPTIONS:
            raise ValueError(f"{word!r} is none of {', '.join(_OPTIONS)}")
        name, read = _OPTIONS[word]
        if name in fields:
            raise ValueError(f"{word!r} is there twice")
        fields[name] = read(next(words, ""), word)
    fault = Fault(text=text, **fields)
    if not fault.answers and not _HEADERS.isdisjoint(fields):
        raise ValueError("headers need a status, html or redirect")
    return fault


def _what(word: str, words: Iterator[str]) -> dict[str, Any]:
    if word.isdecimal():
        return {"kind": Kind.STATUS, "status": _status(word, "a fault")}
    kind = _WORDS.get(word)
    match kind:
        case None:
            raise ValueError(f"{word!r} is neither a status nor one of {', '.join(_WORDS)}")
        case Kind.LATENCY:
            return {"kind": kind, "latency": _seconds(next(words, ""), word)}
        case Kind.HTML:
            return {"kind": kind, "status": _status(next(words, ""), word)}
        case Kind.REDIRECT:
            return {"kind": kind, "status": 307}
        case _:
            return {"kind": kind}


def _status(word: str, before: str) -> int:
    # Below 200 no answer is the final one.
    if not (word.isdecimal() and 200 <= int(word) <= 599):
        raise ValueError(f"{before} takes a status from 200 to 599, got {word!r}")
    return int(word)


def _seconds(word: str, before: str) -> float:
    found = _TIME.fullmatch(word)
    if found is None:
        raise ValueError(f"{before} takes a time such as 2s, 400ms or 1.5, got {word!r}")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _vendor(word: str, before: str) -> Vendor:
    if word not in _VENDORS:
        raise ValueError(f"{before} takes one of {', '.join(_VENDORS)}, got {word!r}")
    return _VENDORS[word]


def _number(word: str, before: str) -> int:
    if not (word.isdecimal() and int(word) > 0):
        raise ValueError(f"{before} takes a number from 1, got {word!r}")
    return int(word)


def _share(word: str, before: str) -> float:
    found = _TIME.fullmatch(word)
    if found is None or found[2] or not 0 < float(word) <= 1:
        raise ValueError(f"{before} takes a number above 0 and up to 1, got {word!r}")
    return float(word)


_OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "for": ("lasts", _seconds),
    "after": ("after", _seconds),
    "on": ("vendor", _vendor),
    "first": ("first", _number),
    "share": ("share", _share),
    "retry-after": ("retry_after", _seconds),
    "retry-after-date": ("retry_after_date", _seconds),
    "reset-header": ("reset_header", _seconds),
}
_HEADERS = frozenset({"retry_after", "retry_after_date", "reset_header"})
