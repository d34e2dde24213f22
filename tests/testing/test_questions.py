"""
What a test can ask of captured events, and what it is told where the answer is no.
"""

from __future__ import annotations

import unittest
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest

from sendoff import Dispatcher, MemoryTransport
from sendoff.testing import CapturedEvents, capture
from virtual import datadog, freshpaint


def given(*calls: dict[str, Any], **options: Any) -> CapturedEvents:
    """
    What is captured of some calls of `track`.
    """
    app = Dispatcher(datadog(), freshpaint(), transport=MemoryTransport(), **options)
    with capture(app, allow_rejected=True) as events:
        for call in calls:
            app.track(**{"user_id": "u-1", **call})
    return events


PURCHASE = {
    "event": "checkout.completed",
    "properties": {
        "amount": Decimal("10.5"),
        "customer": {"tier": "premium", "since": datetime(2020, 1, 1, tzinfo=UTC)},
        "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
        "gift": True,
        "id": UUID(int=7),
        "note": None,
        3: "three",
    },
}


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"amount": 10.5},
        {"amount": Decimal("10.5")},
        {"amount": pytest.approx(10.4, abs=0.2)},
        {"amount": ANY},
        {"customer": {"tier": "premium"}},
        {"customer": {"since": datetime(2020, 1, 1, tzinfo=UTC)}},
        {"customer": {"since": "2020-01-01T00:00:00+00:00"}},
        {"items": [{"sku": "a"}, {"n": 2}]},
        {"items": ({"sku": "a"}, ANY)},
        {"id": UUID(int=7)},
        {"gift": True, "note": None},
        {3: "three"},
        {"3": "three"},
        ANY,
    ],
)
def test_properties_match_in_part_and_by_their_form(properties: Any) -> None:
    """Of mappings the keys that are given, of lists every item; values as the app had them or as
    JSON has them, or by a matcher of anybody's."""
    events = given(PURCHASE)
    assert events.one("checkout.completed", properties=properties) == events[0]
    assert events.count(properties=properties) == 1
    with pytest.raises(AssertionError):
        events.none(properties=properties)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"amount": 10}, "properties.amount: expected 10, got 10.5"),
        ({"gift": 1}, "properties.gift: expected 1, got True"),
        ({"note": 0}, "properties.note: expected 0, got None"),
        ({"more": None}, "properties.more: expected None, and it is not there"),
        (
            {"customer": {"tier": {"deep": 1}}},
            "properties.customer.tier: expected {'deep': 1}, got 'premium'",
        ),
        (
            {"items": [{"sku": "a"}]},
            "properties.items[1]: expected nothing more, got {'sku': 'b', 'n': 2}",
        ),
        (
            {"items": [ANY, {"sku": "x"}]},
            "properties.items[1].sku: expected 'x', got 'b'",
        ),
        ({"items": [ANY, ANY, 3]}, "properties.items[2]: expected 3, and it is not there"),
        ({"items": {}}, "properties.items: expected {}, got [{"),
    ],
)
def test_what_does_not_match_is_named(properties: Any, why: str) -> None:
    """By its place, what was expected and what came."""
    with pytest.raises(AssertionError) as failure:
        given(PURCHASE).one("checkout.completed", properties=properties)
    assert f"\n    {why}" in str(failure.value)


def test_ids_and_destinations_are_compared() -> None:
    """Ids in the form in which they were given or are sent; None is for none."""
    events = given(
        {"event": "x", "user_id": 7, "account_id": UUID(int=1)},
        {"event": "x", "user_id": "u-2", "to": "datadog"},
        {"event": "x", "user_id": None, "device_id": "d-1", "session_id": "s-1"},
    )
    for expected in ({"user_id": 7}, {"user_id": "7"}, {"account_id": UUID(int=1)}):
        assert events.one("x", **expected) is not None
        assert events.count("x", **expected) == 1
    assert events.one(user_id=None).device_id == "d-1"
    assert events.count(device_id=None) == 2
    assert events.count(to="datadog") == 3
    assert events.count(to="freshpaint") == 2
    assert events.exactly(2, "x", to="freshpaint") == [events[0], events[2]]
    assert events.named("x") == list(events)
    assert events.named("y") == []


def test_a_failure_shows_what_came_and_what_is_nearest() -> None:
    """The whole text of it."""
    events = given(
        {"event": "cart.opened"},
        PURCHASE | {"properties": {"amount": 10.5, "customer": {"tier": "premium"}}},
        {"event": "anonymous", "user_id": None, "device_id": "d-1"},
        {"event": "anonymous", "user_id": None, "device_id": "d-1"},
        before_send=lambda event: event if event.name != "noise" else None,
    )
    with pytest.raises(AssertionError) as failure:
        events.one(
            "checkout.complete",
            user_id="u-2",
            properties={"amount": 9.99, "customer": {"tier": "basic"}, "currency": "EUR"},
            to="warehouse",
        )
    assert str(failure.value) == (
        "expected exactly 1 event like 'checkout.complete' user_id='u-2' properties={'amount':"
        " 9.99, 'customer': {'tier': 'basic'}, 'currency': 'EUR'} to='warehouse', got none\n"
        "nearest: 'checkout.completed' user_id='u-1' properties={'amount': 10.5, 'customer':"
        " {'tier': 'premium'}}\n"
        "    name: expected 'checkout.complete', got 'checkout.completed'\n"
        "    user_id: expected 'u-2', got 'u-1'\n"
        "    properties.amount: expected 9.99, got 10.5\n"
        "    properties.customer.tier: expected 'basic', got 'premium'\n"
        "    properties.currency: expected 'EUR', and it is not there\n"
        "    to: expected 'warehouse', got ('datadog', 'freshpaint')\n"
        "captured:\n"
        "    - 'cart.opened' user_id='u-1' properties={}\n"
        "    - 'checkout.completed' user_id='u-1' properties={'amount': 10.5, 'customer': {'tier':"
        " 'premium'}}\n"
        "    - 'anonymous' device_id='d-1' properties={}\n"
        "    - 'anonymous' device_id='d-1' properties={}\n"
        "rejected:\n"
        "    - 'anonymous' by datadog: missing_identity: one of user_id, account_id, session_id is"
        " required (2 times)"
    )


def test_a_failure_where_nothing_came_says_so() -> None:
    """And what `before_send` took back."""
    events = given({"event": "noise"}, {"event": "noise"}, before_send=lambda event: None)
    with pytest.raises(AssertionError) as failure:
        events.one("noise")
    assert str(failure.value) == (
        "expected exactly 1 event like 'noise', got none\n"
        "captured: nothing\n"
        "taken back by before_send:\n"
        "    - 'noise' (2 times)"
    )


def test_a_failure_where_too_much_came_marks_what_matches() -> None:
    """In `one`, in `exactly` and in `none`."""
    events = given({"event": "a"}, {"event": "b"}, {"event": "a", "properties": {"n": 2}})
    listed = (
        "captured:\n"
        "    > 'a' user_id='u-1' properties={}\n"
        "    - 'b' user_id='u-1' properties={}\n"
        "    > 'a' user_id='u-1' properties={'n': 2}"
    )
    for ask, first in (
        (lambda: events.one("a"), "expected exactly 1 event like 'a', got 2"),
        (lambda: events.exactly(3, "a"), "expected exactly 3 events like 'a', got 2"),
        (lambda: events.none("a"), "expected no event like 'a', got 2"),
    ):
        with pytest.raises(AssertionError) as failure:
            ask()
        assert str(failure.value) == f"{first}\n{listed}"
    with pytest.raises(AssertionError, match="expected no event like anything, got 3"):
        events.none()
    given().none()


def test_the_nearest_has_the_right_name_before_the_right_properties() -> None:
    """A name that is nearly right counts for more than a wrong one whose properties fit."""
    events = given(
        {"event": "page.viewed", "properties": {"amount": 9.99}},
        {"event": "checkout.completed", "properties": {"amount": 1}},
    )
    with pytest.raises(AssertionError, match=r"nearest: 'checkout\.completed'"):
        events.one("checkout_completed", properties={"amount": 9.99})


def test_a_failure_is_short_whatever_was_sent() -> None:
    """Long lines are cut, and long lists end."""
    large = {"event": "large", "properties": {"text": "x" * 10_000}}
    with pytest.raises(AssertionError) as failure:
        given(large, *[{"event": "x"}] * 30).one("other")
    lines = str(failure.value).splitlines()
    assert max(map(len, lines)) == 300
    assert lines[-1] == "    ... and 11 more"
    assert len(lines) < 30


class OfUnittest(unittest.TestCase):
    """Where there is no pytest."""

    def test_it_works_as_a_context_of_the_test(self) -> None:
        """`enterContext` ends the capture with the test, and a failure is unittest's own."""
        app = Dispatcher(freshpaint(), transport=MemoryTransport())
        events = self.enterContext(capture(app))
        app.track("x", user_id="u")
        events.one("x")
        with pytest.raises(self.failureException):
            events.none("x")
