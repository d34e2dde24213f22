"""What the sink's vendors take, refuse and answer, checked without a socket."""

from __future__ import annotations

import gzip
import json
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff.sink import strict
from sendoff.sink.contract import judge, judging
from sendoff.sink.settings import Settings
from sendoff.sink.strict import inflate, parse_json

DATADOG, FRESHPAINT = "/api/v2/prodlytics", "/track"
JSON = {"content-type": "application/json", "dd-api-key": "key"}
NDJSON = {**JSON, "content-type": "text/plain;charset=UTF-8"}
OPEN = Settings()


def server_event(**fields):
    """A valid Datadog event, with `fields` in the place of its own; `None` drops one."""
    event = {
        "application": {"id": "app"},
        "event": {"name": "checkout.completed"},
        "type": "server",
        "usr": {"id": "u-1"},
        **fields,
    }
    return {key: value for key, value in event.items() if value is not None}


def track_event(**properties):
    """A valid Freshpaint event, with `properties` in the place of its own; `None` drops one."""
    merged = {"distinct_id": "u-1", "token": "token", "time": 1_700_000_000.123, **properties}
    kept = {key: value for key, value in merged.items() if value is not None}
    return {"event": "checkout.completed", "properties": kept}


def ask(path, body, headers=JSON, settings=OPEN, method="POST"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(settings, method, path, headers, raw)


def fate(path, body, headers=JSON, settings=OPEN):
    """Status and reason of a request."""
    verdict = ask(path, body, headers, settings)
    return verdict.status, verdict.reason


def test_a_plain_object_is_accepted_with_an_empty_object():
    """Datadog answers 202 and `{}` to the documented form."""
    verdict = ask(DATADOG, server_event(insert_id="i-1", customer={"tier": "premium"}))
    assert (verdict.status, verdict.body, verdict.ids) == (202, b"{}", ("i-1",))
    assert (verdict.count, verdict.array_of_one, verdict.malformed) == (1, False, False)


def test_an_array_is_accepted_and_one_of_a_single_event_is_told_apart():
    """An array holds one event or more; a single one is noted, since a plain object was due."""
    two, one = (ask(DATADOG, [server_event()] * count) for count in (2, 1))
    assert (two.status, two.count, two.ids, two.array_of_one) == (202, 2, (None, None), False)
    assert (one.status, one.count, one.array_of_one) == (202, 1, True)
    assert fate(DATADOG, []) == (400, "array of events is empty")


def test_newline_joined_events_need_their_content_type_and_no_empty_line():
    """NDJSON is text/plain in UTF-8, never application/json, and has no trailing newline."""
    line = json.dumps(server_event()).encode()
    assert ask(DATADOG, line + b"\n" + line, NDJSON).count == 2
    spaced = {**JSON, "content-type": "Text/Plain; charset=utf-8"}
    assert fate(DATADOG, line, spaced) == (202, None)
    assert fate(DATADOG, line + b"\n", NDJSON)[1] == "newline-joined events hold an empty line"
    assert fate(DATADOG, b"", NDJSON)[1] == "newline-joined events hold an empty line"
    assert fate(DATADOG, line + b"\n" + line) == (400, "body is not valid JSON")
    assert fate(DATADOG, b"[" + line + b"]", NDJSON)[1] == "event is not an object"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-ndjson", "text/html"])
def test_another_content_type_is_refused(content_type):
    """Only the two documented or observed content types are taken."""
    headers = {**JSON, "content-type": content_type}
    assert fate(DATADOG, server_event(), headers)[1] == ("content type is not one of this vendor's")


def test_content_type_parameters_do_not_matter_to_json():
    """A charset behind application/json changes nothing."""
    headers = {**JSON, "content-type": "application/json; charset=utf-8"}
    assert fate(DATADOG, server_event(), headers) == (202, None)
    assert fate(FRESHPAINT, track_event(), headers) == (200, None)


def test_a_key_is_asked_for_and_compared_where_one_is_set():
    """No key is 401, a wrong one 403; without a setting any key will do."""
    keyed = Settings(api_key="right")
    without = {"content-type": "application/json"}
    assert fate(DATADOG, server_event(), without)[0] == 401
    assert fate(DATADOG, server_event(), {**JSON, "dd-api-key": ""})[0] == 401
    assert fate(DATADOG, server_event(), JSON, keyed)[0] == 403
    assert fate(DATADOG, server_event(), {**JSON, "dd-api-key": "right"}, keyed)[0] == 202
    assert "right" not in repr(keyed)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"application": None}, "application.id is not a non-empty string"),
        ({"application": {"id": ""}}, "application.id is not a non-empty string"),
        ({"application": "app"}, "application.id is not a non-empty string"),
        ({"event": {"name": 7}}, "event.name is not a non-empty string"),
        ({"type": None}, 'type is not "server"'),
        ({"type": "browser"}, 'type is not "server"'),
        ({"usr": None}, "none of usr, account and session is there"),
        ({"usr": {"id": 7}}, "usr.id is not a non-empty string"),
        ({"account": {}}, "account.id is not a non-empty string"),
        ({"session": "s-1"}, "session.id is not a non-empty string"),
    ],
)
def test_an_event_without_its_required_fields_is_refused(fields, reason):
    """Each required field is named when it is missing; an actor that is present needs an id."""
    assert fate(DATADOG, server_event(**fields)) == (400, reason)


def test_a_null_actor_is_an_actor_without_an_id():
    """`null` does not count as absent."""
    assert fate(DATADOG, {**server_event(), "account": None})[0] == 400


def test_one_bad_event_refuses_its_batch_and_is_named():
    """The answer names the index and the field, in the vendor's manner; nothing is accepted."""
    verdict = ask(DATADOG, [server_event(), server_event(type="x"), server_event()])
    assert json.loads(verdict.body) == {
        "errors": [
            {"title": "Bad Request", "detail": 'type is not "server": event 1', "status": "400"}
        ]
    }
    assert (verdict.events, verdict.ids, verdict.count, verdict.malformed) == ((), (), 3, False)


def test_batches_are_refused_where_the_intake_takes_single_events_only():
    """`accept_batches=False` refuses two or more, in either framing, and nothing else."""
    single = Settings(accept_batches=False)
    line = json.dumps(server_event()).encode()
    assert fate(DATADOG, [server_event()] * 2, settings=single)[1] == "batches are not accepted"
    assert fate(DATADOG, line + b"\n" + line, NDJSON, single)[1] == "batches are not accepted"
    assert fate(DATADOG, [server_event()], settings=single) == (202, None)
    assert fate(DATADOG, server_event(), settings=single) == (202, None)


def test_poison_refuses_the_whole_request():
    """An event of the poison's name costs its batch."""
    poisoned = Settings(poison="bad")
    batch = [server_event(), server_event(event={"name": "bad"})]
    assert fate(DATADOG, batch, settings=poisoned) == (400, "poison event")
    assert fate(DATADOG, batch) == (202, None)


@pytest.mark.parametrize(
    ("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_gzip_and_deflate_are_undone(encoding, squeeze):
    """Both encodings are read, cut short or broken bodies are refused."""
    headers = {**JSON, "content-encoding": encoding}
    packed = squeeze(json.dumps([server_event()] * 2).encode())
    assert ask(DATADOG, packed, headers).count == 2
    for broken in (packed[:-1], packed + b"x", b"no " + packed):
        assert fate(DATADOG, broken, headers) == (400, "body cannot be decompressed")


def test_no_more_is_unpacked_than_shows_that_it_is_too_much():
    """A small body may stand for a huge one; one byte beyond the limit is enough to know."""
    assert inflate(gzip.compress(bytes(1_000_000)), "gzip", 1_000) == bytes(1_001)


def test_other_content_encodings_are_refused():
    """Datadog reads two encodings, Freshpaint none."""
    headers = {**JSON, "content-encoding": "br"}
    assert fate(DATADOG, server_event(), headers)[1] == "body cannot be decompressed"
    headers = {**JSON, "content-encoding": "gzip"}
    packed = gzip.compress(json.dumps(track_event()).encode())
    assert fate(FRESHPAINT, packed, headers)[1] == "content encoding is not accepted"


def test_the_size_limit_is_exact_and_counts_before_compression():
    """5,000,000 bytes pass and one more does not, compressed or plain."""
    bare = len(json.dumps(server_event(pad="")).encode())
    full = json.dumps(server_event(pad="x" * (5_000_000 - bare))).encode()
    over = json.dumps(server_event(pad="x" * (5_000_001 - bare))).encode()
    packed = {**JSON, "content-encoding": "gzip"}
    assert (len(full), len(over)) == (5_000_000, 5_000_001)
    assert fate(DATADOG, full) == (202, None)
    assert fate(DATADOG, over)[0] == 413
    assert fate(DATADOG, gzip.compress(full, 1), packed) == (202, None)
    assert fate(DATADOG, gzip.compress(over, 1), packed)[0] == 413
    assert fate(FRESHPAINT, b" " * 10_000_001)[0] == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"\\uDC00":1}',
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 100_000,
    ],
)
def test_json_is_read_strictly(body):
    """Whatever two readers might take differently is refused, and counts as malformed."""
    for path in (DATADOG, FRESHPAINT):
        verdict = ask(path, body)
        assert (verdict.status, verdict.reason) == (400, "body is not valid JSON")
        assert verdict.malformed


def test_a_surrogate_pair_is_a_character():
    """Escapes of both halves together stand for one character beyond the basic plane."""
    raw = json.dumps(track_event(mood="\U0001f600")).encode()
    assert b"\\ud83d\\ude00" in raw
    assert ask(FRESHPAINT, raw).events[0]["properties"]["mood"] == "\U0001f600"


def test_freshpaint_takes_its_documented_event():
    """200 as soon as it is received; every reserved property in its documented form passes."""
    plain = ask(FRESHPAINT, track_event())
    assert (plain.status, plain.body, plain.ids, plain.count) == (200, b"{}", (None,), 1)
    full = {
        "$insert_id": "a-1",
        "$device_id": "d",
        "$ip": "127.0.0.1",
        "amount": None,
        "lists": [[{}]],
    }
    assert ask(FRESHPAINT, track_event(**full)).ids == ("a-1",)
    for options in (
        {"$options": {"integrations": {"Mixpanel": False}}},
        {"$options.integrations": {"All": False, "Mixpanel": True}},
    ):
        assert fate(FRESHPAINT, track_event(**options)) == (200, None)
    identify = {**track_event(**{"$user_props": {"plan": "pro"}}), "event": "$identify"}
    assert fate(FRESHPAINT, identify) == (200, None)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"distinct_id": None}, "distinct_id is not a non-empty string"),
        ({"distinct_id": 7}, "distinct_id is not a non-empty string"),
        ({"token": ""}, "token is not a non-empty string"),
        ({"time": None}, "time is not a number"),
        ({"time": True}, "time is not a number"),
        ({"time": "1700000000"}, "time is not a number"),
        ({"time": 1_700_000_000_123}, "time is in milliseconds, not in seconds"),
        ({"time": 0}, "time is not a moment after 1970"),
        ({"$insert_id": ""}, "$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -"),
        ({"$insert_id": "a" * 37}, "$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -"),
        ({"$insert_id": "a_1"}, "$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -"),
        ({"$insert_id": "a\n"}, "$insert_id is not 1 to 36 of A-Z, a-z, 0-9 and -"),
        ({"$device_id": 7}, "$device_id is not a string"),
        ({"$ip": 7}, "$ip is not a string"),
        ({"$options": []}, "$options is not an object"),
        (
            {"$options": {"integrations": {"All": 0}}},
            "$options.integrations is not an object of booleans",
        ),
        ({"$options.integrations": ["All"]}, "$options.integrations is not an object of booleans"),
        ({"$user_props": {}}, "$user_props is in an event other than $identify"),
    ],
)
def test_a_property_out_of_its_rule_is_refused(properties, reason):
    """Each reserved property has its type and range."""
    assert fate(FRESHPAINT, track_event(**properties)) == (400, reason)


def test_freshpaint_takes_one_object_only():
    """No array, no nameless event, no missing properties; errors are JSON."""
    assert fate(FRESHPAINT, [track_event()]) == (400, "event is not an object")
    assert fate(FRESHPAINT, {"properties": {}}) == (400, "event is not a non-empty string")
    verdict = ask(FRESHPAINT, {"event": "e"})
    assert json.loads(verdict.body) == {"error": "properties is not an object"}


def test_a_token_is_compared_where_one_is_set():
    """A wrong token is 403."""
    keyed = Settings(token="right")
    assert fate(FRESHPAINT, track_event(), settings=keyed)[0] == 403
    assert fate(FRESHPAINT, track_event(token="right"), settings=keyed) == (200, None)


def test_a_wrong_method_or_path_is_told_apart():
    """405 with the method that is allowed, 404 for a path of neither vendor."""
    for path in (DATADOG, FRESHPAINT):
        verdict = ask(path, b"", method="GET")
        assert (verdict.status, dict(verdict.headers)["Allow"]) == (405, "POST")
    assert ask("/elsewhere", b"").status == 404


def test_an_id_is_read_where_the_settings_say():
    """Only a non-empty string at the top of a Datadog event is its id."""
    named = Settings(id_attribute="event_id")
    events = [server_event(event_id="e-1", insert_id="i-1"), server_event(event_id=7)]
    assert ask(DATADOG, events, settings=named).ids == ("e-1", None)


class Pairs(list):
    """The members of an object, which may have a key twice."""


COMPACT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from("ab"), inner), max_size=3).map(Pairs)
    ),
    max_leaves=8,
)


def written(value):
    """A value as JSON without blanks, whatever is wrong with it."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f'"{key}":{written(inner)}' for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class SlowOnly:
    """An orjson that can read nothing."""

    JSONDecodeError, JSONEncodeError = orjson.JSONDecodeError, orjson.JSONEncodeError

    @staticmethod
    def loads(body):
        raise orjson.JSONDecodeError("no", "", 0)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(COMPACT)
def test_what_is_read_fast_is_read_as_it_is_slowly(value):
    """Whatever an encoder writes, right or wrong: the strict way finds the same."""

    def found():
        try:
            return repr(parse_json(written(value).encode(errors="surrogatepass")))
        except ValueError as error:
            return str(error)

    fast = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict, "orjson", SlowOnly)
        assert found() == fast


def test_nesting_that_can_be_read_and_not_be_written_is_read():
    """It goes the slow way, as anything unusual does."""
    assert parse_json(b"[" * 500 + b"]" * 500)[0] != []


def test_a_large_batch_is_judged_in_steps():
    """In between a server notes what arrives; what comes of it is the same."""
    events = [server_event(insert_id=str(number)) for number in range(3_500)]
    for bad in (None, 3_200):
        if bad is not None:
            events[bad] = server_event(type=None)
        body = json.dumps(events).encode()
        *between, verdict = judging(OPEN, "POST", DATADOG, JSON, body)
        assert between == [None] * 4
        assert verdict == judge(OPEN, "POST", DATADOG, JSON, body)
        assert verdict.status == (202 if bad is None else 400)
