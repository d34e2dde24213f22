"""What users see: a ledger that cannot contradict itself, a report, and damped log lines."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Action, DestinationStats, DropReason, Report, Verdict
from sendoff._ledger import Ledger
from sendoff._queue import EventQueue
from sendoff.observers import LOG_INTERVAL, MAX_KINDS, LogDamper

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
COUNT = st.integers(0, 10**9)


@QUICK
@given(
    delivered=COUNT,
    rejections=st.dictionaries(st.text(max_size=5), COUNT, max_size=4),
    dropped=st.dictionaries(st.sampled_from([str(reason) for reason in DropReason]), COUNT),
    dead_lettered=COUNT,
    pending=COUNT,
)
def test_submitted_is_the_sum_of_the_fates(delivered, rejections, dropped, dead_lettered, pending):
    """Delivered, rejected, dropped, dead-lettered and pending; nothing else counts."""
    stats = DestinationStats(
        delivered=delivered,
        rejections=rejections,
        dropped=dropped,
        dead_lettered=dead_lettered,
        pending=pending,
        pending_bytes=7,
        in_flight=7,
        requests=7,
        retries=7,
        marked_fields=7,
        state="closed",
    )
    assert stats.rejected == sum(rejections.values())
    assert stats.submitted == (
        delivered + sum(rejections.values()) + sum(dropped.values()) + dead_lettered + pending
    )


def test_a_ledgers_snapshot_shows_the_queue_and_stays():
    """Counts of this instant; what happens later does not show, and nobody can change it."""
    ledger = Ledger()
    queue = EventQueue(max_events=10, max_bytes=100, overflow="drop_newest")
    for name in "abc":
        queue.push(b"12345", name)
    queue.pop()
    ledger.delivered = 4
    ledger.rejections["invalid_event"] += 2
    ledger.dropped[DropReason.OVERFLOW] += 1
    ledger.lane = "fast"
    ledger.begun(3, 17, False)
    ledger.ended(503, Verdict(Action.RETRY, "server_error"), 0.25, 1.0)
    stats = ledger.snapshot(queue, marked_fields=6, state="open")
    ledger.ended(202, Verdict(Action.DELIVERED, "delivered"), 0.5, 2.0)
    ledger.lane = "session"
    ledger.rejections["invalid_event"] += 1
    ledger.dropped[DropReason.REFUSED] += 1
    queue.pop()
    assert dataclasses.asdict(
        dataclasses.replace(stats, rejections={}, dropped={}, answers={})
    ) == {
        "delivered": 4,
        "rejections": {},
        "dropped": {},
        "dead_lettered": 0,
        "dead_letter_faults": 0,
        "pending": 3,
        "pending_bytes": 15,
        "in_flight": 1,
        "requests": 1,
        "retries": 0,
        "request_events": 3,
        "request_bytes": 17,
        "request_seconds": 0.25,
        "answers": {},
        "marked_fields": 6,
        "state": "open",
        "fault": "server_error",
        "held": False,
        "held_seconds": 0.0,
        "delivery_age": None,
        "oldest_age": 0.0,
        "lane": "fast",
        "queue_events": 3,
        "queue_bytes": 15,
        "max_queue_events": 10,
        "max_queue_bytes": 100,
        "rate_limit": None,
        "spool_bytes": 0,
        "spool_faults": 0,
        "recovered": 0,
        "damaged": 0,
    }
    assert dict(stats.answers) == {"503": 1}
    assert (dict(stats.rejections), dict(stats.dropped)) == ({"invalid_event": 2}, {"overflow": 1})
    assert stats.submitted == 4 + 2 + 1 + 3
    with pytest.raises(TypeError):
        stats.dropped["overflow"] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.delivered = 0


def test_what_is_counted_for_the_first_time_during_a_snapshot_breaks_nothing():
    """The loop's thread counts answers without the lock, while any other thread asks."""

    class Status(int):
        def __str__(self):
            ledger.answers[len(ledger.answers)] += 1
            ledger.dropped[DropReason.REFUSED] += 1
            return super().__str__()

    ledger = Ledger()
    ledger.answers[Status(503)] += 1
    queue = EventQueue(max_events=10, max_bytes=100, overflow="drop_newest")
    seen = ledger.snapshot(queue, marked_fields=0, state="open")
    assert dict(seen.answers) == {"503": 1}
    assert len(ledger.answers) == 2


@pytest.mark.parametrize(("left", "truth"), [({}, True), ({"datadog": 1}, False)])
def test_a_report_is_truthy_when_nothing_is_left(left, truth):
    """`if await dispatcher.flush():` reads as it should."""
    assert bool(Report(left, 0.1)) is truth


# --- damped log lines -----------------------------------------------------------------------------


def test_the_first_line_goes_at_once():
    """An outage shows in the log when it begins."""
    assert LogDamper().admit("overflow", 1e6) == 0


def test_one_line_of_a_kind_a_minute():
    """The others are counted, and the next line tells how many they were."""
    damper = LogDamper()
    admitted = {now: damper.admit("x", float(now)) for now in range(0, 200, 10)}
    assert {now: held for now, held in admitted.items() if held is not None} == {
        0: 0,
        60: 5,
        120: 5,
        180: 5,
    }


def test_kinds_do_not_silence_each_other():
    """A new fault is not hidden by an old one."""
    damper = LogDamper()
    assert [damper.admit(kind, 0.0) for kind in "abab"] == [0, 0, None, None]


def test_a_handler_that_logs_again_ends():
    """The time is noted before the line is written: what the line itself causes stays silent."""
    damper = LogDamper()
    lines = []

    def log():
        if damper.admit("x", 0.0) is not None:
            lines.append("line")
            log()

    log()
    assert lines == ["line"]


@QUICK
@given(
    moments=st.lists(st.tuples(st.floats(0.0, 30.0), st.sampled_from("abc")), max_size=80),
    interval=st.sampled_from([LOG_INTERVAL, 5.0]),
)
def test_lines_are_rare_and_none_is_uncounted(moments, interval):
    """Two lines of a kind are an interval apart, and every line is either written or counted."""
    damper, now, written, counted, asked = LogDamper(interval), 0.0, {}, 0, 0
    waiting = dict.fromkeys("abc", 0)
    for gap, kind in moments:
        now += gap
        asked += 1
        held = damper.admit(kind, now)
        if held is None:
            waiting[kind] += 1
            assert now - written[kind] < interval
        else:
            assert held == waiting[kind]
            waiting[kind] = 0
            counted += 1 + held
            assert kind not in written or now - written[kind] >= interval
            written[kind] = now
    assert counted + sum(waiting.values()) == asked


def test_a_total_outage_is_a_few_lines():
    """A thousand events a second for a minute, two kinds of trouble: two lines, then two more."""
    damper = LogDamper()
    lines = [
        kind
        for tick in range(60_500)
        for kind in ("overflow", "verdict server_error")
        if damper.admit(kind, tick / 1_000) is not None
    ]
    assert len(lines) == 4


def test_all_kinds_together_have_a_bound():
    """Ten kinds at once: three lines in any minute, whatever comes first."""
    damper = LogDamper(most=3)
    written = [
        now
        for now in range(600)
        for kind in range(10)
        if damper.admit(f"kind {kind}", float(now)) is not None
    ]
    assert len(written) == 30
    assert all(later - earlier >= 60 for earlier, later in zip(written, written[3:], strict=False))


def test_kinds_beyond_the_bound_take_turns():
    """No kind is silenced for ever by more frequent ones."""
    damper = LogDamper(most=3)
    said = set()
    for tick in range(6_000):
        for kind in range(10):
            # The last ones ask a hundred times less often.
            rare = kind >= 7
            if (not rare or tick % 100 == 0) and damper.admit(
                f"kind {kind}", tick / 10
            ) is not None:
                said.add(kind)
    assert said == set(range(10))


def test_made_up_kinds_take_no_memory():
    """A destination may make up a reason for every event: what is kept is bounded."""
    damper = LogDamper(most=3)
    for number in range(10_000):
        damper.admit(f"kind {number}", number / 1_000)
    assert len(damper._kinds) <= MAX_KINDS
