"""
What a destination is: events → bodies → request, answer → verdict; and the one table of verdicts.

A destination is immutable, and its methods are plain: no await, clock, randomness or I/O. `encode`
runs in the caller's thread, at the call; everything else runs in the loop. To write a third one,
subclass `HttpDestination` and give it an `encode`, or satisfy the protocol `Destination` with a
class of your own.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sendoff.errors import EventRejected, OptionError
from sendoff.events import Action, Event, Framing, Request, Response, Verdict
from sendoff.options import Compression, Tuning, check_text, check_url

__all__ = ["FAILURES", "STATUSES", "Destination", "Dumps", "HttpDestination", "verdict_of_failure"]

Dumps = Callable[[object], bytes]
"""Encodes any value to JSON bytes and never raises; the lane's encoder, handed to `encode`."""

DETAIL_LENGTH = 200
"""Characters of a vendor's own words that go into a log line."""

EPOCH_MILLISECONDS = 1e11
"""A time above this is milliseconds: as seconds it would lie beyond the year 5000."""


# --- the protocol ---------------------------------------------------------------------------------


class Destination(Protocol):
    """
    An adapter for one vendor.
    """

    @property
    def name(self) -> str:
        """
        The key of this destination in `to=` and in `Stats.destinations`.
        """

    @property
    def endpoint(self) -> str:
        """
        The absolute URL that requests go to.
        """

    @property
    def tuning(self) -> Tuning:
        """
        The options that every destination has.
        """

    @property
    def framing(self) -> Framing:
        """
        What stands around and between the events of a request, so that the batcher can count it.
        """

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body given to `enqueue` without `to` has this vendor's shape.
        """

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        """
        One event's JSON object, or None if the vendor has no such thing (the event is then passed
        over, uncounted).

        Raises:
            EventRejected: The vendor would not take it.
        """

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A vendor's own body, checked; its JSON and its id (its own, if it carries one).

        Raises:
            EventRejected: The vendor would not take it.
        """

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        One request for one or more encoded events.
        """

    def verdict(self, response: Response, now: float) -> Verdict:
        """
        What an answer means.

        Args:
            response: The answer.
            now: Epoch seconds, for a ``Retry-After`` that is a date.
        """


# --- the table of verdicts ------------------------------------------------------------------------


class Row(NamedTuple):
    """
    One row of the table: an answer or a failure, what the lane does, the word for it, and why.
    """

    key: str
    action: Action
    reason: str
    why: str


STATUSES: tuple[Row, ...] = (
    Row(
        "2xx",
        Action.DELIVERED,
        "delivered",
        "the intake has it; if the body is an HTML page, as 5xx",
    ),
    Row("3xx", Action.HOLD, "redirect", "redirects are never followed with credentials"),
    Row("400", Action.NARROW, "bad_request", "an event is at fault; the rest of its batch is not"),
    Row("401", Action.HOLD, "unauthorized", "the key is missing or unknown"),
    Row("402", Action.HOLD, "payment_required", "the account is at fault, not the events"),
    Row("403", Action.HOLD, "forbidden", "the key is wrong, or a gateway does not know the path"),
    Row("404", Action.HOLD, "not_found", "the URL is wrong"),
    Row("405", Action.HOLD, "not_found", "the URL is wrong"),
    Row("407", Action.HOLD, "proxy_auth", "a proxy wants credentials"),
    Row("408", Action.RETRY, "request_timeout", "documented by Datadog as worth a retry"),
    Row("413", Action.SPLIT, "too_large", "the body is above the intake's limit"),
    Row("415", Action.HOLD, "unsupported_media", "framing or compression is not taken"),
    Row("421", Action.RETRY, "misdirected", "a fresh connection may reach the right server"),
    Row("423", Action.RETRY, "locked", "passing"),
    Row("425", Action.RETRY, "too_early", "passing"),
    Row(
        "429",
        Action.RETRY,
        "too_many_requests",
        "documented by both vendors' side as worth a retry",
    ),
    Row("4xx", Action.NARROW, "refused", "an event is at fault; the rest of its batch is not"),
    Row("5xx", Action.RETRY, "server_error", "passing"),
    Row("other", Action.RETRY, "bad_answer", "no final status: not an answer of the intake's"),
)
"""Every HTTP status. An exact row wins over its class."""

FAILURES: tuple[Row, ...] = (
    Row("resolve", Action.RETRY, "resolve", "the host's name has no address now; not sent"),
    Row("connect", Action.RETRY, "connect", "refused or unreachable; not sent"),
    Row("tls", Action.HOLD, "tls", "the certificate does not verify; not sent"),
    Row(
        "disconnected",
        Action.RETRY,
        "disconnected",
        "closed before an answer; perhaps sent; first retry at once",
    ),
    Row("timeout", Action.RETRY, "timeout", "no answer within `timeout`; perhaps sent"),
    Row("bad_answer", Action.RETRY, "bad_answer", "what came back is not HTTP; perhaps sent"),
)
"""Every way to get no answer."""

_ROW_OF_STATUS = {row.key: row for row in STATUSES}
_ROW_OF_FAILURE = {row.key: row for row in FAILURES}


def row_of_status(status: int) -> Row:
    """
    The table's row for a status.
    """
    row = _ROW_OF_STATUS.get(str(status)) or _ROW_OF_STATUS.get(f"{status // 100}xx")
    return row or _ROW_OF_STATUS["other"]


def verdict_of_failure(failure: str) -> Verdict:
    """
    What a request without an answer means.

    Args:
        failure: A key of `FAILURES`.
    """
    row = _ROW_OF_FAILURE[failure]
    return Verdict(row.action, row.reason, row.why, at_once=failure == "disconnected")


DELIVERED = Verdict(Action.DELIVERED, "delivered")


def verdict_of_response(response: Response, now: float) -> Verdict:
    """
    What an answer means, by the table, with the server's wish for a pause and its own words.
    """
    row = row_of_status(response.status)
    if row.action is Action.DELIVERED:
        if not _is_html(response.body):
            return DELIVERED
        # A captive portal or a proxy's page under a 200: the intake has not seen the events.
        return Verdict(Action.RETRY, "html_answer", f"{response.status} with an HTML page")
    return Verdict(
        row.action,
        row.reason,
        f"{response.status} {_own_words(response.body)}".rstrip(),
        retry_after=_retry_after(response.headers, now),
    )


def _is_html(body: bytes) -> bool:
    if body[:1] not in (b"<", b" ", b"\n", b"\r", b"\xef"):
        return False
    start = body.lstrip(b"\xef\xbb\xbf \r\n\t")[:14].lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _own_words(body: bytes) -> str:
    """
    The vendor's structured errors, ``{"errors":[{"title", "detail", "status"}]}``, every part
    optional, on one line.
    """
    try:
        errors = json.loads(body)["errors"]
        words = [
            ": ".join(str(error[part]) for part in ("title", "detail") if error.get(part))
            if isinstance(error, dict)
            else str(error)
            for error in errors
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    text = "; ".join(filter(None, words))[:DETAIL_LENGTH]
    return "".join(char if char.isprintable() else " " for char in text)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """
    Seconds that a server asks to wait: ``Retry-After`` as seconds or as a date, else
    ``X-RateLimit-Reset``.
    """
    text = headers.get("retry-after", "").strip()
    if text:
        seconds = _seconds(text)
        if seconds is not None:
            return seconds
        try:
            # Against the server's own clock where it shows it: ours may be off.
            wanted = parsedate_to_datetime(text).timestamp()
            sent = headers.get("date")
            base = parsedate_to_datetime(sent).timestamp() if sent else now
            return max(0.0, wanted - base)
        except (ValueError, TypeError, OverflowError):
            pass
    seconds = _seconds(headers.get("x-ratelimit-reset", ""))
    if seconds is not None and seconds > 1e9:  # an instant, not a span
        return max(0.0, seconds - now)
    return seconds


def _seconds(text: str) -> float | None:
    digits = text.strip()
    if not digits.replace(".", "", 1).isdigit() or not digits.isascii() or len(digits) > 20:
        return None
    return float(digits)


# --- a base to build on ---------------------------------------------------------------------------


class HttpDestination:
    """
    What most destinations share: one URL, constant headers, a framing, and the table of verdicts.

    Args:
        name: The key in `to=` and in the statistics.
        endpoint: The absolute URL.
        tuning: The common options.
        headers: Constant headers of every request, credentials included.
        framing: What stands around and between several events.
        batch_content_type: The content type of two or more events, if it is not JSON's.

    Raises:
        OptionError: A value is outside its limits.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoint: str,
        tuning: Tuning,
        headers: Mapping[str, str] | None = None,
        framing: Framing | None = None,
        batch_content_type: str = "application/json",
    ) -> None:
        check_text("name", name)
        check_url("endpoint", endpoint)
        self._name = name
        self._endpoint = endpoint
        self._tuning = tuning
        self._framing = framing or Framing()
        common = {"Accept": "application/json", **(headers or {})}
        if tuning.compression is not None:
            common["Content-Encoding"] = tuning.compression
        self._headers = {"Content-Type": "application/json", **common}
        self._batch_headers = {"Content-Type": batch_content_type, **common}
        if framing is None and tuning.max_batch_events != 1:
            raise OptionError("max_batch_events must be 1 for a destination without framing")

    def __repr__(self) -> str:
        """
        Name and URL; never a credential.
        """
        return f"{type(self).__name__}(name={self._name!r}, endpoint={self._endpoint!r})"

    @property
    def name(self) -> str:
        """
        The key of this destination in `to=` and in `Stats.destinations`.
        """
        return self._name

    @property
    def endpoint(self) -> str:
        """
        The absolute URL that requests go to.
        """
        return self._endpoint

    @property
    def tuning(self) -> Tuning:
        """
        The options that every destination has.
        """
        return self._tuning

    @property
    def framing(self) -> Framing:
        """
        What stands around and between the events of a request.
        """
        return self._framing

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body given to `enqueue` without `to` has this vendor's shape: by default, every
        body has.
        """
        return True

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A vendor's own body, as it is.
        """
        return dumps(payload), event_id

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        One request: a single event goes as it is, several go in the framing.
        """
        if len(bodies) == 1:
            return Request(self._endpoint, self._headers, bodies[0])
        framing = self._framing
        body = b"".join((framing.opening, framing.separator.join(bodies), framing.closing))
        return Request(self._endpoint, self._batch_headers, body)

    def verdict(self, response: Response, now: float) -> Verdict:
        """
        What an answer means, by the table `STATUSES`.
        """
        return verdict_of_response(response, now)


def compressed(request: Request, method: Compression) -> Request:
    """
    A request with its body compressed; the headers say so already. Takes 10 ms and more for a large
    body.
    """
    # mtime=0: equal events give equal bytes.
    body = (
        gzip.compress(request.body, 6, mtime=0)
        if method == "gzip"
        else zlib.compress(request.body, 6)
    )
    return Request(request.url, request.headers, body)


# --- checks that destinations share ---------------------------------------------------------------


def text_id(field: str, value: object) -> str | None:
    """
    An id as the vendors want it, a string: None and the empty string mean there is none.

    Args:
        field: The argument's name, for the message.
        value: A str, an int or a UUID.

    Raises:
        EventRejected: The value is of another type.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return str(value)
    raise EventRejected(
        f"invalid_{field}", f"{field} must be a str, int or UUID, not {type(value).__name__}"
    )


_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


def insert_id_of(value: object, *, field: str = "insert_id") -> str:
    """
    An id of an event as Freshpaint takes it: 1 to 36 characters of ``[A-Za-z0-9-]``; a UUID will
    do.

    Raises:
        EventRejected: It is not.
    """
    text = str(value) if isinstance(value, UUID) else value
    if isinstance(text, str) and _INSERT_ID.fullmatch(text):
        return text
    raise EventRejected("invalid_insert_id", f"{field} must be 1 to 36 of A-Z a-z 0-9 -")


def event_name(value: object) -> str:
    """
    An event's name, a non-empty str.

    Raises:
        EventRejected: It is not.
    """
    if isinstance(value, str) and value:
        return value
    kind = "an empty str" if isinstance(value, str) else type(value).__name__
    raise EventRejected("invalid_event", f"the event's name must be a non-empty str, not {kind}")


def object_of(field: str, value: object) -> Mapping[Any, Any]:
    """
    Properties as a mapping; None means none.

    Raises:
        EventRejected: The value is of another type.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise EventRejected(
        f"invalid_{field}", f"{field} must be a mapping, not {type(value).__name__}"
    )


def epoch_seconds(value: object) -> float:
    """
    Epoch seconds from a number or a datetime (one without a zone is taken as UTC).

    Raises:
        EventRejected: It is no time, or it is in milliseconds.
    """
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise EventRejected(
            "invalid_time", f"time must be epoch seconds or a datetime, not {type(value).__name__}"
        )
    if not 0 <= value < EPOCH_MILLISECONDS:
        raise EventRejected("invalid_time", "time must be epoch seconds, not milliseconds")
    return float(value)


def without(reserved: frozenset[str], properties: Mapping[Any, Any]) -> dict[Any, Any]:
    """
    A copy of properties in which no key is one of the vendor's: such a key gets underscores behind
    it, its value stays.
    """
    result = {key: value for key, value in properties.items() if key not in reserved}
    for key, value in properties.items():
        if key in reserved:
            name = f"{key}_"
            while name in result or name in reserved:
                name += "_"
            result[name] = value
    return result
