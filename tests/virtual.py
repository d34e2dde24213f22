"""
A loop whose clock is virtual: it jumps to the next timer when nothing is ready, so no test sleeps.

Always holds: callbacks run in the order and at the times of a real loop without any load. Worker
threads do not fit in here; what needs them is tested on a real loop.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from sendoff import Datadog, Dispatcher, Freshpaint, MemoryTransport, Request, Response

STUCK_SECONDS = 5.0
"""Real seconds after which a loop with no timer and no event is stuck."""

MOST_TURNS = 30_000
"""Turns of a loop in one instant, beyond which it turns for ever."""


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, now: float, patience: float) -> None:
        super().__init__()
        self.now = now
        self.patience = patience
        self.turns = 0  # in a row, at one instant

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise RuntimeError("the loop turns and turns, and no time passes")
        if events or timeout == 0:
            return events
        if timeout is None:
            events = super().select(self.patience)
            if not events:
                raise RuntimeError("the loop waits for something that never comes")
            return events
        self.now += timeout
        self.turns = 0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, now: float = 0.0, patience: float = STUCK_SECONDS) -> None:
        self._jumping = _JumpingSelector(now, patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def catch_up(self, now: float) -> None:
        """
        Another loop has moved the time, which is one for all.
        """
        self._jumping.now = max(self._jumping.now, now)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """
    `asyncio.run` on a virtual clock.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


class Vendors:
    """
    Both vendors, scripted: keeps what arrives and when, answers as told.
    """

    def __init__(self, answer: Callable[[Request, list[Any]], Any] | None = None) -> None:
        self.answer = answer
        self.transport = MemoryTransport(self._answer)
        self.times: list[float] = []
        self.accepted: list[Any] = []

    def _answer(self, request: Request) -> Any:
        self.times.append(now())
        events = events_of(request)
        answer = self.answer(request, events) if self.answer else None
        if asyncio.iscoroutine(answer):
            return self._later(answer, events)
        return self._noted(answer, events)

    async def _later(self, answer: Coroutine[Any, Any, Any], events: list[Any]) -> Response:
        return self._noted(await answer, events)

    def _noted(self, answer: Any, events: list[Any]) -> Response:
        if answer is None:
            answer = 202
        if isinstance(answer, int):
            answer = Response(answer, body=b"{}")
        if 200 <= answer.status < 300:
            self.accepted += events
        return answer

    @property
    def requests(self) -> list[Request]:
        return self.transport.requests


def events_of(request: Request) -> list[Any]:
    """
    The events of a request in any framing.
    """
    if request.headers["Content-Type"].startswith("text/plain"):
        return [json.loads(line) for line in request.body.split(b"\n")]
    body = json.loads(request.body)
    return body if isinstance(body, list) else [body]


def datadog(**options: Any) -> Datadog:
    return Datadog(**{"api_key": "key", "application_id": "app", **options})


def freshpaint(**options: Any) -> Freshpaint:
    return Freshpaint(**{"token": "token", **options})


def dispatcher(vendors: Vendors, *destinations: Any, **options: Any) -> Dispatcher:
    return Dispatcher(*destinations, transport=vendors.transport, **options)


def fates(dispatcher: Dispatcher, name: str) -> dict[str, Any]:
    """
    The ledger of one destination, without what is zero.
    """
    stats = dispatcher.stats().destinations[name]
    parts = {
        "delivered": stats.delivered,
        "rejected": dict(stats.rejections),
        "dropped": dict(stats.dropped),
        "dead_lettered": stats.dead_lettered,
        "pending": stats.pending,
    }
    assert stats.submitted == (
        stats.delivered
        + stats.rejected
        + sum(stats.dropped.values())
        + stats.dead_lettered
        + stats.pending
    )
    return {name: value for name, value in parts.items() if value}
