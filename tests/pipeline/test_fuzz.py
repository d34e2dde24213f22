"""
Any Python object in any argument: a call returns, is counted once, and what is queued is JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import types
from collections import ChainMap, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sendoff import Dispatcher
from sendoff.sink.strict import parse_json
from virtual import Vendors, datadog, freshpaint

FUZZ = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NAMES = ("datadog", "freshpaint")


class Boom(Exception):
    """
    What hostile objects raise.
    """


class UnnamedMeta(type):
    @property
    def __name__(cls) -> str:
        raise Boom


class Unnamed(Boom, metaclass=UnnamedMeta):
    """
    An exception whose type has no name, and that raises itself when it is looked at.
    """

    def __str__(self) -> str:
        raise Boom

    __repr__ = __str__


def raising(error: type[BaseException]) -> Any:
    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


METHODS = """
__repr__ __str__ __iter__ __len__ __bool__ __eq__ __lt__ __getitem__ __contains__ __format__
__float__ __int__ __index__ __getattribute__ keys items values get isoformat utcoffset timestamp
model_dump encode decode
"""


def hostile(base: type, error: type[BaseException] = Boom) -> type:
    """
    A subclass of which every method raises; its hash works, so that it can be a key.
    """
    body: dict[str, Any] = {name: raising(error) for name in METHODS.split()}
    body["__hash__"] = lambda self: 7
    return type(f"Hostile{base.__name__}", (base,), body)


class HalfWay(Mapping[Any, Any]):
    """
    A mapping that raises in the middle.
    """

    def __iter__(self) -> Iterator[Any]:
        yield "first"
        yield "second"
        raise Unnamed

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: Any) -> Any:
        return 1


class Endless(Mapping[Any, Any]):
    """
    A mapping without an end.
    """

    def __iter__(self) -> Iterator[Any]:
        return map(str, itertools.count())

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, key: Any) -> Any:
        return key


class EndlessList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return itertools.count()


class EndlessDict(dict[Any, Any]):
    def __iter__(self) -> Iterator[Any]:
        return map(str, itertools.count())

    keys = items = __iter__  # type: ignore[assignment]


class Liar:
    """
    Says that it is a dict.
    """

    __class__ = dict  # type: ignore[assignment]


class NoClass:
    """
    Raises when it is asked what it is.
    """

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise Unnamed

    __hash__ = raising(Boom)


class AnyAttribute(type):
    def __getattr__(cls, name: str) -> Any:
        raise Boom


class Asked(metaclass=AnyAttribute):
    """
    Its type raises for every attribute that it has not.
    """


class OddZone(tzinfo):
    utcoffset = raising(Boom)
    dst = raising(Boom)
    tzname = raising(Boom)


def cycle() -> Any:
    ring: list[Any] = [1]
    ring.append({"again": ring, "self": ring})
    return ring


def deep(levels: int, *, objects: bool) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"down": value} if objects else [value]
    return value


def released() -> memoryview:
    view = memoryview(b"bytes")
    view.release()
    return view


# Made anew for each example: some are used up by being read.
ODD: dict[str, Any] = {
    "object": object,
    "raising object": hostile(object),
    "raising str": lambda: hostile(str)("text"),
    "raising dict": lambda: hostile(dict)(a=1, token=2),
    "raising list": lambda: hostile(list)([1, 2]),
    "raising tuple": lambda: hostile(tuple)([1, 2]),
    "raising int": lambda: hostile(int)(5),
    "raising float": lambda: hostile(float)(5.5),
    "raising set": lambda: hostile(set)([1, "a"]),
    "raising bytes": lambda: hostile(bytes)(b"x"),
    "raising datetime": lambda: hostile(datetime)(2020, 1, 1),
    "raising Decimal": lambda: hostile(Decimal)("1.5"),
    "raising without a name": lambda: hostile(dict, Unnamed)(a=1),
    "unnamed": Unnamed,
    "half way": HalfWay,
    "endless": Endless,
    "endless list": lambda: EndlessList([1]),
    "endless dict": lambda: EndlessDict(a=1),
    "endless generator": itertools.count,
    "liar": Liar,
    "no class": NoClass,
    "asked": Asked,
    "cycle": cycle,
    "deep lists": lambda: deep(10_000, objects=False),
    "deep objects": lambda: deep(10_000, objects=True),
    "huge int": lambda: 10**6_000,
    "negative huge int": lambda: -(2**63) - 1,
    "nan": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "signalling nan": lambda: Decimal("sNaN"),
    "huge Decimal": lambda: Decimal("1e999999"),
    "fraction": lambda: Fraction(1, 3),
    "complex": lambda: 1j,
    "surrogate": lambda: "a\ud800b",
    "surrogate key": lambda: {"\udfff": "\ud800", chr(0xFFFD): 1},
    "surrogate pair": lambda: "\ud83d\ude00",
    "nul": lambda: "\x00\x1f\x7f\u2028",
    "generator": lambda: (number for number in range(3)),
    "class": lambda: dict,
    "module": lambda: types,
    "function": lambda: deep,
    "coroutine function": lambda: asyncio.sleep,
    "bytes": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abcdef")[::2],
    "released memoryview": released,
    "odd zone": lambda: datetime(2020, 1, 1, tzinfo=OddZone()),
    "far future": lambda: datetime.max,
    "far past": lambda: datetime.min.replace(tzinfo=UTC),
    "timedelta": lambda: timedelta.max,
    "uuid": lambda: UUID(int=7),
    "keys of all kinds": lambda: {1: 1, "1": 2, None: 3, "null": 4, (1, 2): 5, b"k": 6, 1.5: 7},
    "vendor's keys": lambda: {"token": 1, "usr": {"id": 2}, "application": [], "$insert_id": {}},
    "chain": lambda: ChainMap({"a": 1}, {"token": 2}),
    "ordered": lambda: OrderedDict(a=1),
    "default": lambda: defaultdict(list, a=[1]),
    "proxy": lambda: types.MappingProxyType({"a": object()}),
    "namespace": lambda: types.SimpleNamespace(a=1),
    "large": lambda: "x" * 6_000_000,
    "empty": dict,
    "cancelled": lambda: asyncio.CancelledError(),
}


class Odd(NamedTuple):
    """
    Stands for a hostile object while `hypothesis` handles it, as it looks at what it makes.
    """

    kind: str


def real(value: Any) -> Any:
    """
    A value in which every stand-in has become its object.
    """
    match value:
        case Odd(kind):
            return ODD[kind]()
        case dict():
            return {key: real(item) for key, item in value.items()}
        case list():
            return [real(item) for item in value]
        case tuple():
            return tuple(map(real, value))
    return value


odd = st.sampled_from(sorted(ODD)).map(Odd)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5)
)
values = st.recursive(
    st.one_of(odd, odd, plain),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.integers(), st.none()), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def counted(d: Dispatcher) -> dict[str, int]:
    return {name: stats.submitted for name, stats in d.stats().destinations.items()}


def made() -> Dispatcher:
    return Dispatcher(datadog(id_attribute="id", send_time=True), freshpaint(), transport=Vendors())


def concerned(to: Any) -> set[str] | None:
    """
    The destinations that a hostile `to` names, as `set` would read it; None if it cannot be read.
    """
    if to is None:
        return set(NAMES)
    try:
        names = {to} if isinstance(to, str) else set(itertools.islice(to, 1_000))
        return {name for name in NAMES if name in names}
    except Exception:
        return None


def check(d: Dispatcher, before: dict[str, int], expected: set[str] | None) -> None:
    """
    Each destination that was meant has counted the call once, and what it queued is strict JSON.
    """
    after = counted(d)
    grown = {name for name in NAMES if after[name] != before[name]}
    assert all(after[name] - before[name] <= 1 for name in NAMES), (before, after)
    assert grown == (expected or set()), (grown, expected)
    for intake in d._intakes:
        for body, event_id in intake.queue:
            assert type(body) is bytes
            assert type(event_id) is str
            assert isinstance(parse_json(body), dict)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Log lines are formatted too, as in an application; but not printed."""
    handler = logging.Handler()
    handler.emit = lambda record: record.getMessage()  # type: ignore[method-assign, assignment]
    logging.getLogger("sendoff").addHandler(handler)
    yield
    logging.getLogger("sendoff").removeHandler(handler)


ARGUMENTS = [
    "event",
    "user_id",
    "account_id",
    "session_id",
    "device_id",
    "properties",
    "time",
    "ip",
    "insert_id",
    "integrations",
    "to",
]


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("kind", sorted(ODD))
def test_every_odd_object_in_every_argument_of_track(argument: str, kind: str) -> None:
    """One hostile argument among good ones: no call raises, and each is counted once."""
    d = made()
    arguments: dict[str, Any] = {"event": "x", "user_id": "u", argument: ODD[kind]()}
    expected = concerned(ODD[kind]()) if argument == "to" else set(NAMES)
    before = counted(d)
    event_id = d.track(**arguments)
    assert event_id is None or type(event_id) is str
    check(d, before, expected)


@pytest.mark.parametrize("kind", sorted(ODD))
def test_every_odd_object_as_a_property_or_a_key(kind: str) -> None:
    """As a value, beside a good one, it costs itself alone; as a key, at most its event."""
    d = made()
    before = counted(d)
    taken = d.track("x", user_id="u", properties={"good": 1, "odd": ODD[kind]()})
    check(d, before, set(NAMES))
    if kind != "large":
        assert taken is not None
        assert parse_json(d._intakes[0].queue.items[0])["good"] == 1
    before = counted(d)
    try:
        properties = {ODD[kind](): 1}
    except Exception:  # no hash
        return
    d.track("x", user_id="u", properties=properties)
    check(d, before, set(NAMES))


@pytest.mark.parametrize("place", ["payload", "application", "event", "usr", "properties", "to"])
@pytest.mark.parametrize("kind", sorted(ODD))
def test_every_odd_object_in_enqueue(place: str, kind: str) -> None:
    """In place of a body or of one of its parts."""
    d = made()
    value = ODD[kind]()
    body: dict[str, Any] = {
        "application": {"id": "a"},
        "event": {"name": "x"},
        "type": "server",
        "usr": {"id": "u"},
    }
    if place == "properties":
        body = {"event": "x", "properties": {"distinct_id": "d", "odd": value}}
        d.enqueue({"event": "x", "properties": value}, to="freshpaint")
        d.enqueue({"event": "x", "properties": {"distinct_id": value}}, to="freshpaint")
        assert counted(d)["freshpaint"] == 2
    before = counted(d)
    if place == "payload":
        d.enqueue(value)
        after = counted(d)
        assert {after[name] - before[name] for name in NAMES} <= {0, 1}
        assert after != before
    elif place == "to":
        d.enqueue(body, to=value)
        check(d, before, concerned(ODD[kind]()))
    else:
        if place != "properties":
            body[place] = value
        d.enqueue(body, to=NAMES)
        check(d, before, set(NAMES))


@FUZZ
@given(
    st.fixed_dictionaries(
        {"event": st.one_of(st.just("x"), values)},
        optional={name: values for name in ARGUMENTS[1:] if name != "to"},
    )
)
@example({"event": "x", "properties": {"a": [Odd("deep lists"), Odd("cycle")]}})
def test_track_takes_anything(arguments: dict[str, Any]) -> None:
    """Any nesting in several arguments at once."""
    d = made()
    before = counted(d)
    d.track(**real(arguments))
    check(d, before, set(NAMES))


@pytest.mark.parametrize("kind", sorted(ODD))
def test_a_bad_id_for_a_bad_place(kind: str) -> None:
    """Two hostile arguments that are looked at before there is an event."""
    d = made()
    before = counted(d)
    assert d.track("x", user_id="u", insert_id="not an id", to=ODD[kind]()) is None  # type: ignore[arg-type]
    check(d, before, concerned(ODD[kind]()))


@FUZZ
@given(user_id=st.one_of(st.just("u"), values), properties=values, device_id=values, time=values)
def test_identify_takes_anything(**arguments: Any) -> None:
    """Datadog has no identification: it is passed over, whatever is in it."""
    d = made()
    before = counted(d)
    d.identify(**real(arguments))
    check(d, before, {"freshpaint"})


@FUZZ
@given(payload=values, to=st.sampled_from(["datadog", "freshpaint", NAMES]))
def test_enqueue_takes_anything(payload: Any, to: Any) -> None:
    """Any object as a vendor's body."""
    d = made()
    before = counted(d)
    d.enqueue(real(payload), to=to)
    check(d, before, set([to] if isinstance(to, str) else to))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("argument", ["properties", "value", "user_id", "payload", "to"])
def test_what_is_no_exception_passes_through(argument: str, error: type[BaseException]) -> None:
    """Ctrl-C while an object of the caller's is read is the caller's; nothing is half counted."""

    class Interrupted(Mapping[Any, Any]):
        __iter__ = raising(error)
        __len__ = raising(error)
        __getitem__ = raising(error)
        model_dump = raising(error)
        __class__ = property(raising(error))  # type: ignore[assignment]

    d = made()
    value = Interrupted()
    calls = {
        "payload": lambda: d.enqueue(value, to="datadog"),
        "value": lambda: d.track("x", user_id="u", properties={"a": value}),
    }
    with pytest.raises(error):
        calls.get(argument, lambda: d.track("x", **{"user_id": "u", argument: value}))()
    assert set(counted(d).values()) == {0}
    assert d.track("x", user_id="u") is not None  # no lock is left taken
    assert d._intakes[0].lock.acquire(blocking=False)


@pytest.mark.parametrize("broken", ["filter", "handler"])
def test_a_log_handler_that_raises_does_not_reach_the_caller(broken: str) -> None:
    """A rejected event is said and counted, even if nobody can say it."""
    logger = logging.getLogger("sendoff")
    handler = logging.Handler()
    handler.emit = raising(Boom)  # type: ignore[method-assign]
    (logger.addFilter if broken == "filter" else logger.addHandler)(
        raising(Boom) if broken == "filter" else handler  # type: ignore[arg-type]
    )
    try:
        d = made()
        assert d.track("x") is None
        assert counted(d) == {"datadog": 1, "freshpaint": 1}
    finally:
        logger.filters.clear()
        logger.removeHandler(handler)


def test_the_strict_parser_bites() -> None:
    """What the checks above rely on: it refuses what other readers would guess at."""
    for body in (b'{"a":NaN}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"{"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_json(body)
    assert json.loads(b'{"a":NaN}')
