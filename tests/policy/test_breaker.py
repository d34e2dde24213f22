"""The breaker: it opens after failures, lets one probe out at a time, and closes on a success."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._breaker import THRESHOLD, Breaker, BreakerState

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def fail(breaker, now, pause, *, certain=False, probe=False):
    """A failure, with the pause that its caller has ready; says whether that pause began."""
    begins = breaker.failed(certain=certain, probe=probe)
    if begins:
        breaker.pause(now + pause)
    return begins


def opened(pause=10.0):
    """A breaker that is open from 0 until `pause`."""
    breaker = Breaker()
    assert fail(breaker, 0.0, pause, certain=True)
    return breaker


def probing():
    """A breaker behind which a probe is under way, since 1."""
    breaker = opened(pause=1.0)
    assert breaker.wait(1.0) == 0.0
    breaker.enter(1)
    return breaker


def test_it_opens_after_failures_in_a_row():
    """One failure fewer than the threshold changes nothing; the last one opens it for its pause."""
    breaker = Breaker()
    states = []
    for _ in range(THRESHOLD):
        states.append((breaker.state, breaker.wait(0.0)))
        fail(breaker, 0.0, 3.0)
    assert states == [(CLOSED, 0.0)] * THRESHOLD
    assert (breaker.state, breaker.wait(1.0), breaker.pause_left(1.0)) == (OPEN, 2.0, 2.0)


def test_a_success_ends_the_row():
    """Failures that are not in a row are one event's matter."""
    breaker = Breaker()
    for _ in range(10):
        assert not any(fail(breaker, 0.0, 3.0) for _ in range(THRESHOLD - 1))
        breaker.succeeded()
    assert (breaker.state, breaker.failures) == (CLOSED, 0)


def test_a_certain_failure_is_enough():
    """A wrong key or a server's wish to wait opens it at once."""
    breaker = opened(pause=7.0)
    assert (breaker.state, breaker.wait(0.0)) == (OPEN, 7.0)


def test_one_probe_when_the_pause_is_over():
    """The first request after the pause is the probe; until it has ended no other goes."""
    breaker = opened(pause=10.0)
    waits = [breaker.wait(9.0), breaker.wait(10.0)]
    breaker.enter(1)
    assert (waits, breaker.state, breaker.wait(99.0)) == ([1.0, 0.0], HALF_OPEN, math.inf)


def test_a_probe_that_succeeds_closes_it():
    """Everybody goes again, and the row of failures begins anew."""
    breaker = probing()
    breaker.succeeded()
    breaker.probe_ended()
    assert (breaker.state, breaker.wait(0.0), breaker.failures) == (CLOSED, 0.0, 0)


@pytest.mark.parametrize("certain", [True, False])
def test_a_probe_that_fails_waits_again(certain):
    """One failure of a probe is enough, and its own pause counts."""
    breaker = probing()
    assert fail(breaker, 1.0, 4.0, probe=True, certain=certain)
    breaker.probe_ended()
    assert (breaker.state, breaker.wait(1.0)) == (OPEN, 4.0)


def test_a_probe_without_an_answer_makes_room_for_the_next():
    """One that was cut off says nothing: the next may go at once."""
    breaker = probing()
    breaker.probe_ended()
    assert (breaker.state, breaker.wait(1.0)) == (OPEN, 0.0)


@pytest.mark.parametrize("certain", [True, False])
def test_a_stragglers_failure_lets_no_second_probe_out(certain):
    """Requests from before may fail during the probe: still one probe only, and no new pause."""
    breaker = probing()
    assert not fail(breaker, 1.0, 0.0, certain=certain)
    assert (breaker.state, breaker.wait(5.0)) == (HALF_OPEN, math.inf)


def test_stragglers_do_not_lengthen_a_pause():
    """A hundred requests were under way when the vendor went down: one pause, not a hundred."""
    breaker = opened(pause=2.0)
    assert not any(fail(breaker, 1.0, 30.0) for _ in range(100))
    assert breaker.wait(1.0) == 1.0


def test_a_stragglers_success_does_not_end_a_pause():
    """While it is open an answer is one to a request from before: the server's wish stands."""
    breaker = opened(pause=60.0)
    breaker.succeeded()
    assert (breaker.state, breaker.wait(1.0), breaker.pause_left(1.0)) == (OPEN, 59.0, 59.0)


def test_the_longer_of_two_wishes_counts():
    """A later, shorter wish does not overrule a longer one; a longer one does."""
    breaker = opened(pause=60.0)
    breaker.pause(1.5)
    shorter = breaker.wait(2.0)
    breaker.pause(90.0)
    assert (shorter, breaker.wait(2.0)) == (58.0, 88.0)


def closed_after_a_long_wish():
    """Closed by its probe, after a straggler had brought a wish to wait until 301."""
    breaker = probing()
    fail(breaker, 1.0, 300.0, certain=True)
    breaker.pause(301.0)
    breaker.succeeded()
    return breaker


def test_a_closed_breaker_has_no_pause():
    """What is left of an old pause is nobody's matter once a probe got through."""
    breaker = closed_after_a_long_wish()
    assert (breaker.state, breaker.wait(2.0), breaker.pause_left(2.0)) == (CLOSED, 0.0, 0.0)


def test_a_pause_that_a_success_ended_does_not_come_back():
    """The next outage waits for its own pause and not for what was left of one that is over."""
    breaker = closed_after_a_long_wish()
    fail(breaker, 10.0, 2.0, certain=True)
    assert breaker.wait(10.0) == 2.0


def test_a_nudge_lets_the_probe_go_at_once():
    """The last flush does not wait for the end of a pause."""
    breaker = opened(pause=300.0)
    breaker.nudge(5.0)
    assert (breaker.state, breaker.wait(5.0)) == (OPEN, 0.0)


def test_a_nudge_leaves_a_probe_alone():
    """While one probe is under way, a nudge lets no second one out."""
    breaker = probing()
    breaker.nudge(5.0)
    assert breaker.wait(5.0) == math.inf


@pytest.mark.parametrize("state", [CLOSED, OPEN])
def test_the_end_of_no_probe_changes_nothing(state):
    """`probe_ended` is for probes, and `enter` with a closed breaker makes none."""
    breaker = Breaker() if state is CLOSED else opened()
    if state is CLOSED:
        breaker.enter(1)
    breaker.probe_ended()
    assert breaker.state is state


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "success", "failure", "certain", "nudge", "cut off"]),
        st.floats(0.0, 5.0),
        st.floats(0.0, 20.0),
        st.booleans(),
    ),
    max_size=80,
)


@QUICK
@given(STEPS)
def test_at_most_one_request_goes_out_while_it_is_not_closed(steps):
    """In any order of answers, stragglers included, only one request is under way as a probe."""
    breaker, now = Breaker(), 0.0
    probe = False  # whether one is under way; stragglers always are
    for step, gap, pause, straggler in steps:
        now += gap
        of_probe = probe and not straggler
        if step == "ask":
            if breaker.wait(now) == 0.0:
                was_closed = breaker.state is CLOSED
                breaker.enter(1)
                assert was_closed or not probe
                probe = not was_closed
        elif step == "nudge":
            breaker.nudge(now)
        elif step == "cut off":
            if of_probe:
                breaker.probe_ended()
                probe = False
        else:
            if step == "success":
                breaker.succeeded()
            else:
                fail(breaker, now, pause, certain=step == "certain", probe=of_probe)
            if of_probe:
                breaker.probe_ended()
            if of_probe or breaker.state is CLOSED:
                probe = False
        assert (breaker.state is HALF_OPEN) == probe
        assert breaker.wait(now) >= 0.0
        assert breaker.pause_left(now) >= 0.0


def test_a_probe_of_an_earlier_pause_is_no_probe():
    """A probe that answers when its pause is long over has no say in the next one."""
    breaker = Breaker(threshold=1)
    breaker.failed(certain=True, probe=False)
    breaker.pause(1.0)
    breaker.enter(7)
    assert breaker.is_probe(7)
    breaker.succeeded()  # a straggler's answer
    assert not breaker.is_probe(7)
    breaker.failed(certain=True, probe=False)
    breaker.pause(2.0)
    breaker.enter(8)
    assert (breaker.is_probe(7), breaker.is_probe(8)) == (False, True)


def test_a_stragglers_success_leaves_an_open_breaker_open():
    """The pause stands, as the vendor may have asked for it."""
    breaker = Breaker(threshold=1)
    breaker.failed(certain=True, probe=False)
    breaker.pause(10.0)
    assert breaker.succeeded() is False
    assert breaker.wait(4.0) == 6.0
