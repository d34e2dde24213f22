"""What the demo makes of two counts, and what it shows of a run, as plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sendoff import DestinationStats
from sendoff.demo import Differences, compare
from sendoff.demo.compare import Account
from sendoff.demo.progress import Meter
from sendoff.demo.table import ledger_table, plain_table
from sendoff.sink import VendorStats

LEDGER = DestinationStats(
    delivered=3,
    rejections={},
    dropped={},
    dead_lettered=0,
    pending=0,
    pending_bytes=0,
    in_flight=0,
    requests=3,
    retries=0,
    marked_fields=0,
    state="closed",
)
SINK = VendorStats(
    requests=3,
    statuses={200: 3},
    faults={},
    refused={},
    malformed=0,
    events=3,
    accepted=3,
    unique=3,
    duplicates=0,
    without_id=0,
    batches=3,
    largest_batch=1,
    mean_batch=1.0,
    arrays_of_one=0,
    largest_body=197,
    fullest_second=3,
    first_at=1.0,
    last_at=1.5,
    seconds=((1, 3),),
)
AGREED = Account(given=3, ids=["a", "b", "c"], ledger=LEDGER, sink=SINK, arrived=["a", "c", "b"])
REPEATED = {
    "sink": replace(SINK, accepted=4, duplicates=1),
    "arrived": ["a", "c", "b", "c"],
}


def test_counts_that_agree_differ_by_nothing():
    """The order of arrival does not matter."""
    assert compare(AGREED) == Differences()
    assert not compare(AGREED)
    assert str(compare(AGREED)) == "none"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Delivered by the ledger, and nowhere to be found.
        ({"sink": replace(SINK, accepted=2, unique=2), "arrived": ["a", "b"]}, {"lost": 1}),
        # The number is right and the events are not.
        ({"arrived": ["a", "b", "x"]}, {"lost": 1, "unaccounted": 1}),
        # Dropped, and the ledger says so: it did not arrive all the same.
        (
            {
                "ledger": replace(LEDGER, delivered=2, dropped={"attempts": 1}),
                "sink": replace(SINK, accepted=2, unique=2),
                "arrived": ["a", "b"],
            },
            {"lost": 1},
        ),
        (REPEATED, {"duplicated": 1}),
        # Arrived, and the ledger has given it up.
        (
            {"ledger": replace(LEDGER, delivered=2, dropped={"expired": 1})},
            {"unaccounted": 1},
        ),
        # Arrived, and the ledger still waits for it.
        ({"ledger": replace(LEDGER, delivered=2, pending=1)}, {"unaccounted": 1}),
        # Given away, and in no count of the ledger.
        ({"given": 4, "ids": ["a", "b", "c", "d"]}, {"lost": 1, "unaccounted": 1}),
        ({"given": 2, "ids": ["a", "b"]}, {"unaccounted": 1}),
        # Not taken by anybody.
        (
            {"given": 4, "ledger": replace(LEDGER, rejections={"closed": 1})},
            {"lost": 1},
        ),
        ({"sink": replace(SINK, accepted=4, without_id=1)}, {"unaccounted": 1}),
    ],
)
def test_one_event_makes_a_difference(changes, expected):
    """Lost, duplicated or unaccounted: each is told, by its number."""
    found = compare(replace(AGREED, **changes))
    assert found == Differences(**expected)
    assert found


def test_after_breaks_repeats_are_no_difference_and_losses_are():
    """With faults the unique ids are compared; what is missing is missing all the same."""
    assert compare(replace(AGREED, **REPEATED), repeats_allowed=True) == Differences()
    lossy = replace(AGREED, sink=replace(SINK, accepted=4, unique=2, duplicates=2), arrived="aabb")
    assert compare(lossy, repeats_allowed=True) == Differences(lost=1)


def test_differences_say_which():
    """Only those that there are."""
    assert str(Differences(lost=1_000, unaccounted=2)) == "1,000 lost, 2 unaccounted"


def test_a_meter_counts_the_last_second():
    """The requests in the second before; over more than a second, if nobody looked, their mean."""
    meter = Meter("datadog", 3, 10.0)
    rates = [
        meter.read(replace(LEDGER, requests=requests), now).rate
        for requests, now in ((5, 10.25), (20, 10.5), (40, 11.25), (40, 11.5), (40, 14), (80, 18))
    ]
    assert rates == [5, 20, 35, 20, 0, 10]


@pytest.mark.parametrize(
    ("state", "delivered", "phase"),
    [
        ("closed", 2, "sending"),
        ("open", 2, "waiting"),
        ("half_open", 2, "probing"),
        ("open", 3, "done"),
    ],
)
def test_a_reading_names_what_a_destination_does(state, delivered, phase):
    """The breaker's state in plain words, until everything is delivered."""
    ledger = replace(LEDGER, state=state, delivered=delivered, pending=3 - delivered)
    reading = Meter("datadog", 3, 0.0).read(ledger, 0.1)
    assert (reading.phase, reading.enqueued, reading.delivered) == (phase, 3, delivered)


def test_the_table_holds_both_counts_and_the_limits():
    """Every line of it, as it is printed where there is no terminal."""
    ledger = replace(LEDGER, delivered=1_234, dropped={"attempts": 1}, dead_lettered=1, requests=9)
    rows = ledger_table(
        {"datadog": ledger, "mine": LEDGER},
        {"mine": SINK, "datadog": replace(SINK, faults={"reset": 2, "status": 1})},
        {"datadog": Differences(lost=2), "mine": Differences()},
    )
    assert plain_table(("datadog", "mine"), rows).splitlines() == [
        "                            datadog  mine",
        "dispatcher  submitted         1,236     3",
        "            delivered         1,234     3",
        "            given up              2     0",
        "            pending               0     0",
        "            requests              9     3",
        "            retries               0     0",
        "sink        accepted              3     3",
        "            unique ids            3     3",
        "            duplicates            0     0",
        "            requests              3     3",
        "            met a fault           3     0",
        "            fullest second        3     3  of 5,000",
        "            largest body        197   197  of 5,000,000",
        "difference                   2 lost  none",
    ]
