"""
What a transport is: the only kind of object that speaks HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sendoff.events import Request, Response

__all__ = ["Transport", "lane_of"]


class Transport(Protocol):
    """
    Sends one request and brings back one answer. It has no deadline of its own: the lane cancels
    `send`.
    """

    async def open(self) -> None:
        """
        Makes ready for `send`, in the running loop. Cancelling it leaves the transport closed.
        """

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One POST. Redirects are not followed, nothing is retried, at most 64 KiB of the answer is
        kept.

        Cancelling it closes the connection; the vendor may have the request.

        Args:
            request: What to send, and through what: `Request.ssl`, `Request.proxy`.
            sent: To be called when the request's body begins to be written, for the throttle's
                exactness. A time-out before that counts as not sent.

        Raises:
            TransportError: There is no answer.
        """

    async def aclose(self) -> None:
        """
        Closes every connection. Cancelling it leaves some to the garbage collector.
        """


def lane_of(transport: Transport, request: Request) -> str:
    """
    What users are shown as the way a request goes: what the transport says of it by a method of
    this name, otherwise the transport's class.
    """
    own = getattr(transport, "lane_of", None)
    return type(transport).__name__ if own is None else str(own(request))
