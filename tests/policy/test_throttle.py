"""The limit: no sliding second ever holds more sends than allowed, and little less is used."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._throttle import GUARD, SLACK, SPREAD, WINDOW, Throttle

QUICK = settings(derandomize=True, deadline=None, max_examples=150)


def busiest(times, window=WINDOW):
    """The most sends in any half-open window."""
    times = sorted(times)
    return max(
        (bisect_left(times, start + window) - index for index, start in enumerate(times)),
        default=0,
    )


def run(throttle, attempts, *, give_back=frozenset()):
    """Attempts at (time, delay until it is sent), with the sends in the order of the clock.

    Those whose number is in `give_back` turn out unsent. Gives the times of the sends.
    """
    sends, pending = [], []
    for number, (now, delay) in enumerate(attempts):
        while pending and pending[0][0] <= now:
            _settle(throttle, heapq.heappop(pending), sends)
        permit = throttle.acquire(now)
        if permit >= 0:
            heapq.heappush(pending, (now + delay, number, permit, number in give_back))
    while pending:
        _settle(throttle, heapq.heappop(pending), sends)
    return sends


def _settle(throttle, entry, sends):
    moment, _, permit, back = entry
    if back:
        throttle.unsent(permit)
    else:
        throttle.sent(permit, moment)
        sends.append(moment)


@st.composite
def attempts(draw):
    """Attempts in the order of the clock, dense and sparse, sent at once or much later."""
    gaps = draw(
        st.lists(
            st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.1, 0.5, 1.0, 1.01, 1.011])
            | st.floats(0.0, 2.0),
            min_size=1,
            max_size=80,
        )
    )
    now, result = draw(st.sampled_from([0.0, 1e6])), []
    for gap in gaps:
        now += gap
        delay = draw(st.sampled_from([0.0, 0.0, 0.3, 0.999, 1.0, 5.0]) | st.floats(0.0, 3.0))
        result.append((now, delay))
    return result


@QUICK
@given(attempts=attempts(), limit=st.integers(1, 7), back=st.sets(st.integers(0, 79)))
def test_no_window_holds_more_than_the_limit(attempts, limit, back):
    """Whenever requests are tried, however late they leave, whichever turn out unsent."""
    sends = run(Throttle(limit), attempts, give_back=back)
    assert busiest(sends) <= limit
    assert busiest(sends, WINDOW + GUARD / 2) <= limit


def greedy(limit, seconds, delay=lambda number: 0.0, *, throttle=None, now=0.0):
    """Sends of somebody who asks again as soon as `wait` or a send allows it."""
    throttle, sends, pending, number = throttle or Throttle(limit), [], [], 0
    while now < seconds:
        while pending and pending[0][0] <= now:
            _settle(throttle, heapq.heappop(pending), sends)
        permit = throttle.acquire(now)
        if permit >= 0:
            heapq.heappush(pending, (now + delay(number), number, permit, False))
            number += 1
            continue
        wait = throttle.wait(now)
        assert wait > 0.0
        until = min(now + wait, pending[0][0] if pending else math.inf)
        assert until < math.inf
        now = max(until, math.nextafter(now, math.inf))
    return sends


@pytest.mark.parametrize("limit", [1, 2, 10, 997])
def test_the_budget_is_used(limit):
    """Whoever sends whenever it may uses 98 % of the limit, and never more than all of it."""
    sends = greedy(limit, 50.0)
    assert busiest(sends) == limit
    assert 0.98 * 50 * limit <= len(sends) <= 51 * limit


@pytest.mark.parametrize("limit", [50, 997])
def test_sends_are_spread(limit):
    """No burst: in any tenth of a second little more than its share goes, after a pause, too."""
    throttle = Throttle(limit)
    sends = greedy(limit, 3.0, throttle=throttle)
    sends += greedy(limit, 13.0, throttle=throttle, now=10.0)
    share = limit * SPREAD * (0.1 + SLACK)
    assert busiest(sends, 0.1) <= share + 2


@pytest.mark.parametrize("delay", [0.001, 0.005])
def test_the_budget_is_used_although_sending_takes_a_moment(delay):
    """A send some milliseconds after its permit costs those milliseconds and no more."""
    sends = greedy(100, 50.0, delay=lambda number: delay * (number % 3))
    assert busiest(sends) <= 100
    assert len(sends) >= 0.97 * 50 * 100


def spaced(throttle, count, begin):
    """Permits of somebody who tries as often as the pace allows."""
    return [throttle.acquire(begin + 0.3 * number) for number in range(count)]


def test_a_slow_send_takes_one_place_only():
    """A request that takes long to leave holds its own place, not everybody's."""
    throttle = Throttle(3)
    for permit in spaced(throttle, 3, 0.0)[1:]:
        throttle.sent(permit, 0.6)
    # Of three places two are free again after a second; the first may still be used at any time.
    assert [permit >= 0 for permit in spaced(throttle, 3, 5.0)] == [True, True, False]


def test_one_hanging_connect_leaves_the_rest_of_the_budget():
    """Of 100 requests a second one takes 30 s to leave: the other 99 a second still go."""
    sends = greedy(100, 30.0, delay=lambda number: 29.5 if number == 0 else 0.0)
    assert busiest(sends) <= 100
    assert len(sends) >= 0.97 * 30 * 99


def test_an_unsent_permit_is_given_back():
    """A request that certainly did not leave costs nothing of the budget."""
    throttle = Throttle(3)
    first, second, third = spaced(throttle, 3, 0.0)
    throttle.sent(first, 0.0)
    throttle.unsent(second)
    throttle.sent(third, 0.6)
    assert [throttle.acquire(now) >= 0 for now in (0.86, 1.0)] == [True, False]


def test_the_only_permit_given_back_serves_before_its_second_is_over():
    """With a limit of one a refused connect costs the pace, and not the window."""
    throttle = Throttle(1)
    throttle.unsent(throttle.acquire(0.0))
    assert throttle.acquire((WINDOW + GUARD) / SPREAD) >= 0


def test_a_permit_is_counted_from_the_send_and_not_from_the_grant():
    """A request granted at 0 and sent at 0.9 is in the window until 1.9 and the guard."""
    throttle = Throttle(1)
    throttle.sent(throttle.acquire(0.0), 0.9)
    assert throttle.wait(1.0) == pytest.approx(0.9 + WINDOW + GUARD - 1.0)
    assert (throttle.acquire(1.9), throttle.acquire(1.9 + GUARD + 1e-9) >= 0) == (-1, True)


def test_a_second_sent_is_ignored():
    """Only the first word counts; the lane may say so again at the end."""
    throttle = Throttle(1)
    permit = throttle.acquire(0.0)
    throttle.sent(permit, 0.1)
    throttle.sent(permit, 5.0)
    throttle.unsent(permit)
    assert throttle.wait(0.1) == pytest.approx(WINDOW + GUARD)


def test_a_late_word_is_not_taken_for_another_requests():
    """Long after its window, a word on an old permit says nothing about the next one."""
    throttle = Throttle(1)
    old = throttle.acquire(0.0)
    throttle.sent(old, 0.0)
    throttle.acquire(2.0)
    throttle.sent(old, 2.0)
    throttle.unsent(old)
    assert throttle.wait(9.0) == math.inf


def test_a_sent_after_unsent_is_ignored():
    """What was given back stays given back."""
    throttle = Throttle(1)
    permit = throttle.acquire(0.0)
    throttle.unsent(permit)
    throttle.sent(permit, 5.0)
    assert throttle.wait(5.0) == 0.0


def test_another_loops_clock_changes_nothing_but_the_zero():
    """What was about to be sent counts as sent now; times from the future bind nobody."""
    throttle = Throttle(2)
    throttle.sent(throttle.acquire(1_000.0), 1_000.0)
    throttle.acquire(1_001.0)
    throttle.resume(5.0)
    assert [throttle.acquire(5.0) >= 0, throttle.acquire(5.5) >= 0] == [True, False]
    assert throttle.wait(5.5) == pytest.approx(5.0 + WINDOW + GUARD - 5.5)


def test_wait_is_unknown_while_it_depends_on_a_send():
    """The only permit is out: nobody can say when the next one comes."""
    throttle = Throttle(1)
    throttle.acquire(0.0)
    assert throttle.wait(100.0) == math.inf


@QUICK
@given(attempts=attempts(), limit=st.integers(1, 4))
def test_wait_and_acquire_agree(attempts, limit):
    """A wait of 0 means that `acquire` gives a permit now, any other that it does not."""
    throttle = Throttle(limit)
    for now, delay in attempts:
        wait = throttle.wait(now)
        permit = throttle.acquire(now)
        assert (wait == 0.0) == (permit >= 0)
        if permit >= 0:
            throttle.sent(permit, now + delay)
