"""
The real transport: two lanes, one fast and one for everything else.

Importing this module loads aiohttp, which takes 0.4 s; a dispatcher does that when it starts.
Always holds, on both lanes: no redirect is followed, no cookie kept, no deadline set here but the
one for the rest of an answer whose status is already known, and the environment's proxies are not
read. A request is perhaps sent from the first byte of its body that is written; whatever fails
before that is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal

from sendoff.events import Request, Response
from sendoff.transports.fast import FastLane
from sendoff.transports.session import SessionLane

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpTransport"]


class HttpTransport:
    """
    Sends by the fast lane what that one knows, and by an aiohttp ClientSession what it does not:
    whatever goes through a proxy, through a session of yours, or to a URL or with headers of an
    unusual form.

    Args:
        session: A session that is used as it is, with its connector, headers and cookies, and never
            closed here. It must belong to the loop in which the dispatcher runs. None makes one.

    Raises:
        OptionError: The session is something else.
    """

    def __init__(self, *, session: aiohttp.ClientSession | None = None) -> None:
        self._has_given = session is not None
        self._session = SessionLane(session)
        self._pid = os.getpid()
        # All mutable state.
        self._fast: FastLane | None = None
        self._parents: list[FastLane] = []  # a forked child must not finalize their connections

    async def open(self) -> None:
        """
        Makes both lanes ready.
        """
        is_child = self._pid != os.getpid()
        self._pid = os.getpid()
        if is_child and self._fast is not None:
            self._parents.append(self._fast)
        self._session.open(is_child=is_child)
        if not self._has_given:
            self._fast = FastLane()

    def lane_of(self, request: Request) -> Literal["fast", "session"]:
        """
        Which lane a request goes by.
        """
        if self._has_given or self._fast is None or self._fast.way_of(request) is None:
            return "session"
        return "fast"

    def send(self, request: Request, sent: Callable[[], None]) -> Coroutine[Any, Any, Response]:
        """
        One POST.
        """
        # No coroutine of its own: that would cost every request a microsecond.
        fast = self._fast
        if fast is not None:
            way = fast.way_of(request)
            if way is not None:
                return fast.send(way, request.body, sent)
        return self._session.send(request, sent)

    async def aclose(self) -> None:
        """
        Closes every connection; a session that was given stays open.
        """
        fast, self._fast = self._fast, None
        try:
            if fast is not None:
                await fast.aclose()
        finally:
            await self._session.aclose()
