"""
`capture`: what is captured, of whom, wherever a test runs, and that nothing of it is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest

from sendoff import (
    Dispatcher,
    Event,
    EventRejected,
    Framing,
    HttpDestination,
    MemoryTransport,
    OptionError,
    Tuning,
    bind,
)
from sendoff.diversion import Diversion, Notes
from sendoff.testing import CapturedEvent, Rejection, capture, run_virtual
from virtual import datadog, fates, freshpaint


class Forbidden:
    """
    A transport that no test of a capture may come to.
    """

    def __init__(self) -> None:
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1

    async def send(self, request: Any, sent: Any) -> Any:
        raise AssertionError("something was sent")

    async def aclose(self) -> None:
        pass


@pytest.fixture
def app() -> Iterator[Dispatcher]:
    """
    An app's dispatcher, which nothing must ever leave.
    """
    transport = Forbidden()
    yield Dispatcher(datadog(), freshpaint(), transport=transport)
    assert transport.opened == 0


def test_an_event_is_captured_in_neutral_form_and_as_each_vendor_gets_it(app: Dispatcher) -> None:
    """Ids as text, properties as JSON has them, a body for each destination; at once, no loop."""
    properties = {"amount": Decimal("9.99"), "at": datetime(2026, 1, 2, tzinfo=UTC), "tags": {"b"}}
    with capture(app) as events:
        event_id = app.track("checkout.completed", user_id=7, properties=properties, time=1.5)
        properties.clear()
    assert len(events) == 1
    event = events[0]
    assert (event.name, event.user_id, event.time, event.call) == (
        "checkout.completed",
        "7",
        1.5,
        "track",
    )
    assert event.account_id is event.session_id is event.device_id is event.ip is None
    assert event.id == event_id
    assert event.properties == {"amount": 9.99, "at": "2026-01-02T00:00:00+00:00", "tags": ["b"]}
    assert event.destinations == ("datadog", "freshpaint")
    assert event.bodies["datadog"] == {
        "application": {"id": "app"},
        "event": {"name": "checkout.completed"},
        "type": "server",
        "usr": {"id": "7"},
        **event.properties,
    }
    assert event.bodies["freshpaint"] == {
        "event": "checkout.completed",
        "properties": {
            "token": None,
            "distinct_id": "7",
            "time": 1.5,
            "$insert_id": event_id,
            **event.properties,
        },
    }


def test_an_event_is_as_its_context_has_it(app: Dispatcher) -> None:
    """What `bind` has bound is in it."""
    with capture(app) as events, bind(user_id="u-1", properties={"plan": "pro"}, ip="192.0.2.1"):
        app.track("x", properties={"n": 1})
    event = events.one("x", user_id="u-1", properties={"plan": "pro", "n": 1})
    assert event.ip == "192.0.2.1"


def test_an_identification_is_captured(app: Dispatcher) -> None:
    """Under Freshpaint's name for it, with the user's properties; Datadog has no such thing."""
    with capture(app) as events:
        app.identify("u-1", {"plan": "pro"}, device_id="d-1")
    event = events.one("$identify", user_id="u-1", device_id="d-1", properties={"plan": "pro"})
    assert (event.call, event.destinations) == ("identify", ("freshpaint",))
    assert event.bodies["freshpaint"]["properties"]["$user_props"] == {"plan": "pro"}


def test_bodies_given_to_enqueue_have_a_neutral_form(app: Dispatcher) -> None:
    """As if they had come by `track` or `identify`, whichever vendor's form they have."""
    with capture(app) as events:
        app.enqueue(
            {
                "application": {"id": "app"},
                "event": {"name": "one"},
                "type": "server",
                "usr": {"id": "u-1"},
                "session": {"id": "s-1"},
                "n": 1,
            }
        )
        app.enqueue(
            {
                "event": "two",
                "properties": {
                    "distinct_id": "u-2",
                    "$device_id": "d-2",
                    "$ip": "192.0.2.1",
                    "time": 3.0,
                    "$options": {"integrations": {"All": False}},
                    "n": 2,
                },
            }
        )
        app.enqueue(
            {
                "event": "$identify",
                "properties": {"distinct_id": "u-3", "$user_props": {"plan": "pro"}},
            }
        )
    one = events.one("one", user_id="u-1", session_id="s-1", account_id=None)
    assert (one.properties, one.destinations, one.call) == ({"n": 1}, ("datadog",), "enqueue")
    two = events.one("two", user_id="u-2", device_id="d-2", to="freshpaint")
    assert (two.properties, two.ip, two.time) == ({"n": 2}, "192.0.2.1", 3.0)
    assert two.integrations == {"All": False}
    assert events.one("$identify", user_id="u-3").properties == {"plan": "pro"}
    assert events.names == ["one", "two", "$identify"]


def test_what_no_vendor_takes_is_no_event(app: Dispatcher) -> None:
    """It is in `rejected`, once for each destination, and fails the test unless that is allowed."""
    with capture(app, allow_rejected=True) as events:
        app.track("")
        app.track("anonymous", device_id="d-1")
        app.track("bad id", user_id="u", insert_id="ö")
        app.enqueue(None)  # type: ignore[arg-type]
        app.enqueue({"application": 7, "event": {"name": "b"}, "type": "server"})
        app.track("elsewhere", user_id="u", to="nowhere")
    assert events.names == ["anonymous"]
    assert events[0].destinations == ("freshpaint",)
    text = "the event's name must be a non-empty str, not an empty str"
    identity = "one of user_id, account_id, session_id is required"
    assert [tuple(vars_of(one).values()) for one in events.rejected[:3]] == [
        ("datadog", "invalid_event", text, ""),
        ("freshpaint", "invalid_event", text, ""),
        ("datadog", "missing_identity", identity, "anonymous"),
    ]
    assert [(one.destination, one.reason, one.name) for one in events.rejected[3:]] == [
        ("datadog", "invalid_insert_id", None),
        ("freshpaint", "invalid_insert_id", None),
        ("datadog", "invalid_payload", None),
        ("freshpaint", "invalid_payload", None),
        ("datadog", "invalid_application", "b"),
    ]


def vars_of(one: Rejection) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("destination", "reason", "detail", "name")}


def test_a_rejected_event_fails_the_test_at_the_end(app: Dispatcher) -> None:
    """Unless the block itself raised, or somebody said that it was meant."""
    with (
        pytest.raises(AssertionError, match="an event was rejected"),
        capture(app),
    ):
        app.track("anonymous", device_id="d-1")
    with pytest.raises(ZeroDivisionError), capture(app):
        app.track(f"{app.track('anonymous', device_id='d-1')} {1 / 0}")
    with capture(app) as events:
        app.track("anonymous", device_id="d-1")
        events.allow_rejected()
    with capture(app) as events:
        app.track("anonymous", device_id="d-1")
        events.clear()
        app.track("named", user_id="u")
    assert events.names == ["named"]


def test_every_bound_of_the_real_one_holds() -> None:
    """Too large an event is rejected, and so is one after a close; a start opens again."""
    app = Dispatcher(freshpaint(), max_queue_bytes=1_000, transport=Forbidden())
    with capture(app, allow_rejected=True) as events:
        assert app.track("large", user_id="u", properties={"text": "x" * 1_000}) is None
        assert app.close()
        assert app.track("late", user_id="u") is None
        asyncio.run(app.start())
        assert app.track("again", user_id="u") is not None
        with pytest.raises(OptionError, match="timeout must be"):
            app.flush_blocking(-1)
    assert events.names == ["again"]
    assert [one.reason for one in events.rejected] == ["too_large", "closed"]


def test_before_send_has_its_say(app: Dispatcher) -> None:
    """What it changes is captured changed; what it takes back is not, and is named."""

    def before_send(event: Any) -> Any:
        if isinstance(event, Event):
            return None if event.name == "noise" else event._replace(name=f"{event.name}!")
        return {**event, "event": "changed"}

    app = Dispatcher(freshpaint(), before_send=before_send, transport=Forbidden())
    with capture(app) as events:
        app.track("noise", user_id="u")
        app.track("x", user_id="u")
        app.enqueue({"event": "y", "properties": {"distinct_id": "u"}})
    assert events.names == ["x!", "changed"]
    assert events.filtered == ["noise"]

    def raises(event: Any) -> Any:
        raise ZeroDivisionError

    app = Dispatcher(freshpaint(), before_send=raises, transport=Forbidden())
    with capture(app, allow_rejected=True) as events:
        app.track("x", user_id="u")
        assert app.stats().hook_failures == {"before_send": 1}
    assert [(one.reason, one.name) for one in events.rejected] == [("before_send", "x")]
    assert (len(events), events.filtered) == (0, [])


def test_while_captured_the_ledger_counts_as_delivered(app: Dispatcher) -> None:
    """Flush and stats tell of the capture alone; before and after, the dispatcher's own."""
    app.track("before", user_id="u")
    assert fates(app, "freshpaint") == {"pending": 1}
    with capture(app):
        assert fates(app, "freshpaint") == {}
        app.track("within", user_id="u")
        assert app.flush_blocking(timeout=0)
        assert fates(app, "freshpaint") == {"delivered": 1}
        assert repr(app).startswith("<Dispatcher diverted, datadog: 0 pending")
    assert fates(app, "freshpaint") == {"pending": 1}
    assert repr(app).startswith("<Dispatcher idle, datadog: 1 pending")


def test_a_closed_dispatcher_begins_open_and_is_closed_again() -> None:
    """A test does not depend on what an earlier one's app did at its end."""
    transport = MemoryTransport()
    app = Dispatcher(freshpaint(), transport=transport)
    app.close()
    with capture(app) as events:
        app.track("x", user_id="u")
    assert events.names == ["x"]
    assert app.track("y", user_id="u") is None


def test_in_a_loop_nothing_is_started(app: Dispatcher) -> None:
    """No task, whatever is called: start, track, flush, close; as a context manager, too."""

    async def main() -> None:
        with capture(app) as events:
            async with app as same:
                assert same is app
                app.track("one", user_id="u")
                events.one("one")
                assert await app.flush()
                assert len(asyncio.all_tasks()) == 1
            await app.start()
            app.track("two", user_id="u")
            assert await app.aclose(timeout=0)
        assert events.names == ["one", "two"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    run_virtual(main())
    anyio.run(main)


def test_a_running_dispatcher_goes_on_below() -> None:
    """What was given before is sent, what is given within is not, and after that it is again."""
    transport = MemoryTransport()

    async def main() -> None:
        async with Dispatcher(freshpaint(), transport=transport) as app:
            app.track("before", user_id="u")
            with capture(app) as events:
                app.track("within", user_id="u")
                await asyncio.sleep(1)
            app.track("after", user_id="u")
            assert await app.flush()
            assert events.names == ["within"]

    run_virtual(main())
    sent = [json.loads(request.body)["event"] for request in transport.requests]
    assert sent == ["before", "after"]


def test_a_blocking_dispatcher_starts_no_thread(tmp_path: Path) -> None:
    """Nor does one with hooks, dead letters and a spool write anything."""
    told: list[object] = []
    app = Dispatcher(
        freshpaint(),
        blocking=True,
        spool=tmp_path / "spool",
        dead_letters=tmp_path / "letters",
        on_drop=lambda reason, events: told.append(reason),
        on_outcome=told.append,
        transport=Forbidden(),
    )
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    threads = threading.active_count()
    with capture(app) as events, app:
        app.track("x", user_id="u")
        assert app.flush_blocking()
    assert events.names == ["x"]
    assert threading.active_count() == threads
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before
    assert told == []
    with capture(app) as events:  # the end of `with app` within the capture closed nothing
        app.track("y", user_id="u")
    assert repr(app).startswith("<Dispatcher idle")


def test_events_of_any_thread_are_captured_each_with_its_own_fate(app: Dispatcher) -> None:
    """A refusal in one thread is never laid to another's event."""

    def calls(number: int) -> None:
        for n in range(50):
            app.track(f"{number}-{n}", device_id="d")  # Datadog refuses it

    with capture(app, allow_rejected=True) as events:
        threads = [threading.Thread(target=calls, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(events) == len(events.rejected) == 200
    assert {one.name for one in events.rejected} == set(events.names)
    assert {event.destinations for event in events} == {("freshpaint",)}


def test_without_arguments_it_captures_every_dispatcher(app: Dispatcher) -> None:
    """Those that are there, and those that are made meanwhile; afterwards none."""
    other = Dispatcher(freshpaint(name="other"), transport=Forbidden())
    with capture() as events:
        late = Dispatcher(freshpaint(name="late"), transport=Forbidden())
        for dispatcher in (app, other, late):
            dispatcher.track("x", user_id="u")
    assert [event.destinations for event in events] == [
        ("datadog", "freshpaint"),
        ("other",),
        ("late",),
    ]
    after = Dispatcher(freshpaint(), transport=Forbidden())
    for dispatcher in (app, other, late, after):
        assert repr(dispatcher).startswith("<Dispatcher idle")


def test_of_several_captures_the_last_has_the_events(app: Dispatcher) -> None:
    """In whatever order they end."""
    first, second, third = capture(app), capture(), capture(app)
    a, b, c = first.__enter__(), second.__enter__(), third.__enter__()
    app.track("3", user_id="u")
    second.__exit__(None, None, None)
    app.track("3 again", user_id="u")
    third.__exit__(None, None, None)
    app.track("1", user_id="u")
    first.__exit__(None, None, None)
    assert (a.names, b.names, c.names) == (["1"], [], ["3", "3 again"])
    assert repr(app).startswith("<Dispatcher idle")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_captured_too(app: Dispatcher) -> None:
    """What it gives goes nowhere; below, it is a child like any other, with an empty queue."""
    app.track("before", user_id="u")
    diversion = capture(app)
    events = diversion.__enter__()
    child = os.fork()
    if not child:
        try:
            app.track("child", user_id="u")
            fine = events.names == ["child"] and repr(app).startswith("<Dispatcher diverted")
            diversion.__exit__(None, None, None)
            fine = fine and fates(app, "freshpaint") == {}
        finally:
            os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    diversion.__exit__(None, None, None)
    assert events.names == []
    assert fates(app, "freshpaint") == {"pending": 1}


def test_what_is_no_body_at_all_is_noted_call_by_call(app: Dispatcher) -> None:
    """Two calls with nothing are two, each refused by both; as a kit of one's own sees it."""
    notes = Notes()
    with Diversion(app, notes=notes):
        app.enqueue(None)  # type: ignore[arg-type]
        app.enqueue(None)  # type: ignore[arg-type]
        app.track("x", user_id="u", to="datadog")
    assert [given.call for given in notes.given] == ["enqueue", "enqueue", "track"]
    assert [notes.given.index(one.given) for one in notes.refusals if one.given] == [0, 0, 1, 1]
    assert list(notes.given[2].bodies) == ["datadog"]


class Lines(HttpDestination):
    """
    A vendor that is no JSON's friend, and has no `assemble`.
    """

    def __init__(self) -> None:
        super().__init__(
            name="lines",
            endpoint="https://collector.example/v1",
            framing=Framing(separator=b"\n"),
            tuning=Tuning(),
        )

    def encode(self, event: Event, dumps: Any) -> bytes | None:
        if event.user_id == "nobody":
            raise EventRejected("missing_user", "somebody is required")
        return f"{event.name} by {event.user_id}".encode()


def test_a_destination_of_ones_own_is_captured() -> None:
    """Its bodies are shown as bytes where they are no JSON; its words for a refusal are its own."""
    app = Dispatcher(Lines(), transport=Forbidden())
    with capture(app, allow_rejected=True) as events:
        app.track("x", user_id="u")
        app.track("y", user_id="nobody")
        app.enqueue({"any": "thing"})
    assert events.one("x").bodies == {"lines": b"x by u"}
    assert [one.reason for one in events.rejected] == ["missing_user"]
    assert events[1].properties == {"any": "thing"}


def test_only_dispatchers_are_taken() -> None:
    """The error says what to do."""
    with pytest.raises(TypeError, match="capture takes dispatchers, not type"):
        capture(Dispatcher)  # type: ignore[arg-type]


def test_captured_events_are_a_sequence(app: Dispatcher) -> None:
    """Indexed, sliced, walked over, counted; a repr shows each on a line."""
    with capture(app) as events:
        assert repr(events) == "<0 captured events>"
        app.track("one", user_id="u", account_id=UUID(int=1))
        app.track("two", session_id="s", device_id="d", properties={"n": 1})
    assert [event.name for event in events[:1]] == ["one"]
    assert isinstance(events[-1], CapturedEvent)
    assert events.count() == len(events) == 2
    assert repr(events) == (
        "<2 captured events:\n"
        "    'one' user_id='u' account_id='00000000-0000-0000-0000-000000000001' properties={}\n"
        "    'two' session_id='s' device_id='d' properties={'n': 1}>"
    )
    assert repr(events[1]) == "<'two' session_id='s' device_id='d' properties={'n': 1}>"
