"""What a live page gets to see: a fair, bounded sample, as text."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendoff.sink.contract import Verdict
from sendoff.sink.rows import TEXT_LIMIT, Note, Wanted, row_of, text_of
from sendoff.sink.tape import (
    EARLIER_ROWS,
    GUESSES_LIMIT,
    LOOKS_LIMIT,
    NOTES_LIMIT,
    ROWS_A_TURN,
    ROWS_KEPT,
    TEXT_A_TURN,
    Tape,
    earlier_rows,
)


def event(name="e", user="u"):
    return {"event": {"name": name}, "usr": {"id": user}}


def batch(*events, first=0, status=202, fault=None, repeats=(), arrived=10.0):
    ids = tuple(f"id-{first + index}" for index in range(len(events)))
    verdict = Verdict(202, b"{}", count=len(events), events=events, ids=ids)
    return Note(
        "datadog",
        arrived,
        300,
        status,
        fault=fault,
        verdict=verdict,
        first=first,
        repeats=frozenset(repeats),
    )


def refused(body, reason="no good", encoding=None):
    verdict = Verdict(400, json.dumps({"error": f"{reason}: event 0"}).encode(), reason=reason)
    return Note("freshpaint", 10.0, len(body), 400, verdict=verdict, body=body, encoding=encoding)


def faulted(body, fault="503"):
    return Note("freshpaint", 10.0, len(body), 503, fault=fault, body=body)


def turn(*notes, wanted=None):
    tape = Tape()
    for note in notes:
        tape.note(note)
    tape.turn(12.0, 1_000_012.0)
    return tape.pick(wanted or Wanted())


def test_a_quiet_turn_shows_everything():
    """What fits is shown whole, in order, with its answer and its moment."""
    rows, seen, matching = turn(batch(event("a"), event("b", "w"), repeats=[1]))
    assert (seen, matching) == (2, 2)
    assert [(row["key"], row["name"], row["user"], row["id"]) for row in rows] == [
        ("datadog/0", "a", "u", "id-0"),
        ("datadog/1", "b", "w", "id-1"),
    ]
    assert [row["kinds"] for row in rows] == [["accepted"], ["accepted", "repeated"]]
    assert (rows[0]["at"], rows[0]["status"], rows[0]["size"]) == (1_000_010.0, 202, 300)
    assert json.loads(rows[1]["body"]) == event("b", "w")


@given(st.lists(st.integers(1, 40), max_size=40))
def test_a_sample_is_spread_evenly(sizes):
    """Whatever the batches, the rows are as many as allowed, and equally far apart."""
    notes, first = [], 0
    for size in sizes:
        notes.append(batch(*[event()] * size, first=first))
        first += size
    rows, seen, matching = turn(*notes)
    places = [int(row["key"].partition("/")[2]) for row in rows]
    assert (seen, matching, len(rows)) == (first, first, min(first, ROWS_A_TURN))
    assert places == [
        n * first // len(rows) if first > ROWS_A_TURN else n for n in range(len(rows))
    ]


def test_a_filter_samples_from_what_matches():
    """One event among thousands is found, since looking comes before choosing."""
    events = [event()] * (LOOKS_LIMIT - 1) + [event("Rare.one", "u-77")]
    for wanted in (Wanted(name="rare"), Wanted(user="U-7"), Wanted("datadog", "", "rare", "77")):
        rows, seen, matching = turn(batch(*events), wanted=wanted)
        assert ([row["name"] for row in rows], seen, matching) == (["Rare.one"], len(events), 1)
    assert turn(batch(*events), wanted=Wanted(vendor="freshpaint")) == ([], len(events), 0)


def test_looking_is_bounded():
    """Beyond the limit every nth is looked at, and the number of matches is an estimate."""
    events = [event("a"), event("b")] * LOOKS_LIMIT
    rows, seen, matching = turn(batch(*events), wanted=Wanted(name="a"))
    assert len(rows) == ROWS_A_TURN
    assert (seen, matching) == (2 * LOOKS_LIMIT, 2 * LOOKS_LIMIT)
    bodies = [faulted(b'{"event": "a"}')] * (GUESSES_LIMIT + 1)
    assert turn(*bodies, wanted=Wanted(name="a")).matching == GUESSES_LIMIT


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("accepted", ["fine", "again", "hidden"]),
        ("refused", ["bad"]),
        ("faulted", ["hidden", "down"]),
        ("repeated", ["again"]),
    ],
)
def test_each_kind_can_be_asked_for(kind, names):
    """A turn's rows and kept rows are told apart by the same rule."""
    tape = Tape()
    tape.note(batch(event("fine"), event("again"), repeats=[1]))
    tape.note(batch(event("hidden"), first=2, status=None, fault="reset"))
    tape.note(refused(b'{"event": "bad"}'))
    tape.note(faulted(b'{"event": "down", "properties": {"distinct_id": "u-1"}}'))
    tape.turn(0.0, 0.0)
    assert [row["name"] for row in tape.pick(Wanted(kind=kind)).rows] == names
    assert [row["name"] for row in tape.kept(Wanted(kind=kind))] == names


def test_memory_is_bounded():
    """Requests of a turn and rows of many turns are kept up to a number; sizes count all."""
    tape = Tape()
    for _ in range(NOTES_LIMIT + 5):
        tape.note(batch(event()))
    tape.turn(0.0, 0.0)
    assert tape.pick(Wanted()).seen == NOTES_LIMIT + 5
    for first in range(2 * ROWS_KEPT):
        tape.note(batch(event(), first=first))
        tape.turn(0.0, 0.0)
    assert len(tape.kept(Wanted())) == ROWS_KEPT
    assert sum(tape.sizes["datadog"]) == NOTES_LIMIT + 5 + 2 * ROWS_KEPT


def test_bodies_are_sorted_by_size():
    """Bounds belong to the class below them; what is beyond the last is in one of its own."""
    tape = Tape()
    for size in (0, 1_000, 1_001, 5_000_000, 5_000_001):
        tape.note(Note("datadog", 0.0, size, 202))
    assert tape.sizes == {"datadog": [2, 1, 0, 0, 1, 1]}


def test_large_events_become_fewer_rows():
    """A turn's text is bounded, and so is each body's; what is cut says so."""
    large = {**event(), "pad": "x" * 2 * TEXT_LIMIT}
    rows = turn(batch(*[large] * 30)).rows
    assert len(rows) == TEXT_A_TURN // TEXT_LIMIT
    assert {(len(row["body"]), row["cut"]) for row in rows} == {(TEXT_LIMIT, True)}


def test_a_body_is_text_as_it_was_sent():
    """Large integers keep their digits, and markup is only text."""
    text, cut = text_of({"n": 2**63, "name": "<script>", "é": 1})
    assert (text, cut) == (
        '{\n  "n": 9223372036854775808,\n  "name": "<script>",\n  "é": 1\n}',
        False,
    )


def test_a_body_nested_ever_deeper_is_cut_like_any_other():
    """The printer gets to the end of the text long before the end of its stack."""
    value = []
    for _ in range(50_000):
        value = [value]
    text, cut = text_of(value)
    assert (len(text), cut) == (TEXT_LIMIT, True)


@pytest.mark.parametrize(
    ("note", "body", "name", "count"),
    [
        (refused(b'{"event": '), '{"event": ', "", 0),
        (refused(b"\xff\x00"), "\ufffd\x00", "", 0),
        (refused(b'{"event": "e"}'), '{\n  "event": "e"\n}', "e", 1),
        (refused(b"[1]"), "[\n  1\n]", "", 1),
        (refused(gzip.compress(b"7"), encoding="gzip"), "7", "", 1),
        (refused(b"not gzip", encoding="gzip"), "(8 bytes that cannot be decompressed)", "", 0),
        (refused(b""), "", "", 0),
    ],
    ids=["torn", "no text", "readable", "a list", "packed", "badly packed", "empty"],
)
def test_what_was_refused_is_shown_as_it_came(note, body, name, count):
    """Malformed bodies stand as they are, with what was wrong."""
    row = row_of(note, 0, key="k", at=None)
    assert (row["body"], row["name"], row["count"]) == (body, name, count)
    assert (row["reason"], row["kinds"]) == ("no good: event 0", ["refused"])


def test_rows_are_made_once_for_all_pages():
    """Two pages that see the same event share its row."""
    tape = Tape()
    tape.note(batch(event("a")))
    tape.turn(0.0, 0.0)
    assert tape.pick(Wanted(name="a")).rows[0] is tape.pick(Wanted()).rows[0]


def test_events_from_before_anybody_watched_have_no_moment():
    """The last of them are shown, oldest first, under the keys that they would have had."""
    bodies = [event(f"e-{n}") for n in range(EARLIER_ROWS + 5)]
    rows = earlier_rows("datadog", bodies, [None] * len(bodies), 1_000, Wanted())
    assert [row["name"] for row in rows] == [f"e-{n}" for n in range(5, EARLIER_ROWS + 5)]
    assert (rows[0]["key"], rows[0]["at"], rows[0]["status"]) == ("datadog/1005", None, None)
    rows = earlier_rows("datadog", bodies, [None] * len(bodies), 0, Wanted(name="e-3"))
    assert [row["name"] for row in rows] == ["e-3", *(f"e-{n}" for n in range(30, 40))]
