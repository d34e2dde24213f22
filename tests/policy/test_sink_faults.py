"""The words of a fault script, and which request meets which fault."""

from __future__ import annotations

import re

import pytest

from sendoff.sink import Fault, Kind, Settings, parse_fault
from sendoff.sink.faults import Plan, Script


def script(*lines, chance=lambda: 0.0):
    return Script([parse_fault(line) for line in lines], now=100.0, chance=chance)


def met(installed, vendor="datadog", now=100.0):
    """The text of the fault that a request meets."""
    fault = installed.plan(vendor, now).fault
    return fault.text if fault else None


def test_every_word_of_the_grammar_is_read():
    """Options may come in any order; times are seconds whatever their unit."""
    text = "429 for 2s retry-after 1 after 400ms on freshpaint first 3 share 0.5 reset-header 7"
    assert parse_fault(text) == Fault(
        text=text,
        kind=Kind.STATUS,
        status=429,
        lasts=2.0,
        retry_after=1.0,
        after=0.4,
        vendor="freshpaint",
        first=3,
        share=0.5,
        reset_header=7.0,
    )
    assert parse_fault("latency 400ms").latency == 0.4
    assert parse_fault("html 502").status == 502
    assert parse_fault("redirect").status == 307
    for kind in ("hang", "reset", "reset-before", "truncate", "close"):
        assert parse_fault(kind) == Fault(text=kind, kind=Kind(kind))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "''"),
        ("explode", "'explode' is neither a status nor one of html"),
        ("status", "'status'"),
        ("199", "a status from 200 to 599, got '199'"),
        ("html", "html takes a status"),
        ("latency soon", "latency takes a time such as 2s, 400ms or 1.5, got 'soon'"),
        ("503 for", "for takes a time"),
        ("503 for -1", "'-1'"),
        ("503 on mars", "on takes one of datadog, freshpaint, got 'mars'"),
        ("503 first 0", "first takes a number from 1, got '0'"),
        ("503 share 0", "share takes a number above 0 and up to 1, got '0'"),
        ("503 share 2s", "'2s'"),
        ("503 maybe", "'maybe' is none of for, after, on"),
        ("503 for 1 for 2", "'for' is there twice"),
        ("hang retry-after 1", "headers need a status, html or redirect"),
    ],
)
def test_nonsense_is_refused_by_name(text, named):
    """The message names the word and what may stand there; settings refuse it too."""
    with pytest.raises(ValueError, match=re.escape(named)):
        parse_fault(text)
    with pytest.raises(ValueError, match=re.escape(named)):
        Settings(faults=(text,))


def test_a_fault_lasts_from_its_beginning_to_before_its_end():
    """`after` counts from the installation and `for` from there, ends excluded."""
    installed = script("503 after 1s for 2s")
    moments = (100.0, 100.75, 101.0, 102.75, 103.0)
    assert [met(installed, now=now) for now in moments] == [
        None,
        None,
        "503 after 1s for 2s",
        "503 after 1s for 2s",
        None,
    ]


def test_a_fault_meets_its_vendor_only():
    """`on` spares the other vendor."""
    installed = script("503 on datadog")
    assert met(installed, "datadog") == "503 on datadog"
    assert met(installed, "freshpaint") is None


def test_the_first_match_wins_and_the_rest_are_not_used_up():
    """A fault that another one hides keeps its `first` for later."""
    installed = script("503 first 1", "429 first 1")
    assert [met(installed) for _ in range(3)] == ["503 first 1", "429 first 1", None]


def test_latencies_add_up_on_top_of_the_fault_that_wins():
    """Every latency that matches counts, before or behind another fault."""
    installed = script("latency 100ms", "503", "latency 200ms", "latency 5s on freshpaint")
    fault, latency = installed.plan("datadog", 100.0)
    assert (fault.text, round(latency, 6)) == ("503", 0.3)
    assert script().plan("datadog", 100.0) == Plan(None, 0.0)


def test_a_share_is_drawn_for_each_fault():
    """The chances of two faults are independent, so both can be met."""
    draws = iter([0.4, 0.1, 0.2, 0.4, 0.4])
    installed = script("503 share 0.3", "429 share 0.3", chance=lambda: next(draws))
    assert [met(installed) for _ in range(3)] == ["429 share 0.3", "503 share 0.3", None]


def test_what_is_processed_before_the_harm_is_done():
    """Three faults accept the events first, so that a second attempt shows as a duplicate."""
    processing = {kind for kind in Kind if Fault(text="", kind=kind).processes}
    assert processing == {Kind.RESET, Kind.TRUNCATE, Kind.CLOSE}


def test_an_answering_fault_brings_its_headers_and_its_kind_of_body():
    """Headers are written as vendors write them; the body is of the vendor, or HTML."""
    limited = parse_fault("429 retry-after 1 reset-header 2.5").answer("datadog", 0.0)
    assert dict(limited.headers) == {
        "Content-Type": "application/json",
        "Retry-After": "1",
        "X-RateLimit-Reset": "2.5",
    }
    assert limited.body.startswith(b'{"errors": [{"title": "Too Many Requests"')
    dated = parse_fault("503 retry-after-date 2").answer("freshpaint", 0.0)
    assert dict(dated.headers)["Retry-After"] == "Thu, 01 Jan 1970 00:00:02 GMT"
    page = parse_fault("html 502").answer("datadog", 0.0)
    assert (page.status, page.body[:6]) == (502, b"<html>")
    assert dict(parse_fault("redirect").answer("datadog", 0.0).headers)["Location"] == "/redirected"
    assert parse_fault("599").answer("datadog", 0.0).status == 599


def test_a_changed_script_leaves_the_other_faults_as_they_are():
    """What is added begins now and wins; what stays keeps its age and its count."""
    old = script("503 for 10s", "429 first 2", "hang on freshpaint")
    old.plan("datadog", 101.0)
    new = old.changed(
        add=[parse_fault("500 on datadog")], remove=["hang on freshpaint", "unknown"], now=108.0
    )
    assert new.plan("datadog", 108.0).fault.status == 500
    assert [(one.text, one.met, one.ends_in, one.over) for one in new.standing(109.0)] == [
        ("500 on datadog", 1, None, False),
        ("503 for 10s", 1, 1.0, False),
        ("429 first 2", 0, None, False),
    ]
    assert new.plan("freshpaint", 111.0).fault.status == 429
    assert len(old.faults) == 3


def test_a_fault_stands_as_far_as_it_has_come():
    """Before its time, in it, behind it, and used up."""
    faults = script("503 after 2s for 3s", "429 first 1")
    states = []
    for now in (100.0, 103.0, 105.0):
        faults.plan("datadog", now)
        states.append([(one.begins_in, one.ends_in, one.over) for one in faults.standing(now)])
    assert states == [
        [(2.0, 5.0, False), (0.0, None, True)],
        [(0.0, 2.0, False), (0.0, None, True)],
        [(0.0, 0.0, True), (0.0, None, True)],
    ]
