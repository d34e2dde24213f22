"""
From Python values to JSON bytes, once, at the call.

Always holds: what comes out passes a strict JSON parser; no value makes it raise; the caller's
objects are not changed; the result is a bytes object of exact size, because what `orjson.dumps`
returns keeps its buffer, many times as large (`test_results_are_of_exact_size`).

The fast way is one `orjson.dumps` with `EXTRA_TYPES` behind it. Only when that fails, `Rescue`
walks the value, field by field, and puts a marker where nothing else helps. The fastest is
`fragments_of`: what an event has in it is encoded once for all destinations, which put it together.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

import orjson

from sendoff._values import Rescue, default
from sendoff.events import Fragments

__all__ = ["Encoder", "fragments_of"]

OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
"""
Moments are ours to write, for 1.4 µs each: `orjson` crashes the process (3.13, segmentation fault)
where a time zone's own `utcoffset` raises.
"""

MAX_NAMES = 1_000
MAX_NAME = 200
"""Names of events, and characters of them, whose JSON is remembered: applications have few."""

_names: dict[str, bytes] = {}
_dumps = orjson.dumps


def fragments_of(
    name: object,
    user_id: object,
    account_id: object,
    session_id: object,
    device_id: object,
    ip: object,
    properties: object,
    taken: frozenset[str],
) -> Fragments | None:
    """
    An event's parts as JSON, if it is plain: a name and ids of the usual types, a dict without
    surprises. What is not takes the general way, where it is checked and rescued.

    Args:
        name: The event's name.
        user_id: Who did it.
        account_id: In whose name.
        session_id: In which session.
        device_id: The device.
        ip: The end user's address.
        properties: The caller's own.
        taken: The vendors' names, none of which may be among the properties.
    """
    # By exact types throughout: a subclass may be anything. The order is that of what is cheap.
    try:
        if properties is None:
            separator, rest = b"", b"}"
        elif type(properties) is not dict or not taken.isdisjoint(properties):
            return None
        elif properties:
            separator, rest = b",", _dumps(properties, default, OPTIONS)[1:]
        else:
            separator, rest = b"", b"}"
        user = account = session = device = address = None
        if user_id is not None:
            user = _dumps(user_id) if type(user_id) is str and user_id else _id(user_id)
        if session_id is not None:
            session = (
                _dumps(session_id) if type(session_id) is str and session_id else _id(session_id)
            )
        if account_id is not None:
            account = _id(account_id)
        if device_id is not None:
            device = _id(device_id)
        if ip is not None:
            address = _address(ip)
        text = _names.get(name) or _name(name)  # type: ignore[call-overload]
    except Exception as exc:  # noqa: BLE001 as in `dumps`
        _pass_on(exc)
        return None
    return text, user, account, session, device, address, separator, rest


def _name(name: object) -> bytes:
    # An enumeration's members are text, and few.
    kind = type(name)
    if not (kind is str or (issubclass(kind, str) and issubclass(kind, Enum))) or not name:
        raise TypeError(kind.__qualname__)
    assert isinstance(name, str)
    text = b"%b" % _dumps(name)  # of exact size
    if len(_names) < MAX_NAMES and len(name) <= MAX_NAME:
        _names[name] = text
    return text


def _id(value: object) -> bytes | None:
    kind = type(value)
    if kind is str:
        return _dumps(value) if value else None
    if kind is int or kind is UUID:
        return b'"%b"' % str(value).encode()
    raise TypeError(kind.__qualname__)


def _address(value: object) -> bytes:
    kind = type(value)
    if kind is str and value:
        return _dumps(value)
    if kind is IPv4Address or kind is IPv6Address:
        return b'"%b"' % str(value).encode()
    raise TypeError(kind.__qualname__)


def _pass_on(exc: Exception) -> None:
    """
    Raises what orjson made an error of, though it is none, such as Ctrl-C.
    """
    cause = exc.__cause__
    if cause is not None and not isinstance(cause, Exception):
        raise cause from cause.__cause__


class Encoder:
    """
    Encodes values and counts the fields that became markers.
    """

    __slots__ = ("marked",)

    def __init__(self) -> None:
        self.marked = 0

    def dumps(self, value: object) -> bytes:
        """
        A value's JSON, in UTF-8, as a bytes object of exact size. Never raises for any value.
        """
        try:
            body = orjson.dumps(value, default, OPTIONS)
        except Exception as exc:  # noqa: BLE001 a caller's `model_dump` may raise whatever it likes
            _pass_on(exc)
            rescue = Rescue()
            body = orjson.dumps(rescue.plain(value))
            self.marked += rescue.marked
        return b"%b" % body  # a fresh object of exact size
