"""
The testing kit as a type checker sees it; checked by mypy and pyright, never run.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, assert_type

from sendoff import Dispatcher, Freshpaint, Request, Response, Transport
from sendoff.sink import Settings, SinkProcess
from sendoff.testing import (
    CapturedEvent,
    CapturedEvents,
    Rejection,
    ScriptedVendors,
    VirtualLoop,
    capture,
    events_of,
    run_virtual,
)

dispatcher = Dispatcher(Freshpaint(token="t"))


def test_of_an_app(sendoff_events: CapturedEvents, sendoff_sink: SinkProcess) -> None:
    assert_type(sendoff_events.one("x", user_id=7, properties={"n": 1}), CapturedEvent)
    assert_type(sendoff_events.exactly(2, "x"), list[CapturedEvent])
    assert_type(sendoff_events.count(to="datadog"), int)
    assert_type(sendoff_events.named("x"), list[CapturedEvent])
    assert_type(sendoff_events[0], CapturedEvent)
    assert_type(sendoff_events[1:], list[CapturedEvent])
    assert_type(sendoff_events.names, list[str])
    assert_type(sendoff_events.rejected, list[Rejection])
    for event in sendoff_events:
        assert_type(event.user_id, str | None)
        assert_type(event.properties, Mapping[str, Any])
        assert_type(event.destinations, tuple[str, ...])
    sendoff_events.none("y", session_id=None)
    sendoff_events.allow_rejected()
    assert_type(sendoff_sink.url, str)


with capture() as captured:
    assert_type(captured, CapturedEvents)
with capture(dispatcher, dispatcher, allow_rejected=True) as captured:
    captured.clear()


async def answer(request: Request, events: list[Any]) -> Response:
    return Response(202)


vendors: Transport = ScriptedVendors("503 first 2", answer=answer, settings=Settings(token="t"))
ScriptedVendors(answer=lambda request, events: 503 if len(events) > 1 else None).faults("reset")
ScriptedVendors(answer=lambda request, events: Response(202) if events_of(request) else 400)


async def number() -> int:
    return 7


assert_type(run_virtual(number(), now=1.0), int)
loop: asyncio.AbstractEventLoop = VirtualLoop(now=3.0, patience=0.1)
