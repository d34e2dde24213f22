"""
What the two vendors answer to one request.

Pure: `judge` gets everything that it looks at. One bad event refuses its whole request. Whatever is
refused carries a reason out of the closed set in `checks`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from sendoff.sink.checks import (
    SLICE,
    ContractError,
    Event,
    Opened,
    Vendor,
    check_datadog,
    check_freshpaint,
    is_text,
    open_datadog,
    open_freshpaint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sendoff.sink.settings import Settings

PATHS: dict[str, Vendor] = {"/api/v2/prodlytics": "datadog", "/track": "freshpaint"}
ACCEPTED: dict[Vendor, int] = {"datadog": 202, "freshpaint": 200}
JSON: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a vendor makes of one request.

    Args:
        status: the HTTP status.
        body: the body of the answer.
        headers: the headers that say more than how long it is.
        count: how many events the request held; 0 if it could not be read so far.
        events: the events that were accepted, in order: all of them or none.
        ids: the id of each accepted event, `None` where it has none.
        reason: why it was refused, out of a closed set; `None` if it was accepted.
        array_of_one: a single event that came in an array.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = JSON
    count: int = 0
    events: tuple[Event, ...] = ()
    ids: tuple[str | None, ...] = ()
    reason: str | None = None
    array_of_one: bool = False

    @property
    def malformed(self) -> bool:
        """
        Whether it was refused before any event in it could be looked at.
        """
        return self.status == HTTPStatus.BAD_REQUEST and self.count == 0


def judge(
    settings: Settings, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Verdict:
    """
    What the vendor that listens on `path` answers.

    Args:
        settings: keys, tokens and what else the vendor was told to refuse.
        method: the request's method, in capitals.
        path: the path without a query.
        headers: by lower-case name, or in a mapping that does not mind case.
        body: all of it, as it came over the wire.
    """
    *_, verdict = judging(settings, method, path, headers, body)
    assert verdict is not None
    return verdict


def judging(
    settings: Settings, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Iterator[Verdict | None]:
    """
    As `judge`, in steps: a batch of thousands takes many milliseconds, in which a server would note
    nothing that arrives.

    Args:
        settings: as there, and so are the others.
        method: the request's method.
        path: the path.
        headers: the headers.
        body: the body.

    Yields:
        None between two steps, and in the end what the vendor answers.
    """
    vendor = PATHS.get(path)
    if vendor is None:
        yield Verdict(404, b'{"error":"no such path"}', reason="no such path")
        return
    opened = Opened([], False)
    try:
        if method != "POST":
            raise ContractError("method is not POST", status=405)
        if vendor == "datadog":
            opened = open_datadog(settings, headers, body)
            if len(opened.events) > SLICE:
                yield None
            yield from check_datadog(settings, opened.events)
            ids = [event.get(settings.id_attribute) for event in opened.events]
        else:
            opened = open_freshpaint(headers, body)
            check_freshpaint(settings, opened.events[0])
            ids = [opened.events[0]["properties"].get("$insert_id")]
    except ContractError as error:
        yield Verdict(
            error.status,
            error_body(vendor, error.status, error.detail),
            headers=(*JSON, ("Allow", "POST")) if error.status == 405 else JSON,
            count=len(opened.events),
            reason=error.reason,
        )
        return
    yield Verdict(
        ACCEPTED[vendor],
        b"{}",
        count=len(opened.events),
        events=tuple(opened.events),
        ids=tuple(found if is_text(found) else None for found in ids),
        array_of_one=opened.is_array and len(opened.events) == 1,
    )


def error_body(vendor: Vendor, status: int, detail: str) -> bytes:
    """
    The body with which a vendor explains a refusal.

    Args:
        vendor: whose manner it is in.
        status: the HTTP status.
        detail: the explanation.
    """
    if vendor == "freshpaint":
        return json.dumps({"error": detail}).encode()
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return json.dumps(
        {"errors": [{"title": title, "detail": detail, "status": str(status)}]}
    ).encode()
