"""Freshpaint: the documented bodies, how an event maps, what is rejected and what is filled in."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Event, EventRejected, Freshpaint, OptionError, Request
from sendoff._encode import Encoder

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
TIME = 1_700_000_000.1239


def destination(**options):
    return Freshpaint(**{"token": "t0ken", **options})


def event(name="checkout.completed", **fields):
    """A neutral event of a user, with `fields` in the place of its own."""
    defaults = {
        "user_id": "u-1",
        "account_id": None,
        "session_id": None,
        "device_id": None,
        "properties": None,
        "time": TIME,
        "ip": None,
        "id": "id-1",
        "integrations": None,
    }
    return Event(name, **{**defaults, **fields})


def sent(destination, body):
    """What goes over the wire for an encoded event."""
    return destination.authorized(destination.request([body])).body


@dataclass(frozen=True, slots=True)
class Keyed(Request):
    """A request that carries something of its own."""

    key: str = ""


def test_the_token_goes_into_a_request_of_another_class():
    """What else such a request carries stays in it."""
    destination = Freshpaint(token="t0ken")
    plain = destination.request([b'{"properties":{"token":null,"a":1}}'])
    keyed = Keyed(plain.url, plain.headers, plain.body, None, "http://proxy", "k")
    body = b'{"properties":{"token":"t0ken","a":1}}'
    assert destination.authorized(keyed) == Keyed(
        plain.url, plain.headers, body, None, "http://proxy", "k"
    )
    assert destination.authorized(plain) == Request(plain.url, plain.headers, body)


def encoded(given, **options):
    own = destination(**options)
    return json.loads(sent(own, own.encode(given, Encoder().dumps)))


def payload_of(payload, event_id="id-1"):
    own = destination()
    body, own_id = own.encode_payload(payload, event_id=event_id, time=TIME, dumps=Encoder().dumps)
    return sent(own, body), own_id


def rejection(call):
    with pytest.raises(EventRejected) as caught:
        call()
    return caught.value.reason


FIELDS = {"distinct_id": "u-1", "token": "t0ken", "time": 1_700_000_000.124, "$insert_id": "id-1"}

# --- bodies of the reference ----------------------------------------------------------------------

COMPLETE = {"distinct_id": "007", "token": "theirs", "time": 1_700_000_000.123, "$insert_id": "x-1"}
DOCUMENTED = [
    pytest.param({}, id="the required"),
    pytest.param({"time": 1_700_000_000}, id="whole seconds"),
    pytest.param({"$device_id": "d-1", "$ip": "192.0.2.1"}, id="device and address"),
    pytest.param({"$options": {"integrations": {"Mixpanel": False}}}, id="all but one"),
    pytest.param({"$options": {"integrations": {"All": False, "Mixpanel": True}}}, id="only one"),
    pytest.param({"nested": [[1], [], {}], "none": None, "html": '<a href="x">\n'}, id="quirks"),
]


@pytest.mark.parametrize("extra", DOCUMENTED)
@pytest.mark.parametrize("wrap", [dict, MappingProxyType])
def test_a_documented_body_goes_unchanged(extra, wrap):
    """Exactly as the reference prints it; its `$insert_id` is the event's id."""
    payload = {"event": "checkout.completed", "properties": {**COMPLETE, **extra}}
    body, own = payload_of(wrap(payload))
    assert (body, own) == (json.dumps(payload, separators=(",", ":")).encode(), "x-1")


def test_the_documented_identification_goes_unchanged():
    """`$identify` with `$user_props`."""
    payload = {"event": "$identify", "properties": {**COMPLETE, "$user_props": {"plan": "pro"}}}
    assert json.loads(payload_of(payload)[0]) == payload


@pytest.mark.parametrize(
    "missing", [["token"], ["time"], ["$insert_id"], ["token", "time", "$insert_id"]]
)
def test_what_is_missing_is_filled_in(missing):
    """Token, time and id; everything else stays, and so does the caller's dict."""
    properties = {key: value for key, value in COMPLETE.items() if key not in missing}
    payload = {"event": "a", "properties": properties, "more": 1}
    before = json.dumps(payload)
    body, own = payload_of(payload)
    filled = {key: FIELDS[key] for key in missing}
    assert json.loads(body) == {"event": "a", "properties": {**properties, **filled}, "more": 1}
    assert own == ("id-1" if "$insert_id" in missing else "x-1")
    assert json.dumps(payload) == before


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "invalid_event"),
        ({"event": 5}, "invalid_event"),
        ({"event": ""}, "invalid_event"),
        ({"event": "a"}, "invalid_properties"),
        ({"event": "a", "properties": None}, "invalid_properties"),
        ({"event": "a", "properties": [1]}, "invalid_properties"),
        ({"event": "a", "properties": {}}, "missing_identity"),
    ],
)
def test_a_body_without_its_parts_is_rejected(payload, reason):
    """Checked at the call, because the vendor says 200 first and looks later."""
    assert rejection(lambda: payload_of(payload)) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"distinct_id": ""}, "missing_identity"),
        ({"distinct_id": None}, "missing_identity"),
        ({"distinct_id": 7}, "missing_identity"),
        ({"token": ""}, "invalid_token"),
        ({"token": 5}, "invalid_token"),
        ({"time": None}, "invalid_time"),
        ({"time": "1700000000"}, "invalid_time"),
        ({"time": True}, "invalid_time"),
        ({"time": 1_700_000_000_123}, "invalid_time"),
        ({"time": -1}, "invalid_time"),
        ({"time": float("nan")}, "invalid_time"),
        ({"time": 10**400}, "invalid_time"),
        ({"time": datetime(2024, 1, 1, tzinfo=UTC)}, "invalid_time"),
        ({"$insert_id": ""}, "invalid_insert_id"),
        ({"$insert_id": "x" * 37}, "invalid_insert_id"),
        ({"$insert_id": 5}, "invalid_insert_id"),
    ],
)
def test_a_field_of_the_wrong_form_is_rejected(changes, reason):
    """With a short stable word for the count."""
    payload = {"event": "a", "properties": {**COMPLETE, **changes}}
    assert rejection(lambda: payload_of(payload)) == reason


@pytest.mark.parametrize(
    ("payload", "known"),
    [
        ({"event": "x"}, True),
        ({"properties": {}}, True),
        ({"event": {"name": "x"}, "application": {}}, False),
        (
            {
                "application": {"id": "a"},
                "event": {"name": "x"},
                "type": "server",
                "usr": {"id": "u"},
                "properties": {"a": 1},
            },
            False,
        ),
        ({}, False),
    ],
    ids=["name", "properties", "Datadog's", "Datadog's with an attribute of that name", "nothing"],
)
def test_its_bodies_are_recognized(payload, known):
    """By an `event` that is text, or `properties`; Datadog's bodies are not taken for its own."""
    assert destination().recognizes(payload) is known


# --- neutral events -------------------------------------------------------------------------------


def test_a_neutral_event_maps_to_the_documented_object():
    """Every argument has its place; the time is that of the call, to the millisecond."""
    given = event(
        account_id=7,
        session_id="s-1",
        device_id="d-1",
        ip=ip_address("192.0.2.1"),
        integrations={"All": False, "Mixpanel": True},
        properties={"amount": 1, "customer": {"tier": "premium"}},
    )
    assert encoded(given) == {
        "event": "checkout.completed",
        "properties": {
            **FIELDS,
            "$device_id": "d-1",
            "account_id": "7",
            "session_id": "s-1",
            "$ip": "192.0.2.1",
            "$options": {"integrations": {"All": False, "Mixpanel": True}},
            "amount": 1,
            "customer": {"tier": "premium"},
        },
    }


def test_an_event_needs_no_more_than_a_user():
    """No address, device or switches unless they are given."""
    assert encoded(event()) == {"event": "checkout.completed", "properties": FIELDS}


def test_without_a_user_the_device_did_it():
    """`distinct_id` is the device's id then, and `$device_id` as well."""
    properties = encoded(event(user_id=None, device_id="d-1"))["properties"]
    assert (properties["distinct_id"], properties["$device_id"]) == ("d-1", "d-1")


def test_an_identification_carries_properties_of_the_user():
    """`$identify` with `$user_props`, where the vendor's names are ordinary ones."""
    given = event(None, identify=True, properties={"plan": "pro", "token": "theirs"})
    assert encoded(given) == {
        "event": "$identify",
        "properties": {**FIELDS, "$user_props": {"plan": "pro", "token": "theirs"}},
    }


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (1_700_000_000, 1_700_000_000.0),
        (1_700_000_000.0006, 1_700_000_000.001),
        (datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC), 1_700_000_000.123),
        (datetime(2023, 11, 14, 22, 13, 20), 1_700_000_000.0),
    ],
)
def test_the_time_is_in_seconds(time, seconds):
    """Fractions to the millisecond; a datetime without a zone is UTC."""
    assert encoded(event(time=time))["properties"]["time"] == seconds


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": None}, "missing_identity"),
        ({"user_id": "", "device_id": ""}, "missing_identity"),
        ({"user_id": None, "account_id": "a", "session_id": "s"}, "missing_identity"),
        ({"user_id": 1.5}, "invalid_user_id"),
        ({"device_id": []}, "invalid_device_id"),
        ({"account_id": True}, "invalid_account_id"),
        ({"session_id": b"x"}, "invalid_session_id"),
        ({"name": ""}, "invalid_event"),
        ({"name": 5}, "invalid_event"),
        ({"time": 1_700_000_000_000}, "invalid_time"),
        ({"time": "now"}, "invalid_time"),
        ({"ip": ""}, "invalid_ip"),
        ({"ip": 5}, "invalid_ip"),
        ({"integrations": ["Mixpanel"]}, "invalid_integrations"),
        ({"integrations": {"Mixpanel": 1}}, "invalid_integrations"),
        ({"integrations": {1: True}}, "invalid_integrations"),
        ({"properties": "x"}, "invalid_properties"),
        ({"properties": 5, "identify": True}, "invalid_properties"),
    ],
)
def test_an_event_that_cannot_be_taken_is_rejected(fields, reason):
    """With a short stable word for the count."""
    assert rejection(lambda: encoded(event(**fields))) == reason


RESERVED = [
    "distinct_id",
    "token",
    "time",
    "$insert_id",
    "$device_id",
    "$ip",
    "$options",
    "account_id",
]
NAMES = st.sampled_from([*RESERVED, *(f"{name}_" for name in RESERVED), "token__", "custom"])


@QUICK
@given(
    properties=st.dictionaries(NAMES, st.integers(0, 99), max_size=8),
    given_fields=st.sets(st.sampled_from(["device_id", "account_id", "ip", "integrations"])),
)
def test_the_callers_keys_never_overwrite_the_vendors(properties, given_fields):
    """Token, time, id and whatever was given stand, and every value of the caller's survives."""
    values = {"device_id": "d", "account_id": "a", "ip": "::1", "integrations": {"All": True}}
    fields = {name: values[name] for name in given_fields}
    before = dict(properties)
    alone = encoded(event(**fields))["properties"]
    got = encoded(event(**fields, properties=properties))["properties"]
    assert {key: got[key] for key in alone} == alone
    rest = [value for key, value in got.items() if key not in alone]
    assert sorted(rest) == sorted(properties.values())
    assert properties == before


def test_a_vendors_field_that_was_not_given_may_be_a_property():
    """Whoever knows the vendor's `$device_id` may pass it as a property."""
    assert encoded(event(properties={"$device_id": "d"}))["properties"]["$device_id"] == "d"


# --- where and how it goes ------------------------------------------------------------------------


def test_one_plain_object_a_request():
    """No batch form and no compression are documented, so none is used."""
    given = destination()
    request = given.request([b"{}"])
    assert (request.url, request.body, dict(request.headers)) == (
        "https://api.perfalytics.com/track",
        b"{}",
        {"Content-Type": "application/json", "Accept": "application/json"},
    )
    assert (given.tuning.max_batch_events, given.tuning.flush_interval) == (1, 0.0)
    assert given.tuning.compression is None


def test_an_endpoint_of_ones_own():
    """A full URL takes the place of the vendor's, and can be read."""
    given = destination(endpoint="http://127.0.0.1:8080/track")
    assert (given.endpoint, given.request([b"{}"]).url) == (("http://127.0.0.1:8080/track",) * 2)


def test_the_environment_is_read_at_the_call(monkeypatch):
    """The token; given options win."""
    monkeypatch.setenv("FRESHPAINT_TOKEN", "from-env")
    for made, token in (
        (Freshpaint.from_env(), "from-env"),
        (Freshpaint.from_env(token="mine", name="second"), "mine"),
    ):
        body = sent(made, made.encode(event(), Encoder().dumps))
        assert json.loads(body)["properties"]["token"] == token
    assert made.name == "second"


def test_the_environment_may_name_an_endpoint(monkeypatch):
    """It takes the place of the vendor's; empty is none, and a given one wins."""
    monkeypatch.setenv("FRESHPAINT_TOKEN", "t")
    monkeypatch.setenv("FRESHPAINT_ENDPOINT", "http://127.0.0.1:1/track")
    assert Freshpaint.from_env().endpoint == "http://127.0.0.1:1/track"
    assert Freshpaint.from_env(endpoint="http://127.0.0.1:2/").endpoint == "http://127.0.0.1:2/"
    monkeypatch.setenv("FRESHPAINT_ENDPOINT", "")
    assert Freshpaint.from_env().endpoint == destination().endpoint


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(monkeypatch, value):
    """Unset and empty are the same."""
    if value is None:
        monkeypatch.delenv("FRESHPAINT_TOKEN", raising=False)
    else:
        monkeypatch.setenv("FRESHPAINT_TOKEN", value)
    with pytest.raises(OptionError, match="token is not given and FRESHPAINT_TOKEN is not set"):
        Freshpaint.from_env()


def test_no_repr_and_no_rejection_shows_the_token():
    """Neither the destination's nor a request's; nor what is said of a wrong event."""
    given = destination()
    body = given.encode(event(id=str(uuid.UUID(int=1))), Encoder().dumps)
    request = given.request([body])
    assert b"t0ken" not in body
    assert b"t0ken" in given.authorized(request).body
    shown = (given, given.tuning, given.authorized(request), event())
    assert "t0ken" not in repr(shown)
    assert repr(given) == f"Freshpaint(name='freshpaint', endpoint='{given.endpoint}')"
