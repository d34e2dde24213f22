"""
`before_send`: once for each event, in the caller's thread, before anything of it is encoded.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sendoff import Event, Response
from virtual import Vendors, datadog, dispatcher, fates, freshpaint, run

BODY = {"event": "x", "properties": {"distinct_id": "u", "card": "x4111x"}}


def test_it_sees_every_event_once_and_its_result_is_sent() -> None:
    """For both vendors the same one; the caller's objects stay as they were."""
    seen: list[Any] = []
    vendors = Vendors()
    properties = {"card": "x4111x", "n": 1}

    def redact(event: Any) -> Any:
        seen.append(event)
        if isinstance(event, Event):
            return event._replace(properties={**event.properties, "card": "…"})
        return {**event, "properties": {**event["properties"], "card": "…"}}

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint(), before_send=redact) as d:
            event_id = d.track("x", user_id="u", properties=properties)
            assert [event.id for event in seen] == [event_id]
            assert d.identify("u", properties) is not None
            assert d.enqueue(BODY) is not None
            assert len(seen) == 3
            assert await d.flush()

    run(main())
    assert properties == {"card": "x4111x", "n": 1}
    assert BODY["properties"] == {"distinct_id": "u", "card": "x4111x"}
    assert [type(one) for one in seen] == [Event, Event, dict]
    assert len(vendors.accepted) == 4
    assert b"x4111x" not in b"".join(request.body for request in vendors.requests)


def test_none_filters_the_event_out(caplog: pytest.LogCaptureFixture) -> None:
    """Counted for each destination that was named, without a word, and offered to nobody."""
    vendors = Vendors()
    told: list[object] = []

    async def main() -> None:
        async with dispatcher(
            vendors,
            datadog(),
            freshpaint(),
            before_send=lambda event: None,
            on_drop=lambda reason, events: told.append(reason),
            on_outcome=told.append,
        ) as d:
            assert d.track("x", user_id="u") is None
            assert d.track("x", user_id="u", to="datadog") is None
            assert d.enqueue(BODY) is None  # Freshpaint's shape
            assert fates(d, "datadog") == {"dropped": {"filtered": 2}}
            assert fates(d, "freshpaint") == {"dropped": {"filtered": 2}}

    asyncio.run(main())
    assert (vendors.requests, told, caplog.messages) == ([], [], [])


@pytest.mark.parametrize(
    ("callback", "detail"),
    [
        (lambda event: {}["s3cret"], "it raised KeyError"),
        (lambda event: "s3cret", "it returned str"),
        (lambda event: event.loop(), "it raised AttributeError"),
    ],
)
def test_what_fails_in_it_is_not_sent(
    caplog: pytest.LogCaptureFixture, callback: Any, detail: str
) -> None:
    """It may hold what should have been taken out: rejected, counted, said once by type alone."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(), before_send=callback) as d:
            for _ in range(3):
                assert d.track("x", user_id="u") is None
            assert d.enqueue({"type": "server"}) is None
            assert fates(d, "datadog") == {"rejected": {"before_send": 4}}
            assert dict(d.stats().hook_failures) == {"before_send": 4}

    run(main())
    assert vendors.requests == []
    assert caplog.messages == [f"datadog: an event was rejected, before_send: {detail}"]


@pytest.mark.parametrize("payload", [None, "text", 3])
def test_what_is_no_mapping_is_rejected_as_ever(payload: Any) -> None:
    """The callback is not shown it."""

    def never(event: Any) -> Any:
        raise NotImplementedError

    d = dispatcher(Vendors(), datadog(), before_send=never)
    assert d.enqueue(payload) is None
    assert fates(d, "datadog") == {"rejected": {"invalid_payload": 1}}


def test_it_runs_in_the_callers_thread_and_before_a_loop() -> None:
    """At the call, wherever that is."""
    threads: list[threading.Thread] = []
    vendors = Vendors(lambda request, events: Response(202))

    def look(event: Any) -> Any:
        threads.append(threading.current_thread())
        return event

    d = dispatcher(vendors, datadog(), before_send=look)
    d.track("x", user_id="u")
    thread = threading.Thread(target=lambda: d.track("x", user_id="u"))
    thread.start()
    thread.join()
    assert threads == [threading.main_thread(), thread]


def test_one_that_tracks_does_not_break_the_caller() -> None:
    """Endless recursion ends as a failure of the callback's."""
    vendors = Vendors()

    def again(event: Any) -> Any:
        d.track("x", user_id="u")
        return event

    d = dispatcher(vendors, datadog(), before_send=again)
    d.track("x", user_id="u")
    stats = d.stats().destinations["datadog"]
    assert stats.rejections["before_send"] >= 1


def test_it_may_choose_the_id() -> None:
    """What it returns is what `track` returns and what is sent; a bad one is rejected."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(
            vendors, freshpaint(), before_send=lambda event: event._replace(id=event.name)
        ) as d:
            assert d.track("own-1", user_id="u") == "own-1"
            assert d.track("not an id", user_id="u") is None
            assert await d.flush()
            assert fates(d, "freshpaint") == {
                "delivered": 1,
                "rejected": {"invalid_insert_id": 1},
            }

    run(main())
    assert vendors.accepted[0]["properties"]["$insert_id"] == "own-1"
