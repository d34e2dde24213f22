"""
The fast way of an event: what destinations put together of fragments is what they would encode.
"""

from __future__ import annotations

import json
import uuid
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Datadog, Dispatcher, Event, Freshpaint, MemoryTransport
from sendoff._encode import MAX_NAMES, Encoder, _names, fragments_of
from sendoff.errors import EventRejected

DESTINATIONS = (
    Datadog(api_key="k", application_id='a "b" \u00e9'),
    Datadog(api_key="k", application_id="a", send_time=True, id_attribute="insert_id"),
    Datadog(api_key="k", application_id="a", id_attribute='my "id"'),
    Freshpaint(token="t"),
)


class Text(str):
    """One that claims to be equal to nothing."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False


IDS = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.integers(),
    st.uuids(),
    st.booleans(),
    st.floats(),
    st.builds(Text, st.text(max_size=3)),
    st.sampled_from(["\ud800", "", 'a"b\\', "\x00", b"b"]),
)
KEYS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["usr", "event", "type", "session", "date", "insert_id", "token", "time", "$ip", "$options"]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.uuids()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
PROPERTIES = st.one_of(
    st.none(),
    st.dictionaries(KEYS, VALUES, max_size=5),
    st.dictionaries(st.one_of(KEYS, st.integers(), st.none()), VALUES, max_size=3),
    st.sampled_from([[], 5, "x", {"s": {1, 2}}, {"o": object()}, {Text("usr"): 1}]),
)
TIMES = st.one_of(
    st.floats(0, 9e10),
    st.floats(),
    st.integers(),
    st.sampled_from([0.0, 1795346292.9995, 1e11, "now"]),
)
IPS = st.one_of(
    st.none(),
    st.sampled_from(["10.0.0.1", "", 5, IPv4Address("10.0.0.1"), IPv6Address("::1"), Text("::1")]),
)


def both_ways(event: Event, destination: Any) -> tuple[bytes | None, bytes | str | None]:
    """
    What comes of it the fast way, and the general way.
    """
    fragments = fragments_of(
        event.name,
        event.user_id,
        event.account_id,
        event.session_id,
        event.device_id,
        event.ip,
        event.properties,
        destination.taken,
    )
    usual = fragments is not None and type(event.time) is float and 0 <= event.time < 1e11
    fast = destination.assemble(fragments, event.time, event.id) if usual else None
    try:
        return fast, destination.encode(event, Encoder().dumps)
    except EventRejected as exc:
        return fast, exc.reason


@settings(max_examples=600)
@given(
    name=st.one_of(st.text(max_size=5), st.none(), st.sampled_from(["\ud800", 5, Text("x")])),
    ids=st.tuples(IDS, IDS, IDS, IDS),
    properties=PROPERTIES,
    time=TIMES,
    ip=IPS,
    destination=st.sampled_from(DESTINATIONS),
)
def test_the_fast_way_gives_what_the_general_way_gives(
    name: object, ids: Any, properties: object, time: object, ip: object, destination: Any
) -> None:
    """Equal fields in equal order, or it leaves the event to the general way."""
    event = Event(name, *ids, properties, time, ip, "abc-1", None)
    fast, general = both_ways(event, destination)
    if fast is not None:
        assert isinstance(general, bytes), general
        assert json.loads(fast, object_pairs_hook=list) == json.loads(
            general, object_pairs_hook=list
        )


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize(
    "ids",
    [
        ("u", None, None, None),
        ("u", None, "s", None),
        (5, None, uuid.uuid4(), None),
        ("u", "a", None, "d"),
        ("u", "a", "s", "d"),
        ("u", "", "", ""),
    ],
)
@pytest.mark.parametrize("properties", [None, {}, {"a": 1, "b": {"c": [True, None]}}])
@pytest.mark.parametrize("ip", [None, "10.0.0.1", IPv4Address("10.0.0.1")])
def test_what_is_usual_goes_the_fast_way(
    destination: Any, ids: Any, properties: Any, ip: Any
) -> None:
    """Otherwise the test above would say nothing."""
    fast, general = both_ways(
        Event("x", *ids, properties, 1795346292.9995, ip, "abc-1", None), destination
    )
    assert fast is not None
    assert isinstance(general, bytes)
    assert json.loads(fast) == json.loads(general)


def test_one_destination_goes_the_fast_way_and_the_other_refuses() -> None:
    """Datadog has no place for an event of a device alone; Freshpaint takes it, once."""
    d = Dispatcher(*DESTINATIONS[::3], transport=MemoryTransport())
    assert d.track("x", device_id="dev") is not None
    assert d.track("x", account_id="acc") is not None
    assert d.track("x") is None
    stats = d.stats().destinations
    assert (stats["datadog"].submitted, stats["datadog"].pending) == (3, 1)
    assert (stats["freshpaint"].submitted, stats["freshpaint"].pending) == (3, 1)
    assert dict(stats["datadog"].rejections) == {"missing_identity": 2}


def test_a_destination_without_a_fast_way_gets_the_event() -> None:
    """A mixed dispatcher serves each its own way, and `to` chooses among all."""

    class Third:
        """As the protocol has it, and no more."""

        def __init__(self) -> None:
            self._inner = Freshpaint(token="t", name="third")

        def __getattr__(self, name: str) -> Any:
            if name in ("assemble", "taken"):
                raise AttributeError(name)
            return getattr(self._inner, name)

    d = Dispatcher(DESTINATIONS[0], Third(), transport=MemoryTransport())
    assert d.track("x", user_id="u", properties={"usr": 1}) is not None
    assert d.track("x", user_id="u") is not None
    assert d.track("x", user_id="u", to="third") is not None
    assert d.track("x", user_id="u", to=iter(["datadog"])) is not None
    stats = d.stats().destinations
    assert (stats["datadog"].pending, stats["third"].pending) == (3, 3)


def test_names_that_have_no_end_do_not_fill_the_memory() -> None:
    """The JSON of so many names is remembered, and of the others made again."""
    for number in range(MAX_NAMES + 100):
        fast, general = both_ways(
            Event(f"name-{number}", "u", None, None, None, None, 1.0, None, "abc-1", None),
            DESTINATIONS[0],
        )
        assert json.loads(fast or b"") == json.loads(general)
    assert len(_names) <= MAX_NAMES


def test_ctrl_c_within_a_value_comes_through() -> None:
    """It is no error of the value's."""

    class Impatient:
        asked = 0

        def model_dump(self) -> Any:
            self.asked += 1
            if self.asked == 1:  # a person presses once: a second look at the value finds nothing
                raise KeyboardInterrupt
            return {}

    d = Dispatcher(DESTINATIONS[0], transport=MemoryTransport())
    with pytest.raises(KeyboardInterrupt):
        d.track("x", user_id="u", properties={"a": Impatient()})
