"""What a snapshot says of a dispatcher's health."""

from __future__ import annotations

import json

import pytest

from sendoff import Ailment, Complaint, DestinationStats, Health, OptionError, Stats, health_of

WELL = {
    "delivered": 10,
    "rejections": {},
    "dropped": {},
    "dead_lettered": 0,
    "pending": 0,
    "pending_bytes": 0,
    "in_flight": 0,
    "requests": 10,
    "retries": 0,
    "marked_fields": 0,
    "state": "closed",
    "max_queue_events": 100,
    "max_queue_bytes": 1_000,
}


def health(app="running", /, spool=0, **changes) -> Health:
    one = DestinationStats(**{**WELL, **changes})
    return health_of(Stats({"datadog": one}, state=app, max_spool_bytes=spool))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"state": "open", "fault": "server_error"}, (Ailment.OUTAGE, "datadog", "server_error")),
        (
            {"state": "half_open", "fault": "unauthorized", "held": True},
            (Ailment.HELD, "datadog", "unauthorized"),
        ),
        ({"queue_events": 79}, None),
        ({"queue_events": 80}, (Ailment.NEARLY_FULL, "datadog", "80 of 100 events in the queue")),
        (
            {"queue_bytes": 999},
            (Ailment.NEARLY_FULL, "datadog", "999 of 1,000 bytes in the queue"),
        ),
        ({"queue_events": 100, "spool": 9_000}, None),
        (
            {"spool_bytes": 8_000, "spool": 9_000},
            (Ailment.NEARLY_FULL, None, "8,000 of 9,000 bytes in the spool"),
        ),
        ({"pending": 1, "oldest_age": 299.0}, None),
        (
            {"pending": 1, "oldest_age": 300.0},
            (Ailment.LATE, "datadog", "the oldest for 300 s"),
        ),
        ({"pending": 0, "oldest_age": 300.0}, None),
        ({"pending": 0, "app": "idle"}, None),
        (
            {"pending": 1_234, "app": "idle"},
            (Ailment.NOT_SENDING, None, "1,234 events wait for a loop"),
        ),
        ({"app": "closed"}, (Ailment.CLOSED, None, "calls are rejected")),
        # Old news: nothing is pending, nothing has failed since.
        ({"delivery_age": 1e6, "held_seconds": 1e6, "answers": {"503": 7}}, None),
    ],
)
def test_what_is_wrong_is_said_and_nothing_else(changes, complaint):
    """Each ailment by what shows it, from its limit on."""
    app = changes.pop("app", "running")
    found = health(app, **changes)
    assert found.complaints == (() if complaint is None else (Complaint(*complaint),))
    assert found.degraded is (complaint is not None)


def test_only_a_closed_dispatcher_is_not_ready():
    """A vendor's outage, with a full queue, takes no app out of its load balancer."""
    changes = {"state": "open", "fault": "timeout", "queue_events": 100, "pending": 100}
    stats = DestinationStats(**{**WELL, **changes, "oldest_age": 1e4})
    found = health_of(Stats({"datadog": stats}, state="running"))
    ailments = {one.ailment for one in found.complaints}
    assert ailments == {Ailment.OUTAGE, Ailment.NEARLY_FULL, Ailment.LATE}
    assert found.degraded
    assert found.ready
    assert not health("closed").ready


def test_the_limits_are_the_callers():
    """A share and a time of one's own."""
    stats = Stats(
        {"d": DestinationStats(**{**WELL, "queue_events": 50, "pending": 50, "oldest_age": 20.0})},
        state="running",
    )
    assert not health_of(stats).degraded
    found = health_of(stats, nearly_full=0.5, late=10)
    assert [one.ailment for one in found.complaints] == [Ailment.NEARLY_FULL, Ailment.LATE]


@pytest.mark.parametrize("options", [{"nearly_full": 0}, {"nearly_full": 1.1}, {"late": -1}])
def test_a_wrong_limit_names_itself(options):
    """As everywhere."""
    with pytest.raises(OptionError, match=next(iter(options))):
        health_of(Stats({}), **options)


def test_a_probe_can_answer_with_it():
    """`as_dict` has plain values."""
    found = health("closed")
    assert json.loads(json.dumps(found.as_dict())) == {
        "ready": False,
        "degraded": True,
        "complaints": [{"ailment": "closed", "destination": None, "detail": "calls are rejected"}],
    }
