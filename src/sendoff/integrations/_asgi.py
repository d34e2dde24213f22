"""
Binding for the frameworks whose middleware is plain ASGI: around everything that is done for one
request or one websocket.

Always holds: what is bound is undone in the task that bound it, after the last byte of the answer
and the background tasks that the answer brings along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sendoff.integrations._shared import Requests

__all__ = ["BindingMiddleware", "address_of"]

App = Callable[[Any, Any, Any], Awaitable[None]]
"""
Any ASGI app; each framework has types of its own for the three.
"""


class BindingMiddleware:
    """
    Binds for the time that the app behind it serves a request or a websocket.

    Args:
        app: The ASGI app behind.
        requests: What binds.
        request_of: Makes of a scope what the app's `context` is given.
    """

    def __init__(
        self,
        app: App,
        requests: Requests[Any],
        request_of: Callable[[Any], Any],
    ) -> None:
        self._app = app
        self._requests = requests
        self._request_of = request_of

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """
        Serves one connection.
        """
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        with self._requests.bind(self._request_of(scope), address_of(scope)):
            await self._app(scope, receive, send)


def address_of(scope: Any) -> str | None:
    """
    The client's address as the server says; None where it knows none.
    """
    client = scope.get("client")
    return client[0] if client else None
