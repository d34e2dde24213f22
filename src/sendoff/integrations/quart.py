"""
Quart: a dispatcher that opens and closes with the app, and what a request binds.

Always holds: the dispatcher opens before the app's own start-up functions and closes after those of
its shutdown; what is bound for a request holds until its answer is sent.
"""

from __future__ import annotations

from quart import Quart, Request, Websocket, current_app, request, websocket

from sendoff import Dispatcher
from sendoff.integrations._asgi import address_of
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["dispatcher_of", "install"]


def install(
    app: Quart,
    dispatcher: Dispatcher,
    *,
    context: Context[Request | Websocket] | None = None,
    client_address: bool = False,
) -> None:
    """
    Opens the dispatcher with the app, closes it with the app, and binds for each request.

    Args:
        app: The app, before it serves.
        dispatcher: The dispatcher.
        context: Called with each request or websocket, where ``session`` and ``g`` are there, too;
            returns keywords of `bind`, or None for nothing. It runs after the functions that the
            app has for `before_request` now.
        client_address: Whether to bind the client's address, as the server says it.

    Raises:
        OptionError: An option is wrong.
        RuntimeError: The app has a dispatcher, or has started.
    """
    requests = Requests(context, client_address=client_address)
    # Quart makes the event when it starts, and has no other word for having started.
    check_installable(
        dispatcher, installed=KEY in app.extensions, started=hasattr(app, "shutdown_event")
    )
    app.extensions[KEY] = dispatcher
    if requests.binds:
        # Coroutines, because Quart runs plain functions in a thread, whose binding nobody sees. Not
        # undone: a streamed answer is sent after the request's context is gone, in the same task.
        # Quart makes a task for each request, and the binding ends with it.

        @app.before_request
        async def bind_request() -> None:
            requests.bind(request, address_of(request.scope))

        @app.before_websocket
        async def bind_websocket() -> None:
            requests.bind(websocket, address_of(websocket.scope))

    async def start() -> None:
        await dispatcher.start()
        # Only now it is known what else ends with the app, and this comes last.
        app.after_serving_funcs.remove(close)
        app.after_serving_funcs.append(close)

    async def close() -> None:
        await dispatcher.aclose()

    app.before_serving_funcs.insert(0, start)
    app.after_serving_funcs.append(close)


def dispatcher_of(app_or_request: Quart | Request | Websocket) -> Dispatcher:
    """
    The dispatcher that was installed.

    Args:
        app_or_request: The app, or the request or websocket that is being served.

    Raises:
        LookupError: None was.
    """
    app = app_or_request if isinstance(app_or_request, Quart) else current_app
    found: Dispatcher | None = app.extensions.get(KEY)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found
