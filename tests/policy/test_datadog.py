"""Datadog: the documented bodies, how an event maps, what is rejected, where and how it goes."""

from __future__ import annotations

import enum
import json
import uuid
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Datadog, Event, EventRejected, OptionError
from sendoff._encode import Encoder

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
TIME = 1_700_000_000.1234
JSON = "application/json"


def destination(**options):
    return Datadog(**{"api_key": "s3cret", "application_id": "app", **options})


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


def encoded(given, **options):
    body = destination(**options).encode(given, Encoder().dumps)
    return body if body is None else json.loads(body)


def rejection(call):
    with pytest.raises(EventRejected) as caught:
        call()
    return caught.value.reason


# --- bodies of the reference ----------------------------------------------------------------------

HEAD = {"application": {"id": "app"}, "type": "server"}
DOCUMENTED = [
    pytest.param(
        {**HEAD, "event": {"name": "checkout.completed"}, "account": {"id": "a-1"}}, id="account"
    ),
    pytest.param(
        {
            **HEAD,
            "event": {"name": "payment.processed"},
            "usr": {"id": "u-1"},
            "customer": {"tier": "premium"},
        },
        id="user and a custom attribute",
    ),
    pytest.param(
        {**HEAD, "event": {"name": "form.submitted"}, "session": {"id": "s-1"}}, id="session"
    ),
    pytest.param({**HEAD, "event": {"name": "a"}, "usr": {"id": "u-1"}}, id="user"),
    pytest.param(
        {
            **HEAD,
            "event": {"name": "a"},
            "account": {"id": "a-1"},
            "session": {"id": "s-1"},
            "usr": {"id": "u-1"},
        },
        id="all three",
    ),
    pytest.param(
        {
            **HEAD,
            "event": {"name": "a", "category": "x"},
            "usr": {"id": "u-1", "email": "ü", "tags": [None, {}, [1]]},
            "date": 1_700_000_000_123,
            "properties": {},
        },
        id="attributes everywhere",
    ),
]


@pytest.mark.parametrize("payload", DOCUMENTED)
@pytest.mark.parametrize("wrap", [dict, MappingProxyType])
def test_a_documented_body_goes_unchanged(payload, wrap):
    """Exactly as the reference prints it: nothing added, renamed or moved; the id is ours."""
    given = wrap(payload)
    body, event_id = destination().encode_payload(
        given, event_id="id-1", time=TIME, dumps=Encoder().dumps
    )
    assert (body, event_id) == (
        json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode(),
        "id-1",
    )
    assert destination().recognizes(given)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"application": None}, "invalid_application"),
        ({"application": "app"}, "invalid_application"),
        ({"application": {}}, "invalid_application"),
        ({"application": {"id": ""}}, "invalid_application"),
        ({"application": {"id": 5}}, "invalid_application"),
        ({"event": None}, "invalid_event"),
        ({"event": "checkout"}, "invalid_event"),
        ({"event": {"name": ""}}, "invalid_event"),
        ({"event": {"id": "x"}}, "invalid_event"),
        ({"type": None}, "invalid_type"),
        ({"type": "browser"}, "invalid_type"),
        ({"usr": ...}, "missing_identity"),
        ({"usr": None}, "invalid_usr"),
        ({"usr": "u-1"}, "invalid_usr"),
        ({"usr": {"id": 7}}, "invalid_usr"),
        ({"usr": {"name": "x"}}, "invalid_usr"),
        ({"account": {}}, "invalid_account"),
        ({"session": {"id": None}}, "invalid_session"),
    ],
)
def test_a_body_that_the_intake_would_not_take_is_rejected(changes, reason):
    """Checked at the call, because a 202 is a receipt and no validation."""
    payload = {**HEAD, "event": {"name": "a"}, "usr": {"id": "u-1"}, **changes}
    payload = {key: value for key, value in payload.items() if value is not ...}
    assert reason == rejection(
        lambda: destination().encode_payload(
            payload, event_id="id-1", time=TIME, dumps=Encoder().dumps
        )
    )


@pytest.mark.parametrize(("own", "event_id"), [("x-1", "x-1"), ("", "id-1"), (5, "id-1")])
def test_a_body_may_carry_its_own_id(own, event_id):
    """In the attribute that `id_attribute` names, if it is text."""
    payload = {**HEAD, "event": {"name": "a"}, "usr": {"id": "u-1"}, "event_id": own}
    _, got = destination(id_attribute="event_id").encode_payload(
        payload, event_id="id-1", time=TIME, dumps=Encoder().dumps
    )
    assert got == event_id


@pytest.mark.parametrize(
    ("payload", "known"),
    [
        ({"application": {}}, True),
        ({"type": "server"}, True),
        ({"event": "x", "properties": {}}, False),
        ({}, False),
    ],
)
def test_its_bodies_are_recognized(payload, known):
    """By `application`, or `"type": "server"`."""
    assert destination().recognizes(payload) is known


# --- neutral events -------------------------------------------------------------------------------


def test_a_neutral_event_maps_to_the_documented_object():
    """Name, user, account, session; properties are custom attributes at the top."""
    given = event(
        account_id=7, session_id="s-1", properties={"customer": {"tier": "premium"}, "n": 1}
    )
    assert encoded(given) == {
        "application": {"id": "app"},
        "event": {"name": "checkout.completed"},
        "type": "server",
        "usr": {"id": "u-1"},
        "account": {"id": "7"},
        "session": {"id": "s-1"},
        "customer": {"tier": "premium"},
        "n": 1,
    }


def test_what_the_vendor_does_not_know_is_left_out():
    """Device, address, integrations and time have no documented field here."""
    given = event(device_id="d", ip="127.0.0.1", integrations={"All": True})
    assert encoded(given) == {**HEAD, "event": {"name": "checkout.completed"}, "usr": {"id": "u-1"}}


def test_time_and_id_go_when_they_are_wanted():
    """`date` in whole milliseconds, the id in the attribute that was named."""
    body = encoded(event(), send_time=True, id_attribute="event_id")
    assert (body["date"], body["event_id"]) == (1_700_000_000_123, "id-1")


@pytest.mark.parametrize("field", ["user_id", "account_id", "session_id"])
@pytest.mark.parametrize(
    ("value", "text"), [("007", "007"), (7, "7"), (uuid.UUID(int=1), str(uuid.UUID(int=1)))]
)
def test_one_identity_is_enough(field, value, text):
    """Any one of the three, as text."""
    body = encoded(event(**{"user_id": None, field: value}))
    assert body[{"user_id": "usr", "account_id": "account", "session_id": "session"}[field]] == {
        "id": text
    }


def test_identifications_are_passed_over():
    """Datadog has no such thing: neither sent nor counted."""
    assert encoded(event(identify=True)) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": None}, "missing_identity"),
        ({"user_id": ""}, "missing_identity"),
        ({"user_id": None, "device_id": "d"}, "missing_identity"),
        ({"user_id": 1.5}, "invalid_user_id"),
        ({"account_id": True}, "invalid_account_id"),
        ({"session_id": b"x"}, "invalid_session_id"),
        ({"name": ""}, "invalid_event"),
        ({"name": None}, "invalid_event"),
        ({"properties": [1]}, "invalid_properties"),
    ],
)
def test_an_event_that_cannot_be_taken_is_rejected(fields, reason):
    """With a short stable word for the count."""
    assert rejection(lambda: encoded(event(**fields))) == reason


@pytest.mark.parametrize("time", [TIME * 1_000, "now", None])
def test_a_wrong_time_matters_only_where_it_is_sent(time):
    """Without `send_time` it is not looked at."""
    assert encoded(event(time=time))["usr"] == {"id": "u-1"}
    assert rejection(lambda: encoded(event(time=time), send_time=True)) == "invalid_time"


# --- the caller's keys and the vendor's -----------------------------------------------------------


class Key(enum.Enum):
    ID = "id"
    USR = "usr"


class TextKey(enum.StrEnum):
    USR = "usr"


def leaves(value):
    """Everything in a value that is no container."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


RESERVED = ["application", "event", "type", "usr", "account", "session", "date", "event_id"]
SMALL = st.integers(0, 99)
NAMES = st.sampled_from([*RESERVED, *(f"{name}_" for name in RESERVED), "usr__", "custom"])
INNER = st.dictionaries(st.sampled_from(["id", "id_", "name", "name_", "plan"]), SMALL, max_size=3)
PROPERTIES = st.dictionaries(NAMES, SMALL | INNER | st.lists(INNER, max_size=2), max_size=6)


@QUICK
@given(
    properties=PROPERTIES,
    ids=st.sets(st.sampled_from(["user_id", "account_id", "session_id"]), min_size=1),
    extras=st.booleans(),
)
def test_the_callers_keys_never_overwrite_the_vendors(properties, ids, extras):
    """Whatever they are called, the vendor's fields stand, and the caller's dict is untouched."""
    before = json.dumps(properties)
    options = {"send_time": True, "id_attribute": "event_id"} if extras else {}
    body = encoded(
        event(
            **dict.fromkeys(ids, "v"),
            **{} if "user_id" in ids else {"user_id": None},
            properties=properties,
        ),
        **options,
    )
    assert body["application"]["id"] == "app"
    assert body["event"]["name"] == "checkout.completed"
    assert body["type"] == "server"
    for argument, field in (
        ("user_id", "usr"),
        ("account_id", "account"),
        ("session_id", "session"),
    ):
        assert (body[field]["id"] == "v") if argument in ids else (field not in body)
    if extras:
        assert (body["date"], body["event_id"]) == (1_700_000_000_123, "id-1")
    assert json.dumps(properties) == before


@QUICK
@given(properties=PROPERTIES)
def test_every_value_of_the_callers_survives_somewhere(properties):
    """A key that is the vendor's gets another name; its value is not lost."""
    body = leaves(encoded(event(properties=properties)))
    for value in leaves(properties):
        body.remove(value)  # raises where it is missing


def test_attributes_may_stand_inside_the_vendors_objects():
    """`usr.plan` goes beside the id; an object without our id is the caller's own attribute."""
    body = encoded(
        event(
            properties={
                "usr": {"plan": "pro"},
                "session": {"kind": "x"},
                "event": {"category": "c"},
            }
        )
    )
    assert (body["usr"], body["event"]) == (
        {"id": "u-1", "plan": "pro"},
        {"name": "checkout.completed", "category": "c"},
    )
    assert body["session_"] == {"kind": "x"}


def test_a_value_under_the_vendors_own_name_is_kept():
    """`usr.id` is the vendor's; what the caller put there goes beside it."""
    body = encoded(event(properties={"usr": {"id": "mine", "plan": "pro"}}))
    assert body["usr"]["id"] == "u-1"
    assert "mine" in leaves(body)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({Key.USR: "mine"}, id="Enum at the top"),
        pytest.param({TextKey.USR: "mine"}, id="text Enum at the top"),
        pytest.param({"usr": {Key.ID: "mine"}}, id="Enum inside"),
    ],
)
def test_a_key_that_only_becomes_the_vendors_name_does_not_overwrite_it(properties):
    """Keys are turned into text when they are encoded: still the vendor's fields stand."""
    body = encoded(event(properties=properties))
    assert body["usr"]["id"] == "u-1"
    assert "mine" in leaves(body)


# --- where and how it goes ------------------------------------------------------------------------

HOSTS = {
    "us1": ("datadoghq.com", "browser-intake-datadoghq.com"),
    "us3": ("us3.datadoghq.com", "browser-intake-us3-datadoghq.com"),
    "us5": ("us5.datadoghq.com", "browser-intake-us5-datadoghq.com"),
    "eu1": ("datadoghq.eu", "browser-intake-datadoghq.eu"),
    "ap1": ("ap1.datadoghq.com", "browser-intake-ap1-datadoghq.com"),
    "ap2": ("ap2.datadoghq.com", "browser-intake-ap2-datadoghq.com"),
}


@pytest.mark.parametrize("short", HOSTS)
def test_a_site_is_known_by_both_names(short):
    """The short one and that of DD_SITE, in any case, lead to the site's own host."""
    long, host = HOSTS[short]
    for name in (short, long, short.upper(), long.upper()):
        assert destination(site=name).endpoint == f"https://{host}/api/v2/prodlytics"


def test_the_default_site_is_us1():
    """As for every client of the vendor's."""
    assert destination().endpoint == destination(site="us1").endpoint


@pytest.mark.parametrize(
    "site", ["gov", "ddog-gov.com", "us2.ddog-gov.com", "uk1", "uk1.datadoghq.com", "GOV"]
)
def test_sites_without_the_product_are_refused_by_name(site):
    """At construction, and not by events that never arrive."""
    with pytest.raises(OptionError, match=f"site '{site}' does not offer Product Analytics"):
        destination(site=site)


@pytest.mark.parametrize(
    "site", ["us2", "eu", "browser-intake-datadoghq.com", "https://datadoghq.com", "", None, 1]
)
def test_an_unknown_site_is_refused(site):
    """No host is derived by a rule."""
    with pytest.raises(OptionError, match=r"^site must be "):
        destination(site=site)


def test_an_endpoint_of_ones_own():
    """A full URL takes the place of the site's, and can be read."""
    url = "http://127.0.0.1:8080/any/path?x=1"
    given = destination(endpoint=url)
    assert (given.endpoint, given.request([b"{}"]).url) == (url, url)


ONE, TWO, THREE = b'{"n":1}', b'{"n":2}', b'{"n":3}'


@pytest.mark.parametrize(
    ("framing", "body", "content_type"),
    [
        ("array", b'[{"n":1},{"n":2},{"n":3}]', JSON),
        ("ndjson", b'{"n":1}\n{"n":2}\n{"n":3}', "text/plain;charset=UTF-8"),
    ],
)
def test_several_events_go_in_the_framing(framing, body, content_type):
    """A JSON array, or lines without one at the end, each with its content type."""
    request = destination(framing=framing).request([ONE, TWO, THREE])
    assert (request.body, request.headers["Content-Type"]) == (body, content_type)


@pytest.mark.parametrize("framing", ["array", "ndjson", "single"])
def test_a_batch_of_one_is_the_documented_object(framing):
    """Low traffic is always exactly on the documented contract."""
    request = destination(framing=framing).request([ONE])
    assert request.body == ONE
    assert dict(request.headers) == {
        "Content-Type": JSON,
        "Accept": JSON,
        "DD-API-KEY": "s3cret",
    }


def test_single_framing_is_one_event_a_request():
    """Whatever `max_batch_events` says."""
    assert destination(framing="single", max_batch_events=50).tuning.max_batch_events == 1


@pytest.mark.parametrize("framing", ["array", "ndjson"])
@settings(QUICK, max_examples=50)
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_framed_events_can_be_told_apart(framing, texts):
    """Whatever stands in them, line breaks included, the intake finds as many as were sent."""
    given = destination(framing=framing)
    bodies = [given.encode(event(properties={"text": text}), Encoder().dumps) for text in texts]
    body = given.request(bodies).body
    if framing == "array" and len(texts) > 1:
        found = json.loads(body)
    else:
        found = [json.loads(line) for line in body.split(b"\n")]
    assert [one["text"] for one in found] == [json.loads(Encoder().dumps(text)) for text in texts]


# --- environment and secrets ----------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    """The variables, set; a name given with None is not."""

    def set_to(**variables):
        for name in ("DD_API_KEY", "DD_APPLICATION_ID", "DD_SITE", "DD_ENDPOINT"):
            value = variables.get(name)
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_to


def test_the_environment_is_read_at_the_call(environment):
    """Key, application and site; given options win."""
    environment(DD_API_KEY="from-env", DD_APPLICATION_ID="env-app", DD_SITE="datadoghq.eu")
    given = Datadog.from_env()
    assert given.endpoint == destination(site="eu1").endpoint
    assert given.request([ONE]).headers["DD-API-KEY"] == "from-env"
    assert json.loads(given.encode(event(), Encoder().dumps))["application"] == {"id": "env-app"}
    other = Datadog.from_env(api_key="mine", site="us5", name="second", workers=2)
    assert (other.request([ONE]).headers["DD-API-KEY"], other.name) == ("mine", "second")
    assert (other.endpoint, other.tuning.workers) == (destination(site="us5").endpoint, 2)
    environment(DD_API_KEY="later", DD_APPLICATION_ID="env-app")
    assert Datadog.from_env().request([ONE]).headers["DD-API-KEY"] == "later"
    assert Datadog.from_env().endpoint == destination().endpoint


def test_the_environment_may_name_an_endpoint(environment):
    """It takes the place of the site's; empty is none, and a given one wins."""
    environment(DD_API_KEY="k", DD_APPLICATION_ID="a", DD_ENDPOINT="http://127.0.0.1:1/events")
    assert Datadog.from_env().endpoint == "http://127.0.0.1:1/events"
    assert Datadog.from_env(endpoint="http://127.0.0.1:2/").endpoint == "http://127.0.0.1:2/"
    environment(DD_API_KEY="k", DD_APPLICATION_ID="a", DD_ENDPOINT="")
    assert Datadog.from_env().endpoint == destination().endpoint


@pytest.mark.parametrize(
    ("missing", "option"), [("DD_API_KEY", "api_key"), ("DD_APPLICATION_ID", "application_id")]
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(environment, missing, option, value):
    """Unset and empty are the same."""
    environment(**{"DD_API_KEY": "k", "DD_APPLICATION_ID": "a", missing: value})
    with pytest.raises(OptionError, match=f"{option} is not given and {missing} is not set"):
        Datadog.from_env()


def test_an_unsupported_site_in_the_environment_is_refused(environment):
    """DD_SITE is often set for other products of the vendor's."""
    environment(DD_API_KEY="k", DD_APPLICATION_ID="a", DD_SITE="ddog-gov.com")
    with pytest.raises(OptionError, match="does not offer Product Analytics"):
        Datadog.from_env()


def test_no_repr_shows_the_key():
    """Name and URL are enough to tell destinations apart."""
    given = destination()
    shown = repr((given, given.tuning, given.request([ONE]), given.framing))
    assert "s3cret" not in shown
    assert repr(given) == f"Datadog(name='datadog', endpoint='{given.endpoint}')"
