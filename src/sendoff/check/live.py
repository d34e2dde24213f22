"""
Events that are really sent: two to each vendor, with a mark by which they are found there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sendoff import (
    Action,
    Destination,
    Dispatcher,
    Request,
    Response,
    Transport,
    TransportError,
    Verdict,
)
from sendoff.check.facts import Live
from sendoff.check.findings import EVENT

__all__ = ["try_live"]

EVENTS = 2
"""So that a vendor that takes batches is given one."""

TICK = 0.05


class _Witness:
    """
    A transport that keeps what was answered.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        # All mutable state.
        self._transport: Transport | None = None
        self.statuses: list[int] = []
        self.said = ""
        self.last: Verdict | None = None
        self.batch_refused = False

    async def open(self) -> None:
        from sendoff.transports.http import HttpTransport

        self._transport = HttpTransport()
        await self._transport.open()

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        assert self._transport is not None
        try:
            response = await self._transport.send(request, sent)
        except TransportError as exc:
            self.said = str(exc)
            raise
        self.statuses.append(response.status)
        verdict = self.last = self._destination.verdict(response, time.time())
        if verdict.action is not Action.DELIVERED:
            self.said = verdict.detail or verdict.reason
            if verdict.action is Action.NARROW and request.body.startswith(b"["):
                self.batch_refused = True
        return response

    async def aclose(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()


async def try_live(destination: Destination, mark: str, timeout: float) -> Live:
    """
    Sends marked events to a vendor, and waits for what becomes of them.

    Args:
        destination: The vendor.
        mark: What tells them from others.
        timeout: Seconds after which it stops waiting.
    """
    witness = _Witness(destination)
    # What goes wrong becomes a finding; the library's own lines would say it twice.
    logging.getLogger("sendoff").addHandler(logging.NullHandler())
    dispatcher = Dispatcher(destination, transport=witness, shutdown_timeout=0.0)
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    async with dispatcher:
        for number in range(1, EVENTS + 1):
            dispatcher.track(
                EVENT,
                user_id="sendoff-check",
                properties={"sendoff_check": mark, "number": number, "of": EVENTS},
            )
        while loop.time() < end and dispatcher.stats().destinations[destination.name].pending:
            if witness.last is not None and witness.last.action is Action.HOLD:
                break  # a wrong key does not get better by waiting
            await asyncio.sleep(TICK)
        ledger = dispatcher.stats().destinations[destination.name]
    return Live(
        mark=mark,
        sent=EVENTS,
        delivered=ledger.delivered,
        statuses=tuple(witness.statuses),
        said=witness.said or "no answer in time",
        batch_refused=witness.batch_refused,
    )
