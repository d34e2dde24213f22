"""Narrowing a refused batch down to the events at fault, against a fake intake."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._batcher import Batch
from sendoff._narrow import Narrowing

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def batch_of(count):
    return Batch([b"%d" % number for number in range(count)], list(map(str, range(count))), 0)


class Intake:
    """Refuses a request that holds poison, more events than it takes, or any batch at all."""

    def __init__(self, poison=(), *, largest=math.inf, batches=True):
        self.poison = {str(number) for number in poison}
        self.largest = largest
        self.batches = batches
        self.requests = 0

    def answer(self, part):
        self.requests += 1
        if len(part) > self.largest:
            return "too large"
        if (not self.batches and len(part) > 1) or not self.poison.isdisjoint(part.ids):
            return "refused"
        return "delivered"


def narrow(count, intake, *, one_by_one=False):
    """Sends a batch as a lane does; gives delivered ids, refused ids, when it went one by one."""
    batch = batch_of(count)
    work = Narrowing(batch)
    delivered, refused, noticed = [], [], None
    while (part := work.next(one_by_one=one_by_one)) is not None:
        answer = intake.answer(part)
        if answer == "delivered":
            delivered += part.ids
            work.settle()
            if work.delivered(part) and not one_by_one:
                one_by_one, noticed = True, intake.requests
        elif len(part) > 1:
            work.refused(part, too_large=answer == "too large")
        else:
            refused += part.ids
            work.settle()
        ids = [event_id for rest in work.rest() for event_id in rest.ids]
        assert sorted([*delivered, *refused, *ids], key=int) == batch.ids
        assert work.events() == len(ids)
    assert work.rest() == []
    return delivered, refused, noticed


@st.composite
def poisoned(draw):
    count = draw(st.integers(1, 600))
    return count, draw(st.sets(st.integers(0, count - 1), max_size=min(count, 12)))


@QUICK
@given(poisoned())
def test_exactly_the_poison_is_given_up(case):
    """Every event at fault is refused once, every other one delivered once, in order."""
    count, poison = case
    delivered, refused, _ = narrow(count, Intake(poison))
    assert refused == [str(number) for number in sorted(poison)]
    assert delivered == [str(number) for number in range(count) if number not in poison]


def test_one_among_500_costs_at_most_22_requests():
    """Wherever it stands, one bad event of 500 costs 2·log2(500) + 2 requests at most."""
    costs = []
    for place in range(500):
        intake = Intake({place})
        assert narrow(500, intake)[1] == [str(place)]
        costs.append(intake.requests)
    assert max(costs) <= 2 * math.log2(500) + 2 <= 22


@QUICK
@given(count=st.integers(1, 600), place=st.integers(0, 599))
def test_one_bad_event_costs_two_requests_a_halving(count, place):
    """The whole, then two requests for each of the log2(n) halvings, rounded up."""
    intake = Intake({place % count})
    narrow(count, intake)
    assert intake.requests <= 2 * math.ceil(math.log2(count)) + 1


def test_a_batch_that_passes_costs_one_request():
    """Nothing is halved without a refusal."""
    intake = Intake()
    assert (narrow(500, intake)[0], intake.requests) == ([str(n) for n in range(500)], 1)


@QUICK
@given(st.integers(2, 300))
def test_an_intake_that_refuses_batches_is_noticed(count):
    """Both events of a refused pair pass alone: from then on all go one by one, none is lost."""
    intake = Intake(batches=False)
    delivered, refused, noticed = narrow(count, intake)
    assert (delivered, refused) == ([str(number) for number in range(count)], [])
    assert noticed is not None
    assert noticed <= 2 * math.ceil(math.log2(count)) + 1
    assert intake.requests <= count + 2 * math.ceil(math.log2(count))


@QUICK
@given(poisoned())
def test_an_intake_that_takes_batches_is_not_suspected(case):
    """However many events are at fault, the others of their batch still go in batches."""
    count, poison = case
    assert narrow(count, Intake(poison))[2] is None


@QUICK
@given(count=st.integers(1, 300), largest=st.integers(1, 50))
def test_a_body_that_is_too_large_is_no_refused_batch(count, largest):
    """After 413 both halves may pass alone; that says nothing on whether batches are taken."""
    delivered, refused, noticed = narrow(count, Intake(largest=largest))
    assert (delivered, refused, noticed) == ([str(number) for number in range(count)], [], None)


def test_a_pair_with_one_at_fault_shows_nothing():
    """One passed and one refused is what an event at fault looks like."""
    assert narrow(2, Intake({1})) == (["0"], ["1"], None)


def test_one_by_one_from_the_start():
    """Once batches are known to be refused, a larger part is never tried whole."""
    intake = Intake(batches=False)
    assert narrow(40, intake, one_by_one=True)[0] == [str(number) for number in range(40)]
    assert intake.requests == 40


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_cut_off_is_still_there(settled):
    """A part handed out and not settled is among the rest, in its place: at the front."""
    work = Narrowing(batch_of(4))
    work.refused(work.next(one_by_one=False), too_large=False)
    part = work.next(one_by_one=False)
    if settled:
        work.settle()
    rest = [event_id for batch in work.rest() for event_id in batch.ids]
    assert (part.ids, rest) == (["0", "1"], ["2", "3"] if settled else ["0", "1", "2", "3"])


def test_giving_up_takes_out_what_has_no_fate():
    """All of it once, the oldest first; afterwards nothing is left."""
    work = Narrowing(batch_of(4))
    work.refused(work.next(one_by_one=False), too_large=False)
    work.next(one_by_one=False)
    given_up = [event_id for batch in work.give_up() for event_id in batch.ids]
    assert (given_up, work.rest(), work.events()) == (["0", "1", "2", "3"], [], 0)
    assert work.next(one_by_one=False) is None
