"""`before_send`, contained: what it returns is sent, and what it breaks is not."""

from __future__ import annotations

from collections import UserDict
from types import MappingProxyType

import pytest

from sendoff import Event
from sendoff._before import Filter

EVENT = Event("x", "u", None, None, None, {"a": 1}, 1.0, None, "id-1", None)


class Taker:
    """Counts what it is told, as an intake does."""

    def __init__(self):
        self.told = []

    def reject(self, reason, detail):
        self.told.append((reason, detail))

    def filtered(self):
        self.told.append("filtered")


def through(callback, given=EVENT):
    takers = [Taker(), Taker()]
    passing = Filter(callback)
    result = (passing.event if isinstance(given, Event) else passing.payload)(given, takers)
    (told,) = {tuple(taker.told) for taker in takers}  # each the same
    return result, told, passing.failures


def test_what_is_returned_goes_on():
    """The event itself or another one made of it; nobody is told of anything."""
    changed = EVENT._replace(properties=None)
    assert through(lambda event: event) == (EVENT, (), 0)
    assert through(lambda event: changed) == (changed, (), 0)


@pytest.mark.parametrize("body", [{"a": 1}, MappingProxyType({}), UserDict(a=1)])
def test_a_body_may_be_any_mapping(body):
    """As `enqueue` takes it."""
    result, told, failures = through(lambda given: body, {"b": 2})
    assert (result is body, told, failures) == (True, (), 0)


@pytest.mark.parametrize("given", [EVENT, {"b": 2}])
def test_none_takes_it_back(given):
    """Every destination counts it, and it is no failure."""
    assert through(lambda given: None, given) == (None, ("filtered",), 0)


@pytest.mark.parametrize(
    ("given", "result"), [(EVENT, {}), (EVENT, tuple(EVENT)), (EVENT, True), ({}, EVENT), ({}, "x")]
)
def test_another_type_is_a_failure(given, result):
    """What came back is named by its type alone, and nothing goes on."""
    detail = f"it returned {type(result).__name__}"
    assert through(lambda given: result, given) == (None, (("before_send", detail),), 1)


@pytest.mark.parametrize("given", [EVENT, {"b": 2}])
def test_an_exception_is_a_failure(given):
    """Its text may hold the caller's data and is not told."""

    def callback(given):
        raise ValueError("s3cret")

    told = (("before_send", "it raised ValueError"),)
    assert through(callback, given) == (None, told, 1)


@pytest.mark.parametrize(("own", "good"), [("own-1", True), ("", False), (3, False), ("ä", False)])
def test_an_id_of_its_own_is_checked(own, good):
    """One that the vendors would not take is rejected as it is in `track`."""
    result, told, _ = through(lambda event: event._replace(id=own))
    assert (result is not None and result.id == own) is good
    assert [reason for reason, _ in told] == ([] if good else ["invalid_insert_id"])
