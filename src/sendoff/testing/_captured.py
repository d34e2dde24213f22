"""
One captured event, and one refusal, as a test sees them.

Always holds: both are made of what was noted at the call, so later changes to the app's objects do
not show; an event that came by `enqueue` has the same neutral form as one that came by `track`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sendoff.diversion import Given, Refusal
from sendoff.testing._matching import id_form

__all__ = ["CapturedEvent", "Rejection", "captured", "filtered_name", "line", "rejection"]

IDENTIFY = "$identify"
"""The name under which an identification is captured: what Freshpaint calls it."""

OF_DATADOG = frozenset(("application", "event", "type", "usr", "account", "session", "date"))
OF_FRESHPAINT = frozenset(
    (
        *("token", "distinct_id", "time", "$insert_id", "$device_id", "$ip", "$options"),
        *("account_id", "session_id", "$user_props"),
    )
)
"""Names of the vendors' fields that are no properties."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CapturedEvent:
    """
    One event that at least one destination took.

    Attributes:
        name: Its name; ``"$identify"`` for an identification.
        user_id: The user, as text.
        account_id: The account, as text.
        session_id: The session, as text.
        device_id: The device, as text.
        properties: The app's own properties, in the form that JSON gave them at the call; of an
            identification, those of the user.
        time: When it happened, as it was given: epoch seconds or a datetime.
        ip: The end user's address, as text.
        id: Its id, as the call returned it.
        integrations: Freshpaint's switches of downstream tools; None if none were given.
        call: By which call it came: ``"track"``, ``"identify"`` or ``"enqueue"``.
        bodies: What each destination that took it would have been sent, by the destination's name;
            without a credential that is put in at every sending (Freshpaint's token, which is None
            here). Bytes, where a destination of yours makes something else than JSON.
    """

    name: str
    user_id: str | None
    account_id: str | None
    session_id: str | None
    device_id: str | None
    properties: Mapping[str, Any]
    time: Any
    ip: str | None
    id: str
    integrations: Mapping[str, bool] | None
    call: Literal["track", "identify", "enqueue"]
    bodies: Mapping[str, Any]

    @property
    def destinations(self) -> tuple[str, ...]:
        """
        The names of the destinations that took it.
        """
        return tuple(self.bodies)

    def __repr__(self) -> str:
        """
        Name, ids and properties, on one line.
        """
        return f"<{line(self)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """
    That a destination did not take an event.

    Attributes:
        destination: The destination's name.
        reason: The word under which `stats` counts it, such as ``"missing_identity"``.
        detail: What is missing or wrong.
        name: The event's name; None where it is not known, or none.
    """

    destination: str
    reason: str
    detail: str
    name: str | None


def captured(given: Given) -> CapturedEvent:
    """
    The event that a test sees of what was noted.
    """
    return CapturedEvent(
        **_neutral(given),
        id=next(iter(given.ids.values()), ""),
        call=given.call,
        bodies=MappingProxyType({name: _parsed(body) for name, body in given.bodies.items()}),
    )


def rejection(refusal: Refusal) -> Rejection:
    """
    The refusal that a test sees of what was noted.
    """
    name = None if refusal.given is None else _neutral(refusal.given)["name"]
    return Rejection(
        destination=refusal.destination,
        reason=refusal.reason,
        detail=refusal.detail,
        name=name if isinstance(name, str) else None,
    )


def filtered_name(given: Given) -> str:
    """
    The name of an event that `before_send` took back.
    """
    return str(_neutral(given)["name"])


def line(event: CapturedEvent) -> str:
    """
    An event on one line, without what is not there.
    """
    shown = ("user_id", "account_id", "session_id", "device_id")
    parts = [f"{name}={value!r}" for name in shown if (value := getattr(event, name)) is not None]
    return " ".join([repr(event.name), *parts, f"properties={dict(event.properties)!r}"])


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _neutral(given: Given) -> dict[str, Any]:
    event = given.event
    if event is None:
        return _of_payload(given.payload)
    return {
        "name": IDENTIFY if event.identify else event.name,
        "user_id": id_form(event.user_id),
        "account_id": id_form(event.account_id),
        "session_id": id_form(event.session_id),
        "device_id": id_form(event.device_id),
        "properties": event.properties or {},
        "time": event.time,
        "ip": None if event.ip is None else str(event.ip),
        "integrations": event.integrations,
    }


def _of_payload(payload: Any) -> dict[str, Any]:
    """
    A vendor's own body in neutral form, by its shape; one in no known shape is all properties.
    """
    body = _object(payload)
    event, inner = body.get("event"), body.get("properties")
    if isinstance(event, dict):
        return {
            "name": event.get("name"),
            **{f"{to}_id": _id_in(body, field) for to, field in _ACTORS},
            "device_id": None,
            "properties": _but(body, OF_DATADOG),
            "time": body.get("date"),
            "ip": None,
            "integrations": None,
        }
    fields = _object(inner)
    properties = _but(fields if isinstance(event, str) else body, OF_FRESHPAINT)
    return {
        "name": event,
        "user_id": fields.get("distinct_id"),
        "account_id": fields.get("account_id"),
        "session_id": fields.get("session_id"),
        "device_id": fields.get("$device_id"),
        "properties": _object(fields.get("$user_props")) if event == IDENTIFY else properties,
        "time": fields.get("time"),
        "ip": fields.get("$ip"),
        "integrations": _object(fields.get("$options")).get("integrations"),
    }


_ACTORS = (("user", "usr"), ("account", "account"), ("session", "session"))


def _id_in(body: Mapping[str, Any], field: str) -> Any:
    return _object(body.get(field)).get("id")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _but(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
