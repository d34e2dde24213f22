"""
What becomes of values that JSON does not know: the table of extra types, and the rescue of a value
that the encoder refused.

Always holds: no value makes the rescue raise; the caller's objects are not changed; what comes out
is made of JSON's own types.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import sys
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

__all__ = ["EXTRA_TYPES", "Rescue", "default", "marker"]

MAX_DEPTH = 200
"""
Levels that a rescued value keeps: orjson stops at 254, and strict parsers of other makes stop
early, too.
"""

MAX_NODES = 100_000
"""
Values that a rescued event keeps. The fast way has no such bound: `orjson` writes a part that is
shared as often as it is reached, as every JSON encoder does.
"""

MAX_KEYS = 10_000
"""Keys of a nested mapping that is no dict: one of somebody's may have no end."""

MIN_INT, MAX_INT = -(2**63), 2**64 - 1


# --- the table of extra types ---------------------------------------------------------------------


def marker(value: object) -> str:
    """
    What stands in for a value that has no JSON form: its type's name, never its content.
    """
    name: str = _QUALNAME.__get__(type(value))  # a metaclass may have a raising one of its own
    return f"<unserializable {_text(name)}>"


_QUALNAME = type.__dict__["__qualname__"]


def _decimal(value: Decimal) -> float | str:
    if value.is_finite() and Decimal(repr(float(value))) == value:
        return float(value)
    return str(value)


def _items(value: Any) -> list[Any]:
    # What a subclass of a collection holds, whatever its own `__iter__` says: that may have no end.
    for base in (list, tuple, deque, set, frozenset):
        if issubclass(type(value), base):
            return list(base.__iter__(value))
    raise TypeError(type(value))


def _mapping(value: Mapping[Any, Any]) -> dict[Any, Any]:
    result = {key: value[key] for key in itertools.islice(value, MAX_KEYS + 1)}
    if len(result) > MAX_KEYS:
        raise ValueError("too many keys")
    return result


def _set(value: Any) -> list[Any]:
    items = _items(value)
    try:
        items.sort()
    except TypeError:
        items.sort(key=repr)
    return items


def _attrs(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _field_names(value)}


def _field_names(value: Any) -> list[str]:
    kind = type(value)
    fields = kind.__attrs_attrs__ if hasattr(kind, "__attrs_attrs__") else dataclasses.fields(kind)
    return [field.name for field in fields]


def _scalar(value: Any) -> Any:
    plain = value.item()
    return float(plain) if type(plain) is type(value) else plain


def _is_numpy(value: object, name: str) -> bool:
    numpy = sys.modules.get("numpy")  # never imported for its own sake
    return numpy is not None and issubclass(type(value), getattr(numpy, name))


def _has(name: str) -> Callable[[object], bool]:
    # Asked of the type: a mock has every attribute and any `__class__`, its type has not.
    return lambda value: hasattr(type(value), name)


def _is(*types: type) -> Callable[[object], bool]:
    return lambda value: issubclass(type(value), types)


_IP_TYPES = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)

EXTRA_TYPES: tuple[tuple[str, Callable[[Any], bool], Callable[[Any], Any], str], ...] = (
    ("Decimal", _is(Decimal), _decimal, "a number where one prints the same, otherwise a string"),
    ("timedelta", _is(timedelta), timedelta.total_seconds, "seconds, as a number"),
    ("Path", _is(PurePath), str, "a string"),
    ("IP addresses and networks", _is(*_IP_TYPES), str, "a string"),
    (
        "bytes, bytearray, memoryview",
        _is(bytes, bytearray, memoryview),
        lambda value: base64.b64encode(value).decode(),
        "a base64 string",
    ),
    ("set, frozenset", _is(set, frozenset), _set, "an array, sorted where its items can be"),
    (
        "pydantic and other objects with `model_dump`",
        _has("model_dump"),
        lambda v: v.model_dump(),
        "an object",
    ),
    ("dataclasses", _has("__dataclass_fields__"), _attrs, "an object, all fields"),
    ("attrs classes", _has("__attrs_attrs__"), _attrs, "an object"),
    ("numpy scalars", lambda v: _is_numpy(v, "generic"), _scalar, "the Python value they hold"),
    ("numpy arrays", lambda v: _is_numpy(v, "ndarray"), lambda v: v.tolist(), "an array"),
    ("deque, named and other subclasses of tuple", _is(tuple, deque), _items, "an array"),
    ("subclasses of float", _is(float), lambda value: float.__float__(value), "a number"),
    ("other mappings", _is(Mapping), _mapping, "an object"),
)
"""
Types beyond JSON's and orjson's own, in the order in which they are tried: name, test, conversion,
form.
"""


MOMENTS = (datetime, date, time)


def default(value: Any) -> Any:
    """
    A value of a type that the encoder does not know, in one that it knows.

    Raises:
        TypeError: There is none.
    """
    if type(value) in MOMENTS:
        return value.isoformat()
    for _, matches, convert, _ in EXTRA_TYPES:
        if matches(value):
            return convert(value)
    raise TypeError(type(value).__qualname__)


# --- the rescue -----------------------------------------------------------------------------------


class Rescue:
    """
    One walk over a value that `orjson` refused, giving an equal one of JSON's own types.
    """

    def __init__(self) -> None:
        self.marked = 0
        self._nodes = 0
        self._ancestors: set[int] = set()

    def plain(self, value: Any) -> Any:
        self._nodes += 1
        try:
            return self._plain(value)
        except Exception:  # noqa: BLE001 any method of the caller's object may raise anything
            return self._mark(value)

    def _mark(self, value: object) -> str:
        self.marked += 1
        return marker(value)

    def _plain(self, value: Any) -> Any:
        # By the type and its own methods: `__class__` and overridden methods may lie.
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, Enum):
            return self.plain(value.value)
        if issubclass(kind, str):
            return _text(str.__str__(value))
        if issubclass(kind, int):
            # A number beyond 64 bits is lost in most parsers: as a string it survives.
            number = int.__int__(value)
            return number if MIN_INT <= number <= MAX_INT else str(number)
        if issubclass(kind, float):
            return float.__float__(value)
        for exact in MOMENTS:
            if issubclass(kind, exact):
                return _text(exact.isoformat(value))
        if issubclass(kind, UUID):
            return UUID.__str__(value)
        return self._nested(value, kind)

    def _nested(self, value: Any, kind: type) -> Any:
        if (
            id(value) in self._ancestors
            or len(self._ancestors) >= MAX_DEPTH
            or self._nodes > MAX_NODES
        ):
            return self._mark(value)
        self._ancestors.add(id(value))
        try:
            if issubclass(kind, dict):
                return self._object(value)
            if issubclass(kind, list | tuple):
                return [self.plain(item) for item in _items(value)]
            if hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__"):
                return self._object({name: _Lazy(value, name) for name in _field_names(value)})
            return self.plain(default(value))
        finally:
            self._ancestors.discard(id(value))

    def _object(self, value: dict[Any, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        meetings: dict[str, int] = {}
        for key, item in list(dict.items(value)):
            name = base = self._key(key)
            while name in result:  # 1 and "1" are two keys; a JSON object holds each name once
                meetings[base] = meetings.get(base, 1) + 1
                name = f"{base}_{meetings[base]}"
            result[name] = self._field(item) if type(item) is _Lazy else self.plain(item)
        return result

    def _field(self, field: _Lazy) -> Any:
        try:
            item = field.get()
        except Exception:  # noqa: BLE001 a property of the caller's object may raise anything
            return self._mark(field.owner)
        return self.plain(item)

    def _key(self, key: Any) -> str:
        if key is None or type(key) is bool:
            return {None: "null", True: "true", False: "false"}[key]
        form = self.plain(key)
        if isinstance(form, str):
            return form
        return str(form) if isinstance(form, int | float) else self._mark(key)


class _Lazy:
    """
    A dataclass's field that is not read yet, so that one raising property costs that field only.
    """

    __slots__ = ("_name", "owner")

    def __init__(self, owner: object, name: str) -> None:
        self.owner = owner
        self._name = name

    def get(self) -> Any:
        return getattr(self.owner, self._name)


def _text(value: str) -> str:
    """
    A str with pairs of surrogates joined and lone ones replaced, as UTF-8 has no form for them.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value
