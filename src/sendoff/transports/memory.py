"""
A vendor in memory: the public fake beside the real transport, for the tests of users and our own.

Always holds: it keeps every request in the order of arrival, and answers by a script that a test
can read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable

import anyio
import anyio.lowlevel

from sendoff.events import Request, Response

__all__ = ["MemoryTransport"]

Answer = Callable[[Request], Response | Awaitable[Response]]
"""Answers a request; may be a coroutine function, may raise `TransportError`."""


class MemoryTransport:
    """
    Answers without a network.

    Args:
        answer: What to answer; by default 202 to everything.

    Attributes:
        answer: As above; may be changed at any time.
        requests: What came, in the order of arrival.
        opened: How often it was opened.
        closed: How often it was closed.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda _: Response(202, body=b"{}"))
        # All mutable state.
        self.requests: list[Request] = []
        self.opened: int = 0
        self.closed: int = 0

    async def open(self) -> None:
        """
        Counts that it was opened.
        """
        self.opened += 1

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        Keeps the request and answers by the script.
        """
        sent()
        self.requests.append(request)
        await anyio.lowlevel.checkpoint()  # a real one always lets the loop turn
        response = self.answer(request)
        if isawaitable(response):
            return await response
        return response

    async def aclose(self) -> None:
        """
        Counts that it was closed.
        """
        self.closed += 1
