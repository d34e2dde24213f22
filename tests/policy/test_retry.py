"""When to try again: jitter below a doubling ceiling, the server's wish as a floor, firm ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import DropReason, Retry
from sendoff._retry import Backoff, floor_of

QUICK = settings(derandomize=True, deadline=None, max_examples=100)


def full(ceiling):
    """The longest wait that the jitter may draw."""
    return ceiling


def none(ceiling):
    """The shortest."""
    return 0.0


def test_ceilings_double_up_to_the_cap():
    """Each wait is drawn below a ceiling that doubles and then stays."""
    ceilings = []
    backoff = Backoff(Retry(base=0.5, cap=5.0), lambda ceiling: ceilings.append(ceiling) or 0.0)
    for _ in range(6):
        backoff.pause()
    assert ceilings == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_jitter_is_drawn_anew_each_time():
    """What the jitter gives is the wait, for every single try."""
    draws = iter([0.3, 0.1, 0.7])
    backoff = Backoff(Retry(), lambda ceiling: next(draws))
    assert [backoff.next_wait(0.0, 0.0) for _ in range(3)] == [0.3, 0.1, 0.7]


@QUICK
@given(failures=st.integers(1, 40), base=st.floats(0.01, 5.0), factor=st.floats(1.0, 100.0))
def test_the_default_jitter_is_full(failures, base, factor):
    """Anything from 0 to the ceiling may come, and nothing else."""
    retry = Retry(attempts=1_000, base=base, cap=base * factor, max_elapsed=1e9)
    backoff = Backoff(retry)
    for number in range(failures):
        ceiling = min(base * 2**number, retry.cap)
        assert 0.0 <= backoff.next_wait(0.0, 0.0) <= ceiling


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_count_the_first_try(attempts):
    """After `attempts` failures there is no further try."""
    backoff = Backoff(Retry(attempts=attempts), none)
    waits = [backoff.next_wait(0.0, 0.0) for _ in range(attempts)]
    assert waits == [0.0] * (attempts - 1) + [DropReason.ATTEMPTS]


def test_a_wait_beyond_the_end_is_not_begun():
    """The deadline is tested before sleeping: to its very moment yes, any further no."""
    retry = Retry(base=2.0, cap=2.0, max_elapsed=10.0)
    results = [Backoff(retry, full).next_wait(100.0, now) for now in (108.0, 108.001, 500.0)]
    assert results == [2.0, DropReason.EXPIRED, DropReason.EXPIRED]


def test_the_servers_wish_is_a_floor():
    """No try before it, whatever the jitter drew; a longer draw stays."""
    retry = Retry(base=4.0, cap=4.0)
    waits = [Backoff(retry, jitter).next_wait(0.0, 0.0, retry_after=3.0) for jitter in (none, full)]
    assert waits == [3.0, 4.0]


@pytest.mark.parametrize(
    ("wish", "floor"),
    [(None, 0.0), (0.0, 0.0), (59.0, 59.0), (60.0, 60.0), (61.0, 60.0), (1e20, 60.0)],
)
def test_the_servers_wish_is_cut(wish, floor):
    """A wrong header cannot stop a lane for a day."""
    assert floor_of(Retry(max_retry_after=60.0), wish) == floor


def test_a_wish_beyond_the_end_gives_up_at_once():
    """A batch that is to wait longer than it may live is not kept waiting for nothing."""
    retry = Retry(max_elapsed=100.0, max_retry_after=300.0)
    assert Backoff(retry, none).next_wait(0.0, 0.0, retry_after=200.0) is DropReason.EXPIRED


def test_the_first_retry_of_a_stale_connection_needs_no_wait():
    """At once, once: the second disconnect in a row waits like any other failure."""
    backoff = Backoff(Retry(base=1.0), full)
    assert [backoff.next_wait(0.0, 0.0, at_once=True) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_at_once_is_for_the_first_failure():
    """A disconnect after another failure is no stale connection any more."""
    backoff = Backoff(Retry(base=1.0), full)
    assert [backoff.next_wait(0.0, 0.0), backoff.next_wait(0.0, 0.0, at_once=True)] == [1.0, 2.0]


def test_at_once_does_not_overrule_the_server():
    """A wish to wait holds for the first retry, too."""
    assert Backoff(Retry(), none).next_wait(0.0, 0.0, retry_after=2.0, at_once=True) == 2.0


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [(none, [0.5, 1, 2, 4, 8, 15, 15]), (full, [1, 2, 4, 8, 16, 30, 30])],
)
def test_a_slow_probe_waits_at_least_half_of_its_interval(jitter, waits):
    """A lane held by a wrong key asks soon and then rarely, and many processes not together."""
    backoff = Backoff(Retry(hold_interval=30.0), jitter)
    assert [backoff.hold() for _ in waits] == waits


def test_a_short_interval_is_kept_from_the_first_pause():
    """`hold_interval` is the most, also where it is below the first ceiling."""
    assert Backoff(Retry(hold_interval=0.1), full).hold() == 0.1


def test_a_server_s_wish_is_outlasted_by_a_share_of_it():
    """Up to a tenth, the same for every request of one pause."""
    backoff = Backoff(Retry(), full)
    before = backoff.beyond(10.0)
    backoff.spread()
    assert (before, backoff.beyond(10.0), backoff.beyond(0.0)) == (10.0, 11.0, 0.0)


@QUICK
@given(
    retry=st.builds(
        Retry,
        attempts=st.integers(1, 30),
        base=st.floats(0.001, 2.0),
        cap=st.floats(2.0, 60.0),
        max_elapsed=st.floats(0.0, 900.0),
        max_retry_after=st.floats(0.0, 600.0),
    ),
    failures=st.lists(
        st.tuples(
            st.floats(0.0, 30.0),  # how long the try took
            st.none() | st.floats(0.0, 1e6),  # the server's wish
            st.booleans(),  # a stale connection
        ),
        min_size=30,
        max_size=30,
    ),
    share=st.floats(0.0, 1.0),
)
def test_a_batch_ends_in_bounded_tries_and_time(retry, failures, share):
    """However long tries take, whatever the server wishes: no try begins after the last moment."""
    backoff = Backoff(retry, lambda ceiling: ceiling * share)
    now, tries = 0.0, 1
    for took, wish, at_once in failures:
        now += took
        wait = backoff.next_wait(0.0, now, retry_after=wish, at_once=at_once)
        if isinstance(wait, DropReason):
            break
        assert wait >= floor_of(retry, wish)
        assert wait <= max(retry.cap, retry.max_retry_after)
        now += wait
        tries += 1
        assert now <= retry.max_elapsed
        assert tries <= retry.attempts
    assert isinstance(wait, DropReason)
