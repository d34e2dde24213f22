"""
Litestar, whose apps take middleware only while they are made: the same by its configuration.

Always holds: the dispatcher opens before the app's own lifespans and hooks, and closes after those
that were there when it was installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPlugin

from sendoff import Dispatcher
from sendoff.integrations._asgi import BindingMiddleware
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["SendoffPlugin", "dispatcher_of", "install"]

Connection = ASGIConnection[Any, Any, Any, Any]


def install(
    app: AppConfig,
    dispatcher: Dispatcher,
    *,
    context: Context[Connection] | None = None,
    client_address: bool = False,
) -> AppConfig:
    """
    Opens the dispatcher with the app, closes it with the app, and binds for each request.

    `SendoffPlugin` calls it at the right moment. Without the plugin it is one of the app's
    `on_app_init`.

    Args:
        app: The app's configuration; a `Litestar` that is made takes no more middleware.
        dispatcher: The dispatcher.
        context: Called with each request or websocket, as an `ASGIConnection`; returns keywords of
            `bind`, or None for nothing. It runs behind the app's middleware that is there now, so
            that what a session or an authentication has found is there.
        client_address: Whether to bind the client's address, as the server says it.

    Returns:
        The configuration, as `on_app_init` wants it.

    Raises:
        OptionError: An option is wrong.
        RuntimeError: The app has a dispatcher.
        TypeError: The app is made already.
    """
    requests = Requests(context, client_address=client_address)
    if not isinstance(app, AppConfig):
        raise TypeError("this Litestar app is made already: give it plugins=[SendoffPlugin(...)]")
    check_installable(dispatcher, installed=KEY in app.state)
    app.state[KEY] = dispatcher
    if requests.binds:
        app.middleware.append(
            DefineMiddleware(BindingMiddleware, requests=requests, request_of=ASGIConnection)
        )

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await dispatcher.start()
        yield

    async def close() -> None:
        await dispatcher.aclose()

    # Lifespans end before the hooks of the shutdown run, so the end of ours would be too early.
    app.lifespan.insert(0, lifespan)
    app.on_shutdown.append(close)
    return app


class SendoffPlugin(InitPlugin):
    """
    Installs a dispatcher while the app is made: ``Litestar(..., plugins=[SendoffPlugin(...)])``.

    The last one in the list of plugins runs behind the others' middleware.

    Args:
        dispatcher: The dispatcher.
        context: As `install` takes it.
        client_address: As `install` takes it.

    Raises:
        OptionError: An option is wrong; raised when the app is made.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        context: Context[Connection] | None = None,
        client_address: bool = False,
    ) -> None:
        self._dispatcher = dispatcher
        self._context = context
        self._client_address = client_address

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """
        Called by Litestar.
        """
        return install(
            app_config,
            self._dispatcher,
            context=self._context,
            client_address=self._client_address,
        )


def dispatcher_of(app_or_request: Litestar | Connection) -> Dispatcher:
    """
    The dispatcher that was installed.

    Args:
        app_or_request: The app, or a request or websocket of it.

    Raises:
        LookupError: None was.
    """
    app = app_or_request if isinstance(app_or_request, Litestar) else app_or_request.app
    found: Dispatcher | None = app.state.get(KEY)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found
