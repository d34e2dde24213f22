"""The sink's counts, and its settings as a command line."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendoff.sink import Settings, VendorStats, add_arguments, settings_from
from sendoff.sink.contract import Verdict
from sendoff.sink.ledger import Ledger
from sendoff.sink.settings import arguments

# Moments on a grid that floats hold exactly, dense enough for many to share a second.
moments = st.lists(st.integers(0, 64 * 4).map(lambda tick: 1_000 + tick / 64), max_size=60)


def accepted(*ids, array_of_one=False):
    events = tuple({"n": event_id} for event_id in ids)
    return Verdict(202, b"{}", count=len(ids), events=events, ids=ids, array_of_one=array_of_one)


def fullest(arrivals):
    """The rule itself: most arrivals in any [t, t+1), tried from every arrival."""
    return max((sum(s <= t < s + 1 for t in arrivals) for s in arrivals), default=0)


@given(moments)
def test_the_fullest_second_is_exact(arrivals):
    """After every request it equals the brute-force count over all windows so far."""
    ledger = Ledger(keep_events=0)
    arrivals.sort()
    for count, now in enumerate(arrivals, start=1):
        ledger.arrived(now)
        assert ledger.snapshot().fullest_second == fullest(arrivals[:count])


@given(moments)
def test_whole_seconds_hold_every_request(arrivals):
    """The series adds up to all requests, in order, each second once."""
    ledger = Ledger(keep_events=0)
    for now in sorted(arrivals):
        ledger.arrived(now)
    seconds = [second for second, _ in ledger.snapshot().seconds]
    assert seconds == sorted(set(map(int, arrivals)))
    assert sum(count for _, count in ledger.snapshot().seconds) == len(arrivals)


def test_windows_are_half_open():
    """A request exactly one second later is in the next window."""
    ledger = Ledger(keep_events=0)
    for now in (5.0, 5.5, 6.0):
        ledger.arrived(now)
    assert ledger.snapshot().fullest_second == 2


def test_a_request_that_seems_older_counts_with_the_last():
    """Handlers may run out of order; time in the ledger never goes back."""
    ledger = Ledger(keep_events=0)
    for now in (5.0, 6.0, 4.9):
        ledger.arrived(now)
    counts = ledger.snapshot()
    assert (counts.fullest_second, counts.first_at, counts.last_at) == (2, 5.0, 6.0)


def test_a_duplicate_is_an_id_accepted_before():
    """Across requests and within one; events without an id are no duplicates."""
    ledger = Ledger(keep_events=3)
    ledger.processed(accepted("a", "b", None, None))
    ledger.processed(accepted("b"))
    ledger.processed(accepted("c", "c"))
    counts = ledger.snapshot()
    assert (counts.accepted, counts.unique, counts.duplicates, counts.without_id) == (7, 3, 2, 2)
    assert ledger.ids == ["a", "b", "b", "c", "c"]
    assert [body["n"] for body in ledger.bodies] == ["b", "c", "c"]


def test_a_refused_request_leaves_no_id_and_no_body():
    """Its events are counted as seen; an event may come again and be new."""
    ledger = Ledger(keep_events=10)
    ledger.processed(Verdict(400, b"", count=3, reason="poison event"))
    ledger.processed(Verdict(400, b"", reason="body is not valid JSON"))
    ledger.processed(Verdict(413, b"", reason="too large"))
    counts = ledger.snapshot()
    assert (counts.events, counts.accepted, counts.batches, counts.malformed) == (3, 0, 0, 1)
    assert counts.refused == {"poison event": 1, "body is not valid JSON": 1, "too large": 1}
    assert (ledger.ids, list(ledger.bodies)) == ([], [])


def test_a_snapshot_holds_every_count_and_survives_json():
    """What goes over the wire is what was counted."""
    ledger = Ledger(keep_events=10)
    for now in (7.25, 7.5):
        ledger.arrived(now)
    ledger.received(120)
    ledger.received(80)
    ledger.processed(accepted("a", "b", "c"))
    ledger.processed(accepted("d", array_of_one=True))
    ledger.answered(202)
    ledger.faulted("reset")
    expected = VendorStats(
        requests=2,
        statuses={202: 1},
        faults={"reset": 1},
        refused={},
        malformed=0,
        events=4,
        accepted=4,
        unique=4,
        duplicates=0,
        without_id=0,
        batches=2,
        largest_batch=3,
        mean_batch=2.0,
        arrays_of_one=1,
        largest_body=120,
        fullest_second=2,
        first_at=7.25,
        last_at=7.5,
        seconds=((7, 2),),
    )
    assert ledger.snapshot() == expected
    assert VendorStats.from_json(json.loads(json.dumps(asdict(expected)))) == expected


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            port=8126,
            api_key="-k",
            token="t",
            faults=("503 for 2s", "latency 1"),
            id_attribute="event_id",
            accept_batches=False,
            poison="bad",
            keep_events=0,
            with_parent=True,
            quiet=True,
        ),
    ],
)
def test_settings_survive_a_command_line(settings):
    """Every setting has an option, and `arguments` writes what `settings_from` reads."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert settings_from(parser.parse_args(arguments(settings))) == settings


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"port": 65_536}, "port must lie in 0..65535"),
        ({"keep_events": -1}, "keep_events must be 0 or more"),
        ({"api_key": ""}, "api_key must not be empty"),
        ({"poison": ""}, "poison must not be empty"),
    ],
)
def test_a_setting_out_of_its_limits_is_named(options, named):
    """The message names the setting and its limit."""
    with pytest.raises(ValueError, match=named):
        Settings(**options)


def test_places_and_repeats_are_told_before_they_count():
    """Who looks on learns where events will stand, and which ids came before or twice at once."""
    ledger = Ledger(keep_events=0)
    assert ledger.place_of(("a", "b", "a", None)) == (0, {2})
    ledger.processed(accepted("a", "b", "a"))
    assert ledger.place_of(("c", "b")) == (3, {1})


@given(st.lists(st.one_of(st.integers(1, 4), st.none()), max_size=20), st.integers(0, 6))
def test_a_cursor_gives_every_event_once_or_counts_it(steps, keep):
    """However many come between two looks: what is shown and what is missed add up, in order."""
    ledger = Ledger(keep_events=keep)
    cursor = came = 0
    shown = []
    missed = 0
    for step in [*steps, None]:
        if step is not None:
            ledger.processed(accepted(*range(came, came + step)))
            came += step
            continue
        answer = ledger.bodies_after(cursor)
        cursor = answer["next"]
        missed += answer["missed"]
        shown += [event["n"] for event in answer["events"]]
    assert (cursor, len(shown) + missed) == (came, came)
    assert shown == sorted(set(shown))
    assert ledger.bodies_after(came + 1) == ledger.bodies_after(0)
