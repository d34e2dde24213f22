"""Encoding: any Python value becomes strict JSON once, at the call; and ids that never meet."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import functools
import json
import os
import pathlib
import subprocess
import sys
import threading
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from unittest import mock

import attrs
import numpy
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sendoff
from sendoff import _ids
from sendoff._encode import Encoder
from sendoff._ids import new_id
from sendoff._values import EXTRA_TYPES, MAX_DEPTH, marker

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
NAN, INFINITY = float("nan"), float("inf")
LONE, REPLACED = "\ud800", "\ufffd"
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Opaque:
    """What has no JSON form."""


OPAQUE = "<unserializable Opaque>"


def strict(body):
    """Parses as the strictest of intakes: UTF-8, no NaN, no name twice in an object."""

    def constant(name):
        raise AssertionError(f"{name} is no JSON")

    def pairs(items):
        assert len({name for name, _ in items}) == len(items), "a name stands twice"
        return dict(items)

    return json.loads(body.decode(), parse_constant=constant, object_pairs_hook=pairs)


def encode(value):
    """What a strict parser makes of a value, and how many fields became markers."""
    encoder = Encoder()
    body = encoder.dumps(value)
    assert type(body) is bytes
    return strict(body), encoder.marked


def both_ways(value):
    """The fast way's result and the rescue's, which a value without a form beside it brings in."""
    (fast, marked), (rescued, marked_too) = encode([value]), encode([value, Opaque()])
    assert (marked, marked_too, rescued[1]) == (0, 1, OPAQUE)
    return fast[0], rescued[0]


# --- the table of extra types ---------------------------------------------------------------------


class Model(pydantic.BaseModel):
    amount: Decimal
    tags: set[str]


@attrs.define
class Attrs:
    amount: Decimal
    inner: object = None


class Point(collections.namedtuple("Point", "x y")):
    pass


class Celsius(float):
    pass


class Dumps:
    def model_dump(self):
        return {"a": Decimal("1.5")}


@dataclasses.dataclass
class Plain:
    amount: object
    rest: object = None


ROWS = {
    "Decimal": [
        (Decimal("9.99"), 9.99),
        (Decimal("0.1"), 0.1),
        (Decimal("9.90"), 9.9),
        (Decimal("1E+3"), 1000.0),
        (Decimal("0.30000000000000000001"), "0.30000000000000000001"),
        (Decimal(f"1{0:029}1"), f"1{0:029}1"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("1E-400"), "1E-400"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("-Infinity"), "-Infinity"),
    ],
    "timedelta": [(timedelta(minutes=1, milliseconds=500), 60.5), (timedelta(days=-1), -86_400.0)],
    "Path": [
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (pathlib.PureWindowsPath("c:\\a"), "c:\\a"),
        (pathlib.Path("a"), "a"),
    ],
    "bytes, bytearray, memoryview": [
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b""), ""),
    ],
    "set, frozenset": [
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("ba"), ["a", "b"]),
        ({*"abcd", 1, 2, 3}, ["a", "b", "c", "d", 1, 2, 3]),
        ({Decimal("2.5"), Decimal(1)}, [1.0, 2.5]),
        (set(), []),
    ],
    "pydantic and other objects with `model_dump`": [
        (Model(amount="9.99", tags={"b", "a"}), {"amount": 9.99, "tags": ["a", "b"]}),
        (Dumps(), {"a": 1.5}),
    ],
    "IP addresses and networks": [
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        (IPv6Network("2001:db8::/32"), "2001:db8::/32"),
    ],
    "dataclasses": [(Plain(Decimal("0.5")), {"amount": 0.5, "rest": None})],
    "attrs classes": [
        (Attrs(Decimal("0.5"), Attrs(1)), {"amount": 0.5, "inner": {"amount": 1, "inner": None}})
    ],
    "numpy scalars": [
        (numpy.int64(-3), -3),
        (numpy.uint64(2**64 - 1), 2**64 - 1),
        (numpy.float64(0.1), 0.1),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (numpy.bytes_(b"a"), "YQ=="),
        (numpy.longdouble(0.5), 0.5),
        (numpy.datetime64("2024-02-29T12:00:00"), "2024-02-29T12:00:00"),
        (numpy.timedelta64(90, "s"), 90.0),
        (numpy.float64("nan"), None),
    ],
    "numpy arrays": [(numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), (numpy.array(5), 5)],
    "deque, named and other subclasses of tuple": [
        (collections.deque([1, 2]), [1, 2]),
        (Point(1, Decimal(2)), [1, 2.0]),
    ],
    "subclasses of float": [(Celsius(36.6), 36.6), (Celsius("nan"), None)],
    "other mappings": [
        (types.MappingProxyType({"a": Decimal("0.5")}), {"a": 0.5}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
    ],
}


def test_every_extra_type_has_a_test():
    """A new row of the table needs an example here."""
    assert set(ROWS) == {name for name, *_ in EXTRA_TYPES}


@pytest.mark.parametrize(
    ("value", "form"),
    [
        pytest.param(value, form, id=f"{name}-{number}")
        for name, cases in ROWS.items()
        for number, (value, form) in enumerate(cases)
    ],
)
def test_an_extra_type_has_its_form_either_way(value, form):
    """The documented form, no marker, whether or not something beside it needs a rescue."""
    assert both_ways(value) == (form, form)


@dataclasses.dataclass
class Half:
    kept: int
    lost: int


class Colour(enum.Enum):
    RED = "red"
    CODE = (1, 2)
    SUM = Decimal("1.5")


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass(slots=True)
class Slotted:
    amount: object


@dataclasses.dataclass
class Discreet:
    shown: int
    _hidden: int = 2


@dataclasses.dataclass
class Cached:
    amount: int

    @functools.cached_property
    def total(self):
        return self.amount * 2


def cached():
    value = Cached(1)
    assert value.total == 2
    return value


NATIVE = [
    pytest.param(None, None, id="None"),
    pytest.param(True, True, id="bool"),
    pytest.param('ü\n"<a>', 'ü\n"<a>', id="str"),
    pytest.param(2**64 - 1, 2**64 - 1, id="largest int"),
    pytest.param(-(2**63), -(2**63), id="smallest int"),
    pytest.param(0.1, 0.1, id="float"),
    pytest.param(NAN, None, id="NaN"),
    pytest.param(-INFINITY, None, id="infinity"),
    pytest.param((1, [2]), [1, [2]], id="tuple"),
    pytest.param(UUID, str(UUID), id="UUID"),
    pytest.param(date(2024, 2, 29), "2024-02-29", id="date"),
    pytest.param(datetime(2024, 2, 29, 12, 0, 0, 7), "2024-02-29T12:00:00.000007", id="datetime"),
    pytest.param(datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00+00:00", id="UTC"),
    pytest.param(
        datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-3.5))),
        "2024-02-29T00:00:00-03:30",
        id="offset",
    ),
    pytest.param(time(1, 2, 3), "01:02:03", id="time"),
    pytest.param(Colour.RED, "red", id="Enum"),
    pytest.param(Colour.CODE, [1, 2], id="Enum of a tuple"),
    pytest.param(Colour.SUM, 1.5, id="Enum of a Decimal"),
    pytest.param(Level.HIGH, 3, id="IntEnum"),
    pytest.param(
        Plain(Decimal("0.5"), Plain(1)),
        {"amount": 0.5, "rest": {"amount": 1, "rest": None}},
        id="dataclass",
    ),
    pytest.param(Slotted(1), {"amount": 1}, id="dataclass with slots"),
    pytest.param(Discreet(1), {"shown": 1, "_hidden": 2}, id="dataclass with a private field"),
    pytest.param(cached(), {"amount": 1}, id="dataclass with a cached property"),
    pytest.param(collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}, id="OrderedDict"),
]


@pytest.mark.parametrize(("value", "form"), NATIVE)
def test_an_ordinary_value_has_one_form_either_way(value, form):
    """What else stands in an event does not change the form of a value: all fields, no others."""
    assert both_ways(value) == (form, form)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        pytest.param(2**64, str(2**64), id="65 bits"),
        pytest.param(-(2**70), str(-(2**70)), id="70 bits"),
        pytest.param("\ud83d\ude00", "😀", id="a pair of surrogates"),
        pytest.param(f"a{LONE}b", "a\ufffdb", id="a lone surrogate"),
        pytest.param(time(1, 2, tzinfo=UTC), "01:02:00+00:00", id="time with a zone"),
        pytest.param({1: "a"}, {"1": "a"}, id="int key"),
        pytest.param({None: 1, True: 2, 1.5: 3}, {"null": 1, "true": 2, "1.5": 3}, id="JSON's own"),
        pytest.param({UUID: 1}, {str(UUID): 1}, id="UUID key"),
        pytest.param({date(2024, 1, 2): 1}, {"2024-01-02": 1}, id="date key"),
        pytest.param({Colour.RED: 1}, {"red": 1}, id="Enum key"),
        pytest.param({Decimal("0.5"): 1}, {"0.5": 1}, id="Decimal key"),
        pytest.param({LONE: 1}, {"\ufffd": 1}, id="surrogate key"),
        pytest.param({numpy.int64(7): 1}, {"7": 1}, id="numpy key"),
    ],
)
def test_a_rescue_that_loses_nothing_marks_nothing(value, form):
    """What orjson refuses, but text can hold, keeps its content and is no marked field."""
    assert encode(value) == (form, 0)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({1: "a", "1": "b"}, id="int and str"),
        pytest.param({"1": "a", 1: "b", "1_": "c"}, id="and the way out taken"),
        pytest.param({None: "a", "null": "b"}, id="None"),
        pytest.param({LONE: "a", "\ud801": "b", REPLACED: "c"}, id="surrogates"),
        pytest.param({Colour.RED: "a", "red": "b"}, id="Enum"),
        pytest.param({True: "a", "true": "b", "True": "c"}, id="bool"),
    ],
)
def test_keys_that_meet_keep_their_values(value):
    """A JSON object holds each name once; the values of keys with equal names all survive."""
    form, marked = encode(value)
    assert (sorted(form.values()), marked) == (sorted(value.values()), 0)


def test_many_keys_that_meet_cost_little():
    """A mapping by tuples or objects has equal names throughout: its size stays in proportion."""
    count = 1_500
    body = Encoder().dumps({(number, number): number for number in range(count)})
    assert sorted(strict(body).values()) == list(range(count))
    assert len(body) < 100 * count


# --- what has no form -----------------------------------------------------------------------------


class Raising:
    """Whatever is asked of it, it raises."""

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __hash__ = __repr__

    def __eq__(self, other):
        raise RuntimeError("no")


class RaisingDump:
    def model_dump(self):
        raise RuntimeError("no")


class EndlessDump:
    def model_dump(self):
        return EndlessDump()


class OwnDump:
    def model_dump(self):
        return self


class RaisingMapping(collections.UserDict):
    def __getitem__(self, key):
        raise RuntimeError("no")


class RaisingInt(int):
    def __int__(self):
        raise RuntimeError("no")


class Sulking(type):
    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise RuntimeError("no")
        return super().__getattribute__(name)


class Nameless(metaclass=Sulking):
    pass


class OddDatetime(datetime):
    def isoformat(self, *args):
        return Opaque()


class OddUuid(uuid.UUID):
    def __str__(self):
        return LONE


class Pretender:
    """A lazy proxy of something true, as web frameworks make them."""

    __class__ = bool


@attrs.define
class Unset:
    amount: int = attrs.field(init=False)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param(Opaque(), "Opaque", id="an object"),
        pytest.param(Opaque, "type", id="a class"),
        pytest.param(Plain, "type", id="a dataclass's class"),
        pytest.param(Model, "ModelMetaclass", id="a model's class"),
        pytest.param(len, "builtin_function_or_method", id="a function"),
        pytest.param(1j, "complex", id="complex"),
        pytest.param(Raising(), "Raising", id="raises in its repr"),
        pytest.param(RaisingDump(), "RaisingDump", id="raises in model_dump"),
        pytest.param(RaisingMapping(a=1), "RaisingMapping", id="raises in a mapping's method"),
        pytest.param(OwnDump(), "OwnDump", id="dumps itself"),
        pytest.param(EndlessDump(), "EndlessDump", id="dumps for ever"),
        pytest.param(mock.MagicMock(), "MagicMock", id="a mock"),
        pytest.param(10**5_000, "int", id="more digits than str() prints"),
    ],
)
def test_one_field_without_a_form_costs_that_field(value, name):
    """A marker with the type's name, never its content; counted; other fields go as they are."""
    event = {"before": Decimal("0.5"), "bad": value, "after": {"x": [1, "ü"]}}
    form = {"before": 0.5, "bad": f"<unserializable {name}>", "after": {"x": [1, "ü"]}}
    assert encode(event) == (form, 1)
    assert encode({"list": [value, 1], "again": value})[1] == 2


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Pretender(), id="pretends to be a bool"),
        pytest.param(mock.Mock(spec=True), id="a mock of a bool"),
        pytest.param(mock.Mock(spec={}), id="a mock of a dict"),
        pytest.param(mock.Mock(spec=""), id="a mock of a str"),
        pytest.param(mock.Mock(spec=1), id="a mock of an int"),
        pytest.param(mock.Mock(spec=0.5), id="a mock of a float"),
        pytest.param(mock.Mock(spec=[]), id="a mock of a list"),
        pytest.param(mock.Mock(spec=UUID), id="a mock of a UUID"),
        pytest.param(OddDatetime(2024, 1, 1), id="an odd isoformat"),
        pytest.param(OddUuid(UUID.hex), id="an odd __str__ of a UUID"),
        pytest.param(Nameless(), id="a type whose name raises"),
        pytest.param({Raising, Nameless}, id="a set of odd types"),
        pytest.param([Nameless(), Pretender()], id="both"),
    ],
)
def test_a_value_that_is_not_what_it_says_costs_that_field(value):
    """Proxies, mocks and overridden methods lie about their type: no raise, and the rest goes."""
    form, _ = encode({"before": 1, "bad": value, "after": 2})
    assert {**form, "bad": None} == {"before": 1, "bad": None, "after": 2}


def test_a_field_that_raises_costs_that_field_only():
    """A dataclass or attrs object keeps its other fields when reading one of them raises."""
    broken = Half(1, 2)
    del broken.lost
    form, marked = encode({"broken": broken, "unset": Unset(), "bad": Opaque()})
    assert form["broken"]["kept"] == 1
    assert form["unset"] == {"amount": "<unserializable Unset>"}
    assert marked == 3


def test_an_int_that_raises_is_an_int():
    """Methods that a subclass overrides are not asked."""
    assert encode(RaisingInt(2**70)) == (str(2**70), 0)


@pytest.mark.parametrize("kind", [list, dict])
def test_a_cycle_ends_where_it_closes(kind):
    """The inner mention of an outer value becomes a marker; everything else stays."""
    value = kind()
    if kind is list:
        value.extend([1, value])
        form = [1, "<unserializable list>"]
    else:
        value.update({"a": 1, "self": value})
        form = {"a": 1, "self": "<unserializable dict>"}
    assert encode(value) == (form, 1)


def test_a_value_that_stands_twice_is_no_cycle():
    """What two fields share is written twice."""
    shared = {"a": 1}
    assert encode({"x": shared, "y": [shared], "bad": Opaque()}) == (
        {"x": {"a": 1}, "y": [{"a": 1}], "bad": OPAQUE},
        1,
    )


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_thousand_levels_are_cut(wrap):
    """Deeper than any parser goes: the outer levels stay, one marker stands for the rest."""
    value = "core"
    for _ in range(1_000):
        value = wrap(value)
    form, marked = encode(value)
    levels = 0
    while isinstance(form, list | dict):
        form = form[0] if isinstance(form, list) else form["a"]
        levels += 1
    assert (levels <= MAX_DEPTH, marked) == (True, 1)
    assert levels > 100


def test_a_graph_that_shares_its_parts_does_not_unfold_for_ever():
    """Forty levels of pairs are a million million leaves: a rescue stops long before."""
    value = [Opaque()]
    for _ in range(40):
        value = [value, value]
    body = Encoder().dumps(value)
    assert len(body) < 5_000_000
    strict(body)


def test_markers_are_counted_over_all_calls():
    """One encoder serves a lane for its life."""
    encoder = Encoder()
    for value in ({"a": Opaque()}, {"a": 1}, [Opaque(), Opaque()]):
        encoder.dumps(value)
    assert encoder.marked == 3


def test_a_marker_names_the_type_alone():
    """Nothing of the value itself, and a type's odd name is made fit for UTF-8."""
    assert marker({"secret": 1}) == "<unserializable dict>"
    odd = type("Odd", (), {})
    odd.__qualname__ = f"Odd{LONE}"
    assert marker(odd()) == "<unserializable Odd\ufffd>"


# --- what is given stays as it is -----------------------------------------------------------------


@pytest.mark.parametrize("companion", [1, Opaque()], ids=["fast", "rescued"])
def test_the_callers_objects_are_untouched(companion):
    """Neither way changes, sorts, drains or fills what it reads."""
    steps = iter([1, 2, 3])
    value = {
        "list": [3, 1, {"b": {1, 2}}],
        "default": collections.defaultdict(list, a=[1]),
        "model": Model(amount="1.5", tags={"a"}),
        "attrs": Attrs(Decimal(1), [1]),
        "plain": Plain([1], {"x": b"raw"}),
        "queue": collections.deque([1, 2]),
        "companion": companion,
        1: "int",
    }
    before = copy.deepcopy({key: value[key] for key in value if key != "companion"})
    Encoder().dumps({**value, "steps": steps})
    Encoder().dumps(value)
    assert {key: value[key] for key in value if key != "companion"} == before
    assert list(steps) == [1, 2, 3]


def test_later_changes_do_not_show():
    """The bytes are the snapshot."""
    event = {"items": [1], "bad": Opaque()}
    body = Encoder().dumps(event)
    event["items"].append(2)
    assert strict(body)["items"] == [1]


# --- any value at all -----------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "L"])),
    st.binary(max_size=20),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(timezones=st.none() | st.just(UTC)),
    st.timedeltas(),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(),
    st.builds(Raising),
    st.sampled_from(
        [
            Opaque(),
            RaisingDump(),
            EndlessDump(),
            RaisingMapping(a=1),
            Unset(),
            Colour.RED,
            Colour.CODE,
            Level.HIGH,
            Opaque,
            len,
            Ellipsis,
            range(3),
            numpy.float32(0.1),
            numpy.array([1.5, NAN]),
            numpy.datetime64("NaT", "s"),
            mock.Mock(),
            Pretender(),
            Nameless(),
            OddDatetime(2024, 1, 1),
        ]
    ),
)
KEYS = st.one_of(
    st.text(max_size=3),
    st.text(st.characters(categories=["Cs"]), max_size=2),
    st.integers(-3, 3),
    st.sampled_from(["1", "null", "true", "nan", "1.0", "-1_", "1_"]),
    st.none(),
    st.booleans(),
    st.floats(),
    st.binary(max_size=2),
    st.tuples(st.integers(0, 2)),
    st.sampled_from([Colour.RED, Level.HIGH, UUID, Decimal("1.0"), Opaque, Fraction(1, 2)]),
)


def containers(children):
    return st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(KEYS, children, max_size=4),
        st.dictionaries(KEYS, children, max_size=3).map(types.MappingProxyType),
        st.builds(Plain, children, children),
        st.builds(Attrs, children, children),
        st.builds(Point, children, children),
        st.frozensets(st.one_of(st.integers(), st.text(max_size=2), st.none()), max_size=3),
        children.map(lambda child: [child, child]),
    )


@QUICK
@given(st.recursive(LEAVES, containers, max_leaves=12))
def test_any_value_becomes_strict_json(value):
    """Whatever it holds: it parses strictly, nothing raises, and encoding again gives the same."""
    body = Encoder().dumps(value)
    strict(body)
    assert Encoder().dumps(value) == body


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4)
    ),
    max_leaves=15,
)


@settings(QUICK, max_examples=80)
@given(JSON)
def test_what_is_json_already_comes_back_equal(value):
    """Either way: JSON's own values lose nothing."""
    form, rescued = both_ways(value)
    assert form == value
    assert rescued == value


# --- the size of the result -----------------------------------------------------------------------


def python(code):
    """What a fresh interpreter that can import the package prints."""
    root = str(pathlib.Path(sendoff.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("extra", ["1", "object()"], ids=["fast", "rescued"])
def test_results_are_of_exact_size(extra):
    """20,000 results of some 270 bytes hold some 320 each, not the encoder's buffers of 4 KB."""
    # Seen from outside: Python's own accounts of memory do not show the buffers.
    held = python(
        f"""
import os
from sendoff._encode import Encoder
encoder = Encoder()
event = {{"event": "x" * 40, **{{f"k{{i}}": "v" * 10 for i in range(12)}}, "y": {extra}}}
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
size = len(encoder.dumps(event))
before = resident()
kept = [encoder.dumps(event) for _ in range(20_000)]
print(size, (resident() - before) / len(kept))
"""
    )
    size, each = map(float, held.split())
    assert size <= each < size + 500


# --- ids ------------------------------------------------------------------------------------------


def test_ids_are_short_and_plain():
    """At most 36 characters of `[A-Za-z0-9-]`, as Freshpaint wants."""
    ids = [new_id() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    assert all(len(one) <= 36 and one.replace("-", "a").isalnum() and one.isascii() for one in ids)
    assert len({one.partition("-")[0] for one in ids}) == 1


def test_ids_go_on_when_the_numbers_are_used_up(monkeypatch):
    """With another prefix."""
    monkeypatch.setattr(_ids, "PAIRS", ["00", "01"])
    monkeypatch.setattr(_ids, "DIGITS", 2)
    source = _ids._Ids()
    ids = [source.next() for _ in range(10)]
    assert len(set(ids)) == 10
    assert len({one.partition("-")[0] for one in ids}) == 3


def test_threads_never_get_the_same_id():
    """Eight threads that switch as often as can be draw different ids."""
    drawn = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: drawn.extend([new_id() for _ in range(2_000)]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(drawn)) == 16_000


def test_a_fork_never_repeats_an_id():
    """Parent, child and grandchild go on with ids of their own."""
    printed = python(
        """
import os
from sendoff._ids import new_id
def family(depth):
    ids = [new_id() for _ in range(50)]
    if depth and not (child := os.fork()):
        family(depth - 1)
        os._exit(0)
    ids += [new_id() for _ in range(50)]
    os.write(1, "".join(f"{one}\\n" for one in ids).encode())
    if depth:
        os.waitpid(child, 0)
new_id()
family(2)
"""
    )
    ids = printed.split()
    assert (len(ids), len(set(ids)), len({one.partition("-")[0] for one in ids})) == (300, 300, 3)
