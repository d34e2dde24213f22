"""
Starlette, and what is built on it: a dispatcher around the lifespan, and what a request binds.

Always holds: the dispatcher opens before the app's own lifespan and closes after it; what is bound
for a request also holds for its streamed answer, its background tasks and its sync handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection

from sendoff import Dispatcher
from sendoff.integrations._asgi import BindingMiddleware
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["dispatcher_of", "install"]


def install(
    app: Starlette,
    dispatcher: Dispatcher,
    *,
    context: Context[HTTPConnection] | None = None,
    client_address: bool = False,
) -> None:
    """
    Opens the dispatcher with the app, closes it with the app, and binds for each request.

    Of an app with others mounted in it, install in the outer one: only its lifespan runs.

    Args:
        app: The app, before it serves.
        dispatcher: The dispatcher.
        context: Called with each request or websocket, as an `HTTPConnection`; returns keywords of
            `bind`, or None for nothing. It runs behind all the app's middleware, so that what a
            session or an authentication has found is there; the path's parameters are not.
        client_address: Whether to bind the client's address, as the server says it.

    Raises:
        OptionError: An option is wrong.
        RuntimeError: The app has a dispatcher, or has started.
    """
    requests = Requests(context, client_address=client_address)
    check_installable(
        dispatcher, installed=_held(app.state) is not None, started=app.middleware_stack is not None
    )
    # In the router as well: within a mounted app it is the one thing of the outer app's that the
    # scope still has.
    setattr(app.state, KEY, dispatcher)
    setattr(app.router, KEY, dispatcher)
    if requests.binds:
        # Appended, not added: `add_middleware` puts each before those that are there, so that this
        # one stays the last.
        app.user_middleware.append(
            Middleware(BindingMiddleware, requests=requests, request_of=HTTPConnection)
        )
    own = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with dispatcher, own(app) as state:
            yield state

    app.router.lifespan_context = lifespan


def dispatcher_of(app_or_request: Starlette | HTTPConnection) -> Dispatcher:
    """
    The dispatcher that was installed.

    Args:
        app_or_request: The app, or a request or websocket of it or of an app that is mounted in it.

    Raises:
        LookupError: None was.
    """
    if isinstance(app_or_request, HTTPConnection):
        scope = app_or_request.scope
        holders = [getattr(scope.get("app"), "state", None), scope.get("router")]
    else:
        holders = [app_or_request.state]
    for holder in holders:
        if (found := _held(holder)) is not None:
            return found
    raise LookupError(NO_DISPATCHER)


def _held(holder: object) -> Dispatcher | None:
    found: Dispatcher | None = getattr(holder, KEY, None)
    return found
