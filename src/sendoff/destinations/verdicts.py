"""
The one table of verdicts: what every status, and every way to get no answer, means for the events.

Plain, and total: whatever a vendor, a proxy or a portal sends back has a verdict, and reading it
never raises. The documents' table is made from this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from sendoff.destinations.wording import in_plain_words
from sendoff.events import Action, Response, Verdict

__all__ = [
    "DELIVERED",
    "FAILURES",
    "STATUSES",
    "is_plain_success",
    "verdict_of_failure",
    "verdict_of_response",
]

DETAIL_LENGTH = 200
"""Characters of a vendor's own words that go into a log line."""

HTML_START = 512
"""Bytes of an answer in which a page shows that it is one."""


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
    Row("406", Action.HOLD, "misconfigured", "the request's form is not taken, whatever is in it"),
    Row("407", Action.HOLD, "proxy_auth", "a proxy wants credentials"),
    Row("408", Action.RETRY, "request_timeout", "documented by Datadog as worth a retry"),
    Row("410", Action.HOLD, "not_found", "the URL is no more"),
    Row("411", Action.HOLD, "misconfigured", "something on the way strips the length"),
    Row("413", Action.SPLIT, "too_large", "the body is above the intake's limit"),
    Row("414", Action.HOLD, "not_found", "the URL is wrong"),
    Row("415", Action.HOLD, "unsupported_media", "framing or compression is not taken"),
    Row("417", Action.HOLD, "misconfigured", "the request's form is not taken"),
    Row("421", Action.RETRY, "misdirected", "a fresh connection may reach the right server"),
    Row("423", Action.RETRY, "locked", "passing"),
    Row("425", Action.RETRY, "too_early", "passing"),
    Row(
        "429",
        Action.RETRY,
        "too_many_requests",
        "documented by both vendors' side as worth a retry",
    ),
    Row("426", Action.HOLD, "misconfigured", "another protocol is wanted"),
    Row("431", Action.HOLD, "misconfigured", "the headers are too large"),
    Row("451", Action.HOLD, "forbidden", "the account is at fault, not the events"),
    Row("4xx", Action.NARROW, "refused", "an event is at fault; the rest of its batch is not"),
    Row("5xx", Action.RETRY, "server_error", "passing"),
    Row("other", Action.RETRY, "bad_answer", "no final status: not an answer of the intake's"),
)
"""Every HTTP status. An exact row wins over its class."""

FAILURES: tuple[Row, ...] = (
    Row("resolve", Action.RETRY, "resolve", "the host's name has no address now; not sent"),
    Row("connect", Action.RETRY, "connect", "refused or unreachable; not sent"),
    Row("connect_timeout", Action.RETRY, "connect_timeout", "no connection in time; not sent"),
    Row(
        "tls",
        Action.HOLD,
        "tls",
        "one side does not take the other's certificate or version; nothing was taken",
    ),
    Row("proxy", Action.RETRY, "proxy", "the proxy is not there or gets no connection; not sent"),
    Row(
        "proxy_refused",
        Action.HOLD,
        "proxy_refused",
        "the proxy wants other credentials, or does not let this through; not sent",
    ),
    Row(
        "session",
        Action.HOLD,
        "session",
        "the session you gave is closed, or of another loop or process; not sent",
    ),
    Row(
        "no_credential",
        Action.HOLD,
        "no_credential",
        "the callable that gives the key or token gave none; not sent",
    ),
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


def verdict_of_failure(failure: str, detail: str = "") -> Verdict:
    """
    What a request without an answer means.

    Args:
        failure: A key of `FAILURES`.
        detail: What else is known, for the log line.
    """
    row = _ROW_OF_FAILURE[failure]
    why = f"{row.why}: {detail}" if detail else row.why
    return Verdict(row.action, row.reason, why, at_once=failure == "disconnected")


DELIVERED = Verdict(Action.DELIVERED, "delivered")
"""The verdict of every answer that means it; one object, as there is one for every event."""


def is_plain_success(response: Response) -> bool:
    """
    Whether an answer surely means that the intake has the events: what nearly all answers are, told
    without reading the table.
    """
    # The start that `_is_html` looks at.
    return 200 <= response.status < 300 and response.body.find(b"<", 0, HTML_START) < 0


def verdict_of_response(response: Response, now: float, secrets: Sequence[str] = ()) -> Verdict:
    """
    What an answer means, by the table, with the server's wish for a pause and those of its own
    words that are in `sendoff.destinations.wording.WORDS`.

    Args:
        response: The answer.
        now: Epoch seconds.
        secrets: Texts that are not shown even if they are such words.
    """
    row = row_of_status(response.status)
    if row.action is Action.DELIVERED:
        if not _is_html(response):
            return DELIVERED
        # A captive portal or a proxy's page under a 200: the intake has not seen the events.
        return Verdict(
            Action.RETRY,
            "html_answer",
            f"{response.status} with an HTML page",
            status=response.status,
        )
    return Verdict(
        row.action,
        row.reason,
        f"{response.status} {_own_words(response.body, secrets)}".rstrip(),
        retry_after=_retry_after(response.headers, now),
        status=response.status,
    )


def _is_html(response: Response) -> bool:
    start = response.body[:HTML_START].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start.startswith(b"<"):
        return False
    return b"html" in start or "html" in response.headers.get("content-type", "")


def _own_words(body: bytes, secrets: Sequence[str]) -> str:
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
    text = "; ".join(filter(None, words))
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "…")
    # Cut first: an answer of 64 KiB need not be read to its end.
    return in_plain_words(text[:DETAIL_LENGTH])


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
        wanted = _instant(text)
        if wanted is not None:
            # Against the server's own clock where it shows it: ours may be off.
            sent = _instant(headers.get("date", ""))
            return max(0.0, wanted - (now if sent is None else sent))
    seconds = _seconds(headers.get("x-ratelimit-reset", ""))
    if seconds is not None and seconds > 1e9:  # an instant, not a span
        return max(0.0, seconds - now)
    return seconds


def _instant(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # An HTTP date is in UTC, whatever it says of a zone.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds(text: str) -> float | None:
    digits = text.strip()
    if not digits.replace(".", "", 1).isdigit() or not digits.isascii() or len(digits) > 20:
        return None
    return float(digits)
