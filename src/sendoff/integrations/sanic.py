"""
Sanic, by its own server and by ASGI: a dispatcher in each worker, and what a request binds.

Always holds: in each worker process the dispatcher opens before the app's own listeners and closes
after them; nothing that was bound for one request of a connection is seen by the next one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from sanic import Sanic
from sanic.request import Request

from sendoff import Binding, Dispatcher
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["dispatcher_of", "install"]

_OUTERMOST: Final = 1_000_000
"""
The priority of listeners that start first and stop last, and of a middleware that runs first;
Sanic's own is 0.
"""

_INNERMOST: Final = -_OUTERMOST
"""
The priority of a request middleware that runs last.
"""

_binding: Final[ContextVar[Binding | None]] = ContextVar("sendoff.sanic", default=None)


def install(
    app: Sanic[Any, Any],
    dispatcher: Dispatcher,
    *,
    context: Context[Request[Any, Any]] | None = None,
    client_address: bool = False,
) -> None:
    """
    Opens the dispatcher in each worker, closes it there, and binds for each request.

    Args:
        app: The app, where it is made, so that each worker installs it for itself.
        dispatcher: The dispatcher.
        context: Called with each request; returns keywords of `bind`, or None for nothing. It runs
            after the app's other request middleware.
        client_address: Whether to bind the client's address: the request's `client_ip`, in which
            Sanic's settings for proxies count.

    Raises:
        OptionError: An option is wrong.
        RuntimeError: The app has a dispatcher, or has started.
    """
    requests = Requests(context, client_address=client_address)
    check_installable(dispatcher, installed=hasattr(app.ctx, KEY), started=app.state.is_started)
    setattr(app.ctx, KEY, dispatcher)

    async def start(_: Sanic[Any, Any]) -> None:
        await dispatcher.start()

    async def close(_: Sanic[Any, Any]) -> None:
        await dispatcher.aclose()

    app.register_listener(start, "before_server_start", priority=_OUTERMOST)
    app.register_listener(close, "after_server_stop", priority=_OUTERMOST)
    if requests.binds:
        # One task serves all requests of a connection, and nothing that Sanic calls at the end of
        # one comes after a streamed answer. So each ends the one before it, before all else. Not
        # by a signal: those are compiled away by what the process's first app has no use for.
        def end(request: Request[Any, Any]) -> None:
            if (binding := _binding.get()) is not None:
                _binding.set(None)
                binding.undo()

        def begin(request: Request[Any, Any]) -> None:
            # An address of the sixth version comes in brackets if a proxy's header says it.
            address = request.client_ip.strip("[]") if client_address else None
            _binding.set(requests.bind(request, address))

        app.register_middleware(end, "request", priority=_OUTERMOST)
        app.register_middleware(begin, "request", priority=_INNERMOST)


def dispatcher_of(app_or_request: Sanic[Any, Any] | Request[Any, Any]) -> Dispatcher:
    """
    The dispatcher that was installed.

    Args:
        app_or_request: The app, or a request of it.

    Raises:
        LookupError: None was.
    """
    app = app_or_request if isinstance(app_or_request, Sanic) else app_or_request.app
    found: Dispatcher | None = getattr(app.ctx, KEY, None)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found
