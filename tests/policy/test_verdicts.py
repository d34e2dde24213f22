"""What an answer means: one table for every status, failure and wish to wait."""

from __future__ import annotations

import gzip
import json
import re
import time as clock
import uuid
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import (
    Action,
    Datadog,
    EventRejected,
    Framing,
    HttpDestination,
    OptionError,
    Request,
    Response,
    Tuning,
    Verdict,
)
from sendoff.destinations import wording
from sendoff.destinations.base import compressed
from sendoff.destinations.checks import (
    epoch_seconds,
    event_name,
    insert_id_of,
    object_of,
    text_id,
    without,
)
from sendoff.destinations.verdicts import (
    DETAIL_LENGTH,
    FAILURES,
    STATUSES,
    is_plain_success,
    row_of_status,
    verdict_of_failure,
    verdict_of_response,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
NOW = 1_700_000_000.0
DESTINATION = Datadog(api_key="key", application_id="app")

EXACT = {
    400: (Action.NARROW, "bad_request"),
    401: (Action.HOLD, "unauthorized"),
    402: (Action.HOLD, "payment_required"),
    403: (Action.HOLD, "forbidden"),
    404: (Action.HOLD, "not_found"),
    405: (Action.HOLD, "not_found"),
    406: (Action.HOLD, "misconfigured"),
    407: (Action.HOLD, "proxy_auth"),
    408: (Action.RETRY, "request_timeout"),
    410: (Action.HOLD, "not_found"),
    411: (Action.HOLD, "misconfigured"),
    413: (Action.SPLIT, "too_large"),
    414: (Action.HOLD, "not_found"),
    415: (Action.HOLD, "unsupported_media"),
    417: (Action.HOLD, "misconfigured"),
    421: (Action.RETRY, "misdirected"),
    423: (Action.RETRY, "locked"),
    425: (Action.RETRY, "too_early"),
    426: (Action.HOLD, "misconfigured"),
    429: (Action.RETRY, "too_many_requests"),
    431: (Action.HOLD, "misconfigured"),
    451: (Action.HOLD, "forbidden"),
}
CLASSES = {
    1: (Action.RETRY, "bad_answer"),
    2: (Action.DELIVERED, "delivered"),
    3: (Action.HOLD, "redirect"),
    4: (Action.NARROW, "refused"),
    5: (Action.RETRY, "server_error"),
}


def verdict(status, body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return DESTINATION.verdict(Response(status, named, body), NOW)


def wish(**headers):
    return verdict(429, **headers).retry_after


# --- statuses -------------------------------------------------------------------------------------


def test_every_status_has_its_verdict():
    """100 to 599, each by its own row or that of its class; the words are those of the table."""
    got = {status: verdict(status) for status in range(100, 600)}
    assert {status: (one.action, one.reason) for status, one in got.items()} == {
        status: EXACT.get(status, CLASSES[status // 100]) for status in range(100, 600)
    }


def test_the_documented_answers():
    """202 delivers; 408, 429, 500, 503 are tried again; 400, 413 cost events; 401, 403 none."""
    assert {
        status: verdict(status).action for status in (202, 400, 401, 403, 408, 413, 429, 500, 503)
    } == {
        202: Action.DELIVERED,
        400: Action.NARROW,
        401: Action.HOLD,
        403: Action.HOLD,
        408: Action.RETRY,
        413: Action.SPLIT,
        429: Action.RETRY,
        500: Action.RETRY,
        503: Action.RETRY,
    }


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 999, 40_000])
def test_what_is_no_status_is_tried_again(status):
    """A status that HTTP does not know says nothing about the events."""
    assert (verdict(status).action, verdict(status).reason) == (Action.RETRY, "bad_answer")


def test_the_tables_name_each_key_once_and_say_why():
    """Each row is reachable, and the docs can print it."""
    for table in (STATUSES, FAILURES):
        assert len({row.key for row in table}) == len(table)
        assert all(row.why and row.reason.isidentifier() for row in table)
    assert {row_of_status(status).key for status in range(100, 600)} == {
        row.key for row in STATUSES
    }


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.key)
def test_every_failure_has_its_verdict(row):
    """No answer is a verdict, too; only a stale connection is tried again at once."""
    assert verdict_of_failure(row.key) == Verdict(
        row.action, row.reason, row.why, at_once=row.key == "disconnected"
    )


def test_what_no_later_try_mends_holds():
    """All other failures pass by themselves; these are mended by somebody."""
    assert {row.key for row in FAILURES if row.action is Action.HOLD} == {
        "tls",
        "proxy_refused",
        "session",
        "no_credential",
    }


def test_a_failure_may_say_more():
    """What is known beyond the row stands behind its words."""
    assert verdict_of_failure("connect", "Connection refused").detail == (
        "refused or unreachable; not sent: Connection refused"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>",
        b"<!doctype HTML>",
        b"<html lang=en>",
        b"<HTML>",
        b"  \r\n<html>",
        b"\t<html>",
        b"\xef\xbb\xbf<!DOCTYPE html>",
        b"\xef\xbb\xbf\n\t <html>",
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_page_is_no_receipt(body, status):
    """A portal's or proxy's page under a 2xx: the intake has not seen the events; they go again."""
    got = verdict(status, body)
    assert (got.action, got.reason) == (Action.RETRY, "html_answer")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"ok", b'{"a": "<html>"}', b"<", b" ", b"<ok/>", b"\xff\xfe"]
)
def test_anything_else_under_a_2xx_is_a_receipt(body):
    """What the intake says with it does not matter."""
    assert verdict(202, body) == Verdict(Action.DELIVERED, "delivered")


# --- the wish to wait -----------------------------------------------------------------------------


def http_date(seconds):
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"retry_after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry_after": " 7 "}, 7.0, id="blanks"),
        pytest.param({"retry_after": "0"}, 0.0, id="at once"),
        pytest.param({"retry_after": "1.5"}, 1.5, id="fractions"),
        pytest.param({"retry_after": http_date(NOW + 30)}, 30.0, id="date, our clock"),
        pytest.param(
            {"retry_after": http_date(NOW + 3_630), "date": http_date(NOW + 3_600)},
            30.0,
            id="date, the server's clock",
        ),
        pytest.param({"retry_after": http_date(NOW - 30)}, 0.0, id="date gone by"),
        pytest.param({"retry_after": http_date(NOW + 30), "date": "soon"}, 30.0, id="bad Date"),
        pytest.param({"x_ratelimit_reset": "12"}, 12.0, id="reset"),
        pytest.param({"x_ratelimit_reset": "1700000012"}, 12.0, id="reset as an instant"),
        pytest.param({"x_ratelimit_reset": "1600000000"}, 0.0, id="instant gone by"),
        pytest.param({"retry_after": "7", "x_ratelimit_reset": "12"}, 7.0, id="both"),
        pytest.param({"retry_after": "soon", "x_ratelimit_reset": "12"}, 12.0, id="bad and good"),
        pytest.param({"retry_after": "-7"}, None, id="negative"),
        pytest.param({"retry_after": "1e3"}, None, id="exponent"),
        pytest.param({"retry_after": "nan"}, None, id="NaN"),
        pytest.param({"retry_after": "inf"}, None, id="infinite"),
        pytest.param({"retry_after": "."}, None, id="a dot"),
        pytest.param({"retry_after": "\N{ARABIC-INDIC DIGIT SEVEN}"}, None, id="other digits"),
        pytest.param({"retry_after": "9" * 400}, None, id="absurd"),
        pytest.param({"retry_after": ""}, None, id="empty"),
        pytest.param({"retry_after": "Fri, 99 Foo 2023 99:99:99 GMT"}, None, id="no date"),
        pytest.param({"x_ratelimit_reset": "soon"}, None, id="bad reset"),
    ],
)
def test_the_servers_wish(headers, seconds):
    """`Retry-After` as seconds or as a date by the server's own clock, else `X-RateLimit-Reset`."""
    assert wish(**headers) == seconds


@pytest.fixture(params=["UTC0", "EST5", "JST-9"])
def local_zone(request, monkeypatch):
    """The machine's own zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        clock.tzset()
        yield
    clock.tzset()


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 14 Nov 2023 22:13:50 GMT",
        "Tuesday, 14-Nov-23 22:13:50 GMT",
        "Tue Nov 14 22:13:50 2023",
        "Tue, 14 Nov 2023 22:13:50 -0000",
    ],
)
def test_a_date_is_in_greenwich_wherever_the_machine_stands(local_zone, date):
    """HTTP's three forms of a date are all UTC, also the one that does not say so."""
    assert wish(retry_after=date) == 30.0


@pytest.mark.parametrize("status", [429, 503, 500, 408])
def test_the_wish_counts_for_every_failure(status):
    """Any answer that is tried again may name its pause."""
    assert verdict(status, retry_after="3").retry_after == 3.0


DATE_PARTS = (
    "Wed, 21 Oct 2015 0001 9999 99999 07:28:00 7:61 24:00:00 GMT -0000 +9999 -2500 EST , . : - 0 "
    "07.28.00 69 31 Feb"
)
DATES = st.lists(st.sampled_from(DATE_PARTS.split()), max_size=8).map(" ".join)


@QUICK
@given(
    status=st.integers(-5, 700),
    body=st.binary(max_size=60),
    retry_after=st.one_of(st.text(max_size=30), DATES, st.floats().map(str)),
    reset=st.one_of(st.text(max_size=25), st.integers().map(str)),
    date=st.one_of(st.text(max_size=30), DATES),
)
def test_no_answer_at_all_raises(status, body, retry_after, reset, date):
    """Any bytes, any headers: a verdict, with a finite wait of at least 0 if any, on one line."""
    headers = {"retry-after": retry_after, "x-ratelimit-reset": reset, "date": date}
    got = DESTINATION.verdict(Response(status, headers, body), NOW)
    assert got.retry_after is None or 0.0 <= got.retry_after < float("inf")
    assert got.detail.isprintable()


# --- the vendor's own words -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"errors": [{"title": "Bad", "detail": "no id", "status": "400"}]}, "Bad: no id"),
        ({"errors": [{"title": "Bad"}]}, "Bad"),
        ({"errors": [{"detail": "no id"}]}, "no id"),
        ({"errors": [{"status": "400"}]}, ""),
        ({"errors": [{"title": "Bad"}, {}, {"detail": "Wrong"}]}, "Bad; Wrong"),
        ({"errors": ["plain", {"title": "Bad"}]}, "plain; Bad"),
        ({"errors": [{"title": 5, "detail": None}]}, ""),
        ({"errors": [{"title": "line\nend\u2028and\x1b[31m"}]}, "line end …"),
        ({"errors": []}, ""),
        ({"errors": None}, ""),
        ({"errors": 5}, ""),
        ({"error": "x"}, ""),
        ([], ""),
        ("errors", ""),
        (None, ""),
    ],
)
def test_structured_errors_become_the_detail(answer, words):
    """Every part is optional; what cannot be read is left out; the status stands there."""
    assert verdict(400, json.dumps(answer).encode()).detail == f"400 {words}".rstrip()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"{",
        b"[" * 60_000,
        b'{"errors":' + b"[" * 60_000,
        b"9" * 60_000,
    ],
)
def test_an_answer_that_is_no_json_survives(body):
    """A proxy may answer anything."""
    assert verdict(400, body).detail == "400"


def test_a_long_answer_is_shortened():
    """A log line stays a line."""
    body = json.dumps({"errors": [{"title": "bad " * 5_000}]}).encode()
    assert verdict(400, body).detail == "400 " + ("bad " * (DETAIL_LENGTH // 4)).rstrip()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Invalid value alice@example.com for usr.id", "Invalid value … for usr.id"),
        ("field 'distinct_id' is required.", "field 'distinct_id' is required."),
        (
            '"$insert_id" must be a string, got 4111111111111111',
            '"$insert_id" must be a string, got …',
        ),
        (
            "Content-Type: ['application/json'] expected",
            "Content-Type: ['application/json'] expected",
        ),
        ("BADalice is invalid", "… is invalid"),
        ("invalid token.alice", "invalid …"),
        ("invalid=alice", ""),
        ("alice bob carol", ""),
        ("invalid\u200balice", ""),
        ("\u0131nvalid", ""),
        ("the key is wrong", "the … is wrong"),
    ],
)
def test_only_listed_words_are_shown(said, shown):
    """An answer may repeat any value, in any form: nothing passes that is not in the list."""
    body = json.dumps({"errors": [{"detail": said}]}).encode()
    assert verdict(400, body).detail == f"400 {shown}".rstrip()


@QUICK
@given(st.text(max_size=60))
def test_no_text_gets_through_but_in_listed_words(said):
    """Every word that passes is one of the list, whatever stands around it."""
    for word in re.findall(r"[^\W_]+", wording.in_plain_words(said)):
        assert word.lower() in wording.WORDS


WORDS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["title", "detail", "status"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@QUICK
@given(WORDS)
def test_no_structure_of_errors_raises(errors):
    """Whatever stands where errors should: one printable line of bounded length."""
    detail = verdict(400, json.dumps({"errors": errors}).encode()).detail
    assert detail.isprintable()
    assert len(detail) <= len("400 ") + DETAIL_LENGTH


# --- requests -------------------------------------------------------------------------------------


def plain(**options):
    merged = {
        "name": "own",
        "endpoint": "https://intake.example/v1",
        "tuning": Tuning(max_batch_events=1),
        **options,
    }
    return HttpDestination(**merged)


def test_a_destination_of_ones_own():
    """The base sends a payload as it is, to one URL, with constant headers."""
    destination = plain(headers={"X-Key": "key"})
    body, event_id = destination.encode_payload(
        {"a": 1}, event_id="id", time=NOW, dumps=lambda value: json.dumps(value).encode()
    )
    assert (body, event_id, destination.recognizes({})) == (b'{"a": 1}', "id", True)
    request = destination.request([body])
    assert (request.url, request.body, dict(request.headers)) == (
        "https://intake.example/v1",
        body,
        {"Content-Type": "application/json", "Accept": "application/json", "X-Key": "key"},
    )
    assert repr(destination) == "HttpDestination(name='own', endpoint='https://intake.example/v1')"


def test_without_framing_there_are_no_batches():
    """A destination that cannot frame several events must say that it takes one."""
    with pytest.raises(OptionError, match=r"max_batch_events must be 1 .* without framing"):
        plain(tuning=Tuning())
    assert plain(tuning=Tuning(), framing=Framing(b"[", b",", b"]")).framing == Framing(
        b"[", b",", b"]"
    )


@pytest.mark.parametrize(
    ("method", "expand"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_compression_keeps_the_body_and_says_so(method, expand):
    """The header names it, equal bodies give equal bytes, and `deflate` means zlib."""
    destination = plain(tuning=Tuning(max_batch_events=1, compression=method))
    request = destination.request([b"x" * 1_000])
    assert request.headers["Content-Encoding"] == method
    packed = compressed(request, method)
    assert (expand(packed.body), packed.url, packed.headers) == (
        request.body,
        request.url,
        request.headers,
    )
    assert compressed(request, method) == packed


def test_a_request_hides_what_is_secret():
    """Headers and body, which hold credentials and a caller's data, are in no repr."""
    request = Request("https://intake.example/", {"X-Key": "secret"}, b"secret")
    response = Response(400, {"x": "secret"}, b"secret")
    assert "secret" not in repr((request, response))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    status=st.integers(100, 599) | st.sampled_from([199, 200, 202, 299, 300]),
    body=st.binary(max_size=30)
    | st.sampled_from([b"{}", b"<", b"<html>", b" <!doctype html>", b" " * 600 + b"<html>"]),
    padding=st.sampled_from([0, 490, 511, 512, 513]),
)
def test_the_short_cut_of_a_success_agrees_with_the_table(status, body, padding):
    """What is judged without the table is what the table calls delivered, whatever the body."""
    response = Response(status, {"content-type": "text/html"}, b" " * padding + body)
    got = destination_with_a_secret().verdict(response, 0.0)
    assert got == verdict_of_response(response, 0.0)
    if is_plain_success(response):
        assert got.action is Action.DELIVERED


def destination_with_a_secret():
    return Datadog(api_key="key", application_id="app")


# --- checks that destinations share ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        ("007", "007"),
        (" a ", " a "),
        (7, "7"),
        (0, "0"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_an_id_is_text(value, text):
    """A str stays as it is, an int or UUID becomes one; None and the empty str mean none."""
    assert text_id("user_id", value) == text


@pytest.mark.parametrize("value", [True, False, 1.5, b"a", [], {}, object(), Decimal(1)])
def test_an_id_of_another_type_is_rejected(value):
    """Its type is named, its value never."""
    with pytest.raises(EventRejected) as caught:
        text_id("user_id", value)
    assert (caught.value.reason, caught.value.detail) == (
        "invalid_user_id",
        f"user_id must be a str, int or UUID, not {type(value).__name__}",
    )


@pytest.mark.parametrize("value", ["a", "A-9", "x" * 36, uuid.UUID(int=1)])
def test_an_insert_id_is_taken(value):
    """1 to 36 characters of `[A-Za-z0-9-]`, or a UUID."""
    assert insert_id_of(value) == str(value)


@pytest.mark.parametrize(
    "value", ["", "x" * 37, "a_b", "ä", "a b", "a\n", 5, None, b"a", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_an_insert_id_is_rejected(value):
    """Anything else would not be told apart by the vendor."""
    with pytest.raises(EventRejected, match="1 to 36 of A-Z a-z 0-9 -") as caught:
        insert_id_of(value)
    assert caught.value.reason == "invalid_insert_id"


@pytest.mark.parametrize(
    ("value", "kind"), [("", "an empty str"), (None, "NoneType"), (b"a", "bytes"), (5, "int")]
)
def test_a_name_is_text(value, kind):
    """An event without a name is none."""
    with pytest.raises(EventRejected, match=f"must be a non-empty str, not {kind}") as caught:
        event_name(value)
    assert (caught.value.reason, event_name("a")) == ("invalid_event", "a")


@pytest.mark.parametrize("value", ["a", [("a", 1)], 5, {1}])
def test_properties_are_a_mapping(value):
    """None means none, any Mapping will do, anything else is rejected."""
    with pytest.raises(EventRejected, match="properties must be a mapping") as caught:
        object_of("properties", value)
    assert caught.value.reason == "invalid_properties"
    assert (object_of("properties", None), object_of("properties", {"a": 1})) == ({}, {"a": 1})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (1_700_000_000, 1_700_000_000.0),
        (1_700_000_000.123, 1_700_000_000.123),
        (datetime(2023, 11, 14, 22, 13, 20), 1_700_000_000.0),
        (datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), 1_700_000_000.0),
        (datetime(2023, 11, 15, 0, 13, 20, tzinfo=timezone(timedelta(hours=2))), 1_700_000_000.0),
    ],
)
def test_a_time_is_epoch_seconds(value, seconds, local_zone):
    """A number or a datetime; one without a zone is UTC, whatever the machine's zone is."""
    assert epoch_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        1_700_000_000_000,
        1e11,
        -1,
        float("nan"),
        float("inf"),
        10**400,
        True,
        None,
        "1700000000",
        Decimal(1_700_000_000),
        datetime(1, 1, 1),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_time_is_rejected(value):
    """Milliseconds above all: they would land in the year 55,000."""
    with pytest.raises(EventRejected) as caught:
        epoch_seconds(value)
    assert caught.value.reason == "invalid_time"


@QUICK
@given(st.dictionaries(st.sampled_from(["a", "a_", "a__", "b", "b_", "c"]), st.integers()))
def test_a_reserved_name_moves_and_its_value_stays(properties):
    """No reserved name is left, no value is lost, other names and the caller's dict stay."""
    reserved, before = frozenset("ab"), dict(properties)
    result = without(reserved, properties)
    assert reserved.isdisjoint(result)
    assert sorted(result.values()) == sorted(properties.values())
    assert {key: result[key] for key in properties.keys() - reserved} == {
        key: properties[key] for key in properties.keys() - reserved
    }
    assert properties == before


def test_a_secret_that_the_vendor_repeats_does_not_reach_the_log():
    """Neither whole nor cut off at the end of what is kept."""
    words = {"errors": [{"title": "no such key", "detail": "x" * 170 + " s3cr3t-s3cr3t-s3cr3t"}]}
    destination = Datadog(api_key="s3cr3t-s3cr3t-s3cr3t", application_id="app")
    detail = destination.verdict(Response(400, body=json.dumps(words).encode()), NOW).detail
    assert "no such key" in detail
    assert "s3cr3t" not in detail
