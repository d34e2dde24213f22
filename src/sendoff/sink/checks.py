"""
The rules of both vendors: what makes a request readable, and what makes an event acceptable.

Pure: what breaks a rule raises `ContractError`. Its reason is one of a closed set of phrases, so
that counting reasons is bounded; what varies (which event, which byte) stands in its detail. The
rules are the vendors' documented ones; where those say nothing, the stricter reading is taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sendoff.sink.strict import inflate, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sendoff.sink.settings import Settings

Vendor = Literal["datadog", "freshpaint"]
Event = dict[str, Any]

# Datadog documents 5 MB before compression; 10 MB is what gateways like Freshpaint's take.
MAX_BODY: dict[Vendor, int] = {"datadog": 5_000_000, "freshpaint": 10_000_000}

# Epoch seconds reach this in the year 5138; epoch milliseconds passed it in 1973.
_MAX_SECONDS = 1e11
SLICE = 1_000
"""Events that are checked in one go, for a millisecond or two."""

_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


class ContractError(Exception):
    """
    A request breaks the contract.

    Args:
        reason: the rule that it breaks, out of a closed set.
        detail: what varies, for the answer only.
        status: the status to answer.
    """

    def __init__(self, reason: str, detail: str = "", *, status: int = 400) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.detail: str = f"{reason}: {detail}" if detail else reason
        self.status: int = status


class Opened(NamedTuple):
    """
    The events of a request, before any of them was looked at.
    """

    events: list[Event]
    is_array: bool


def open_datadog(settings: Settings, headers: Mapping[str, str], body: bytes) -> Opened:
    """
    The events of a Datadog request: one object, an array, or newline-joined objects.

    Args:
        settings: the key to ask for.
        headers: by lower-case name, or in a mapping that does not mind case.
        body: as it came over the wire.

    Raises:
        ContractError: the key, the framing or the size is wrong.
    """
    key = headers.get("dd-api-key")
    if not key:
        raise ContractError("DD-API-KEY header is missing", status=401)
    if settings.api_key is not None and key != settings.api_key:
        raise ContractError("DD-API-KEY is not the right key", status=403)
    if encoding := headers.get("content-encoding"):
        try:
            body = inflate(body, encoding, MAX_BODY["datadog"])
        except ValueError as error:
            raise ContractError("body cannot be decompressed", str(error)) from error
    _check_size("datadog", body)
    return _split(headers.get("content-type", ""), body)


def _split(content_type: str, body: bytes) -> Opened:
    media, charset = _media_type(content_type)
    if media == "text/plain" and charset == "utf-8":
        lines = body.split(b"\n")
        if not all(line.strip() for line in lines):
            raise ContractError("newline-joined events hold an empty line")
        values, is_array = [_parse(line) for line in lines], False
    elif media == "application/json":
        value = _parse(body)
        is_array = isinstance(value, list)
        values = value if is_array else [value]
        if not values:
            raise ContractError("array of events is empty")
    else:
        raise ContractError("content type is not one of this vendor's", content_type)
    if not all(isinstance(value, dict) for value in values):
        raise ContractError("event is not an object")
    return Opened(values, is_array)


def check_datadog(settings: Settings, events: list[Event]) -> Iterator[None]:
    """
    Check every event of a Datadog request, a slice of them at a time.

    Args:
        settings: whether batches are taken, and which event is poison.
        events: at least one.

    Yields:
        Between two slices.

    Raises:
        ContractError: one of them is refused; the detail names its index.
    """
    if len(events) > 1 and not settings.accept_batches:
        raise ContractError("batches are not accepted")
    for index, event in enumerate(events):
        if index and index % SLICE == 0:
            yield
        reason = _flaw(event, settings.poison)
        if reason is not None:
            raise ContractError(reason, f"event {index}")


def _flaw(event: Event, poison: str | None) -> str | None:
    for field, key in (("application", "id"), ("event", "name")):
        if not is_text(_member(event, field, key)):
            return f"{field}.{key} is not a non-empty string"
    if event.get("type") != "server":
        return 'type is not "server"'
    actors = [field for field in ("usr", "account", "session") if field in event]
    if not actors:
        return "none of usr, account and session is there"
    for field in actors:
        if not is_text(_member(event, field, "id")):
            return f"{field}.id is not a non-empty string"
    if poison is not None and event["event"]["name"] == poison:
        return "poison event"
    return None


def open_freshpaint(headers: Mapping[str, str], body: bytes) -> Opened:
    """
    The one event of a Freshpaint request.

    Args:
        headers: by lower-case name, or in a mapping that does not mind case.
        body: as it came over the wire.

    Raises:
        ContractError: the framing or the size is wrong.
    """
    _check_size("freshpaint", body)
    if headers.get("content-encoding"):
        raise ContractError("content encoding is not accepted")
    media, _ = _media_type(headers.get("content-type", ""))
    if media != "application/json":
        raise ContractError("content type is not one of this vendor's", media)
    value = _parse(body)
    if not isinstance(value, dict):
        raise ContractError("event is not an object")
    return Opened([value], False)


def check_freshpaint(settings: Settings, event: Event) -> None:
    """
    Check the event of a Freshpaint request.

    Args:
        settings: the token to ask for.
        event: the whole body.

    Raises:
        ContractError: it is refused.
    """
    if not is_text(event.get("event")):
        raise ContractError("event is not a non-empty string")
    properties = event.get("properties")
    if not isinstance(properties, dict):
        raise ContractError("properties is not an object")
    for key in ("distinct_id", "token"):
        if not is_text(properties.get(key)):
            raise ContractError(f"{key} is not a non-empty string")
    if settings.token is not None and properties["token"] != settings.token:
        raise ContractError("token is not the right token", status=403)
    time = properties.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise ContractError("time is not a number")
    if time > _MAX_SECONDS:
        raise ContractError("time is in milliseconds, not in seconds")
    if time <= 0:
        raise ContractError("time is not a moment after 1970")
    _check_reserved(event["event"], properties)


def _check_reserved(name: str, properties: Event) -> None:
    insert_id = properties.get("$insert_id", "absent")
    if not (isinstance(insert_id, str) and _INSERT_ID.fullmatch(insert_id)):
        raise ContractError("$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -")
    for key in ("$device_id", "$ip"):
        if not isinstance(properties.get(key, ""), str):
            raise ContractError(f"{key} is not a string")
    options = properties.get("$options", {})
    if not isinstance(options, dict):
        raise ContractError("$options is not an object")
    # The reference prints the dotted name; it may mean a nested object as well as a flat key.
    for switches in (options.get("integrations", {}), properties.get("$options.integrations", {})):
        if not (
            isinstance(switches, dict) and all(isinstance(on, bool) for on in switches.values())
        ):
            raise ContractError("$options.integrations is not an object of booleans")
    if "$user_props" in properties:
        if name != "$identify":
            raise ContractError("$user_props is in an event other than $identify")
        if not isinstance(properties["$user_props"], dict):
            raise ContractError("$user_props is not an object")


def _check_size(vendor: Vendor, body: bytes) -> None:
    if len(body) > MAX_BODY[vendor]:
        raise ContractError(f"body is larger than {MAX_BODY[vendor]:,} bytes", status=413)


def _parse(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise ContractError("body is not valid JSON", str(error)) from error


def _media_type(content_type: str) -> tuple[str, str | None]:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = (part.removeprefix("charset=") for part in parameters if "charset=" in part)
    return media, next(charsets, None)


def _member(event: Event, field: str, key: str) -> Any:
    holder = event.get(field)
    return holder.get(key) if isinstance(holder, dict) else None


def is_text(value: Any) -> bool:
    """
    Whether a value is a string with something in it.
    """
    return isinstance(value, str) and value != ""
