"""The window: few requests at first, more with every success, and never stuck behind what hangs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._window import FIRST, PATIENCE, Window

QUICK = settings(derandomize=True, deadline=None, max_examples=200)


def fill(window, now, permit):
    """Lets as many go as there is room for; their permits."""
    permits = []
    while window.wait(now) == 0.0:
        permit += 1
        window.enter(permit, now)
        permits.append(permit)
    return permits


def opened(most=64):
    """A window that successes have opened wide."""
    window = Window(most)
    for permit in range(most):
        window.enter(permit, 0.0)
        window.ended(permit, 0.0, worked=True)
    return window


def test_it_doubles_with_every_round_trip_up_to_the_workers():
    """2, 4, 8 … under way, and never more than `most`."""
    window, sizes, last = Window(20), [], 0
    for trip in range(6):
        permits = fill(window, float(trip), last)[:20]
        last = permits[-1]
        sizes.append(len(permits))
        for permit in permits:
            window.ended(permit, trip + 0.1, worked=True)
    assert sizes[:4] == [2, 4, 8, 16]
    assert window.size == 20


def test_a_single_worker_has_a_window_of_one():
    """There is never more room than workers."""
    window = Window(1)
    assert (fill(window, 0.0, 0), window.size) == ([1], 1)


def test_failures_close_it_down_to_its_beginning():
    """Each takes two places; the first ones stay."""
    window = opened(10)
    sizes = []
    for permit in range(100, 106):
        window.enter(permit, 1.0)
        window.ended(permit, 1.0, worked=False)
        sizes.append(window.size)
    assert sizes == [8, 6, 4, FIRST, FIRST, FIRST]


def test_some_failures_cost_no_speed():
    """One in five: as many as a busy vendor's passing faults are retried at full speed."""
    window = opened(64)
    for permit in range(100, 600):
        window.enter(permit, 1.0)
        window.ended(permit, 1.0, worked=permit % 5 != 0)
    assert window.size > 60


def test_what_was_cut_off_says_nothing():
    """A cancelled request frees its place and changes no size."""
    window = opened(8)
    window.enter(100, 1.0)
    window.ended(100, 1.0, worked=None)
    assert window.size == 8


def test_silence_lets_one_more_go():
    """Those that hang do not hold up the rest for ever, and do not let a herd go either."""
    window = Window(64)
    assert fill(window, 0.0, 0) == [1, 2]
    assert window.wait(0.1) == PATIENCE - 0.1
    gone = [fill(window, PATIENCE * turn, 10 * turn) for turn in range(1, 5)]
    assert [len(permits) for permits in gone] == [1, 1, 1, 1]


def test_a_restart_forgets_what_is_under_way():
    """After an outage its stragglers hold no place, and their ends change nothing."""
    window = opened(64)
    stragglers = fill(window, 1.0, 100)
    window.restart()
    assert window.size == FIRST
    for permit in stragglers:
        window.ended(permit, 2.0, worked=True)
    assert len(fill(window, 2.0, 500)) == FIRST


def test_in_a_hurry_one_success_opens_it():
    """The last flush has no time for many round trips; a vendor that is silent gains nothing."""
    window = Window(64)
    window.hurry()
    first = fill(window, 0.0, 0)
    assert len(first) == FIRST
    window.ended(first[0], 0.1, worked=True)
    assert window.size == 64


def test_a_hurry_opens_a_window_that_was_opening():
    """A vendor that has answered is trusted at once."""
    window = Window(64)
    for permit in fill(window, 0.0, 0):
        window.ended(permit, 0.1, worked=True)
    window.hurry()
    assert window.size == 64


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "works", "fails", "cut off", "restart", "hurry"]),
        st.floats(0.0, 1.0),
        st.integers(0, 50),
    ),
    max_size=120,
)


@QUICK
@given(STEPS, st.integers(1, 20))
def test_it_stays_within_its_bounds_and_always_opens_again(steps, most):
    """In any order of events: between its first size and `most`, and never a wait without end."""
    window, now, under_way, next_permit = Window(most), 0.0, [], 0
    for step, gap, which in steps:
        now += gap
        if step == "ask":
            # As in a lane: somebody who waits is a worker who is not under way.
            if len(under_way) < most and window.wait(now) == 0.0:
                next_permit += 1
                window.enter(next_permit, now)
                under_way.append(next_permit)
        elif step == "restart":
            window.restart()
            under_way.clear()
        elif step == "hurry":
            window.hurry()
        elif under_way:
            permit = under_way.pop(which % len(under_way))
            window.ended(permit, now, worked={"works": True, "fails": False}.get(step))
        assert min(FIRST, most) <= window.size <= most
        assert 0.0 <= window.wait(now) <= PATIENCE * 1.001
