"""
Both vendors in memory, who take what they document and misbehave by script: the sink without a
socket.

Always holds: every request is kept, with the moment it came; what they answer depends on the
script, the requests and the loop's clock alone, so on a virtual clock a test gives the same result
every time. Nothing is accepted that the sink would refuse.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel

from sendoff import Request, Response, TransportError
from sendoff.sink import Kind, Settings, parse_fault
from sendoff.sink.contract import PATHS, Verdict, judge
from sendoff.sink.faults import Fault, Script
from sendoff.sink.strict import inflate

__all__ = ["Answer", "ScriptedVendors", "events_of"]

Answer = Response | int | None
"""A whole answer; a status; or None to leave it to the script and the vendor's rules."""

MOST_BYTES = 100_000_000
"""Bytes to which a compressed body is unpacked at most."""

TAKEN = Verdict(202, b"{}")
"""What a destination of the user's own is answered."""


class ScriptedVendors:
    """
    A transport that answers in the vendors' place; for `Dispatcher(transport=...)`.

    Requests to Datadog's and Freshpaint's paths are judged by the sink's rules: what the vendors
    would refuse gets their 400, 401, 403 or 413. Any other path is answered by 202.

    Args:
        script: Faults in the words of the sink, such as ``"503 first 2 on freshpaint"``,
            ``"latency 100ms"`` or ``"reset share 0.1"``. Their times count from the moment in which
            the dispatcher opens the transport.
        answer: Called with each request and its events, before the script; what it returns, or
            awaits, is the answer. May raise `TransportError`.
        settings: The vendors' own: the only key or token they take, whether batches are taken.

    Attributes:
        answer: As above; may be changed at any time.
        requests: What came, in the order of arrival.
        times: When each came, by the loop's clock.
        accepted: The events of all requests that were processed, in order.
        opened: How often it was opened.
        closed: How often it was closed.

    Raises:
        ValueError: A line of the script makes no sense; the message names the word.
    """

    def __init__(
        self,
        *script: str,
        answer: Callable[[Request, list[Any]], Answer | Awaitable[Answer]] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        # A fixed seed: the same requests in the same order meet the same faults.
        self._chance = random.Random(1).random
        # All mutable state.
        self.answer = answer
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.accepted: list[Any] = []
        self.opened: int = 0
        self.closed: int = 0
        self._faults = [parse_fault(line) for line in script]
        self._script: Script | None = None  # made when there is a clock

    def faults(self, *script: str) -> None:
        """
        Replaces the faults; without any, all is well again. Their times count from the next
        request.

        Args:
            script: One line for each.

        Raises:
            ValueError: A line makes no sense; the faults stay as they were.
        """
        self._faults = [parse_fault(line) for line in script]
        self._script = None

    def events(self, destination: str) -> list[Any]:
        """
        The accepted events of one vendor, in order.

        Args:
            destination: ``"datadog"`` or ``"freshpaint"``.
        """
        return [event for event in self.accepted if _vendor_of_event(event) == destination]

    async def open(self) -> None:
        """
        Counts that it was opened; the script's times count from the first one.
        """
        self.opened += 1
        self._running_script(asyncio.get_running_loop().time())

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        Keeps the request and answers by `answer`, the script and the vendors' rules.

        Cancelling it is a client that hangs up: what was processed stays processed.

        Raises:
            TransportError: A fault that gives no answer.
        """
        sent()
        self.requests.append(request)
        now = asyncio.get_running_loop().time()
        self.times.append(now)
        await anyio.lowlevel.checkpoint()  # a real one always lets the loop turn
        if self.answer is not None:
            events = events_of(request)
            answer = self.answer(request, events)
            if isawaitable(answer):
                answer = await answer
            if answer is not None:
                response = Response(answer, body=b"{}") if isinstance(answer, int) else answer
                if 200 <= response.status < 300:
                    self.accepted += events
                return response
        return await self._by_script(request, now)

    async def aclose(self) -> None:
        """
        Counts that it was closed.
        """
        self.closed += 1

    async def _by_script(self, request: Request, now: float) -> Response:
        path = urlsplit(request.url).path
        # A third vendor meets the faults that name none, in Datadog's manner.
        vendor = PATHS.get(path, cast("Any", "other"))
        fault, latency = self._running_script(now).plan(vendor, now)
        verdict = None
        if fault is not None and fault.answers:
            verdict = fault.answer(vendor, time.time())
        elif fault is None or fault.processes:
            verdict = self._judged(request, path)
        if latency:
            await anyio.sleep(latency)
        if fault is not None and fault.kind is Kind.HANG:
            await anyio.sleep_forever()
        if verdict is None or (fault is not None and fault.kind is Kind.RESET):
            raise TransportError("disconnected", perhaps_sent=True)
        headers = {name.lower(): value for name, value in verdict.headers}
        return Response(verdict.status, headers, _as_far_as_it_comes(verdict, fault))

    def _judged(self, request: Request, path: str) -> Verdict:
        if path not in PATHS:
            self.accepted += events_of(request)
            return TAKEN
        headers = {name.lower(): value for name, value in request.headers.items()}
        verdict = judge(self._settings, "POST", path, headers, request.body)
        self.accepted += verdict.events
        return verdict

    def _running_script(self, now: float) -> Script:
        if self._script is None:
            self._script = Script(self._faults, now=now, chance=self._chance)
        return self._script


def events_of(request: Request) -> list[Any]:
    """
    The events in a request's body: one object, an array of them, or one on each line.

    Args:
        request: As a transport gets it; its body may be compressed.

    Returns:
        The events; none where the body is no JSON, or compressed in a way that is not known here.
    """
    body = request.body
    try:
        for name, encoding in request.headers.items():
            if name.lower() == "content-encoding":
                body = inflate(body, encoding, MOST_BYTES)
    except ValueError:
        return []
    try:
        found = json.loads(body)
    except ValueError:
        try:
            return [json.loads(one) for one in body.splitlines()]
        except ValueError:
            return []
    return found if isinstance(found, list) else [found]


def _vendor_of_event(event: Any) -> str:
    return "datadog" if "application" in event else "freshpaint" if "properties" in event else ""


def _as_far_as_it_comes(verdict: Verdict, fault: Fault | None) -> bytes:
    cut = fault is not None and fault.kind is Kind.TRUNCATE
    return verdict.body[:-1] if cut else verdict.body
