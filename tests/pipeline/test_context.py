"""
What is bound for a context: who sees it, what goes before it, and that nothing of it can break a
request.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sendoff import Binding, Dispatcher, bind
from sendoff.integrations._shared import Requests
from virtual import Vendors, datadog, dispatcher, events_of, fates, freshpaint, run


def sent(calls: Any, *, both: bool = False) -> list[dict[str, Any]]:
    """
    What Freshpaint (or Datadog as well) receives of the events that `calls(dispatcher)` gives.
    """
    vendors = Vendors()

    async def main() -> list[dict[str, Any]]:
        destinations = (freshpaint(), datadog()) if both else (freshpaint(),)
        async with dispatcher(vendors, *destinations) as d:
            result = calls(d)
            if asyncio.iscoroutine(result):
                await result
            assert await d.flush()
        return [event for request in vendors.requests for event in events_of(request)]

    return contextvars.copy_context().run(run, main())


def own(event: dict[str, Any]) -> dict[str, Any]:
    """
    An event's properties without what the vendor wants in each.
    """
    return {
        key: value
        for key, value in event["properties"].items()
        if key not in ("token", "time", "$insert_id")
    }


def test_what_is_bound_is_added_to_every_event() -> None:
    """User, account, session, device, address and properties come from the binding."""

    def calls(d: Dispatcher) -> None:
        with bind(
            user_id="u-1",
            account_id="a-1",
            session_id="s-1",
            device_id="d-1",
            ip="192.0.2.1",
            properties={"plan": "pro", "beta": True},
        ):
            d.track("one", properties={"beta": False, "n": 1})
            d.track("two")
        d.track("three", user_id="u-2")

    one, two, three = sent(calls)
    assert own(one) == {
        "distinct_id": "u-1",
        "$device_id": "d-1",
        "account_id": "a-1",
        "session_id": "s-1",
        "$ip": "192.0.2.1",
        "plan": "pro",
        "beta": False,
        "n": 1,
    }
    assert {**own(two), "n": 1} == {**own(one), "beta": True}
    assert own(three) == {"distinct_id": "u-2"}


def test_the_call_goes_before_the_binding() -> None:
    """Each field that a call gives is the call's."""

    def calls(d: Dispatcher) -> None:
        with bind(user_id="bound", session_id="s-bound"):
            d.track("one", user_id="own")

    (one,) = sent(calls)
    assert (own(one)["distinct_id"], own(one)["session_id"]) == ("own", "s-bound")


def test_bindings_nest() -> None:
    """An inner binding adds to the outer one, and ends with its block; a fresh one does not."""

    def calls(d: Dispatcher) -> None:
        with bind(user_id="u", properties={"a": 1, "b": 1}):
            with bind(properties={"b": 2}):
                d.track("inner")
            with bind(user_id="other", inherit=False):
                d.track("fresh")
            d.track("outer")

    found = {event["event"]: own(event) for event in sent(calls)}
    assert found == {
        "inner": {"distinct_id": "u", "a": 1, "b": 2},
        "fresh": {"distinct_id": "other"},
        "outer": {"distinct_id": "u", "a": 1, "b": 1},
    }


def test_tasks_keep_their_bindings_apart() -> None:
    """Two requests at once see their own user, and a task started by one sees that one's."""

    async def request(d: Dispatcher, user: str) -> None:
        bind(user_id=user)
        await asyncio.sleep(0.1)
        d.track(user)
        await asyncio.create_task(later(d, user))

    async def later(d: Dispatcher, user: str) -> None:
        d.track(f"later {user}")

    async def calls(d: Dispatcher) -> None:
        await asyncio.gather(request(d, "u-1"), request(d, "u-2"))
        d.track("outside", user_id="nobody")

    assert sorted((event["event"], own(event)["distinct_id"]) for event in sent(calls)) == [
        ("later u-1", "u-1"),
        ("later u-2", "u-2"),
        ("outside", "nobody"),
        ("u-1", "u-1"),
        ("u-2", "u-2"),
    ]


def test_an_identification_takes_the_device() -> None:
    """`identify` names its user itself; the device it is on may be bound."""

    def calls(d: Dispatcher) -> None:
        with bind(user_id="ignored", device_id="d-1", properties={"ignored": 1}):
            d.identify("u-1", {"tier": "pro"})

    (one,) = sent(calls)
    assert one["event"] == "$identify"
    assert one["properties"]["distinct_id"] == "u-1"
    assert one["properties"]["$device_id"] == "d-1"
    assert "ignored" not in str(one)


def test_the_binding_is_a_snapshot() -> None:
    """Later changes of the bound dict do not show, and the caller's objects stay as they were."""
    given = {"plan": "pro"}

    def calls(d: Dispatcher) -> None:
        with bind(user_id="u", properties=given):
            given["plan"] = "changed"
            d.track("one", properties=(mine := {"n": 1}))
            assert mine == {"n": 1}

    (one,) = sent(calls)
    assert own(one) == {"distinct_id": "u", "plan": "pro", "n": 1}


class Angry(Mapping[str, Any]):
    """
    A mapping that raises at every touch.
    """

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("bad", [5, "text", Angry(), [1]])
def test_bad_properties_are_left_out_and_logged(bad: Any, caplog: Any) -> None:
    """What cannot be bound costs no event, and one line says so."""

    def calls(d: Dispatcher) -> None:
        with caplog.at_level(logging.WARNING, "sendoff"), bind(user_id="u", properties=bad):
            d.track("one")

    (one,) = sent(calls)
    assert own(one) == {"distinct_id": "u"}
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "bound properties are left out"
    ]


def test_bad_own_properties_meet_the_same_fate_under_a_binding() -> None:
    """An event whose own properties cannot be read is rejected as it is without a binding."""

    async def main() -> tuple[dict[str, Any], ...]:
        found = []
        for properties in (None, {"plan": "pro"}):
            async with dispatcher(Vendors(), freshpaint()) as d:
                with bind(properties=properties):
                    d.track("one", user_id="u", properties=Angry())
                    d.track("two", user_id="u", properties=5)  # type: ignore[arg-type]
                await d.flush()
                found.append(fates(d, "freshpaint"))
        return tuple(found)

    reasons = {"unencodable": 1, "invalid_properties": 1}
    assert run(main()) == ({"rejected": reasons}, {"rejected": reasons})


def test_undoing_twice_or_elsewhere_does_nothing() -> None:
    """A second undo, and one from another context, leave everything as it is and never raise."""
    outer = bind(user_id="outer")
    inner = bind(user_id="inner")
    inner.undo()
    inner.undo()
    thread = threading.Thread(target=outer.undo)
    thread.start()
    thread.join()

    def calls(d: Dispatcher) -> None:
        d.track("one")

    (one,) = sent(calls)
    assert own(one) == {"distinct_id": "outer"}
    bind(inherit=False)


def test_both_vendors_see_the_same_binding() -> None:
    """Datadog gets the bound user as its own field."""

    def calls(d: Dispatcher) -> None:
        with bind(user_id="u-1", properties={"plan": "pro"}):
            d.track("one")

    found = sent(calls, both=True)
    assert {event["usr"]["id"] for event in found if "usr" in event} == {"u-1"}
    assert {event["plan"] for event in found if "usr" in event} == {"pro"}


def test_a_representation_shows_no_value() -> None:
    """What is bound is the caller's data; its repr has names only."""
    from sendoff.context import BOUND

    with bind(user_id="canary", properties={"key": "canary"}):
        assert repr(BOUND.get()) == "<Bound user_id, properties>"


# --- what a request binds -------------------------------------------------------------------------


def bound_by(requests: Requests[str], address: str | None = None) -> dict[str, Any]:
    def calls(d: Dispatcher) -> None:
        with requests.bind("request", address):
            d.track("one", device_id="d")

    (one,) = sent(calls)
    return own(one)


def test_the_context_of_a_request_is_bound() -> None:
    """The app's function says who asks; the address is bound only if asked for."""
    plain = Requests[str](lambda request: {"user_id": request}, client_address=False)
    assert bound_by(plain, "192.0.2.1") == bound_by(plain)
    assert bound_by(plain)["distinct_id"] == "request"
    asked = Requests[str](lambda _: None, client_address=True)
    assert "192.0.2.1" in bound_by(asked, "192.0.2.1").values()
    assert not Requests[str](None, client_address=False).binds
    assert asked.binds


@pytest.mark.parametrize("wrong", [{"nobody": 1}, 5, RuntimeError()])
def test_a_wrong_context_costs_no_request(wrong: Any, caplog: Any) -> None:
    """A function that raises or returns nonsense binds nothing, and is told of once."""

    def context(_: str) -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    requests = Requests[str](context, client_address=True)
    with caplog.at_level(logging.WARNING, "sendoff"):
        for _ in range(3):
            binding = requests.bind("request", "192.0.2.1")
            assert isinstance(binding, Binding)
            binding.undo()
    assert len([one for one in caplog.records if "context of requests" in one.message]) == 1
