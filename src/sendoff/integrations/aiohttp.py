"""
aiohttp.web: a dispatcher that opens and closes with the app, and what a request binds.

Always holds: the dispatcher opens before the app's own start-up code and closes after its clean-up
code; what is bound for a request holds until its answer is written.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from sendoff import Dispatcher
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["dispatcher_of", "install"]

_KEY: Final = web.AppKey(KEY, Dispatcher)


def install(
    app: web.Application,
    dispatcher: Dispatcher,
    *,
    context: Context[web.Request] | None = None,
    client_address: bool = False,
) -> None:
    """
    Opens the dispatcher with the app, closes it with the app, and binds for each request.

    Of an app with others in it, install in the outer one.

    Args:
        app: The app, before it starts.
        dispatcher: The dispatcher.
        context: Called with each request; returns keywords of `bind`, or None for nothing. It runs
            behind the middlewares that the app has now, so that what they have found is there.
        client_address: Whether to bind the client's address: the request's `remote`.

    Raises:
        OptionError: An option is wrong.
        RuntimeError: The app has a dispatcher, has started, or is part of another app.
    """
    requests = Requests(context, client_address=client_address)
    check_installable(dispatcher, installed=_KEY in app, started=app.pre_frozen)
    app[_KEY] = dispatcher
    if requests.binds:

        @web.middleware
        async def binding(request: web.Request, handler: Handler) -> web.StreamResponse:
            # Not undone here: a streamed body is written after the handler has returned, in the
            # same task. aiohttp makes a task for each request, and the binding ends with it.
            requests.bind(request, request.remote)
            return await handler(request)

        app.middlewares.append(binding)

    async def start(app: web.Application) -> None:
        await dispatcher.start()
        # Only now it is known what else will clean up, and this comes last. An app that has become
        # part of another one can no longer be changed.
        if not app.on_cleanup.frozen:
            app.on_cleanup.remove(close)
            app.on_cleanup.append(close)

    async def close(_: web.Application) -> None:
        await dispatcher.aclose()

    app.on_startup.insert(0, start)
    app.on_cleanup.append(close)


def dispatcher_of(app_or_request: web.Application | web.Request) -> Dispatcher:
    """
    The dispatcher that was installed.

    Args:
        app_or_request: The app, or a request of it or of an app that is part of it.

    Raises:
        LookupError: None was.
    """
    holder = (
        app_or_request.config_dict if isinstance(app_or_request, web.Request) else app_or_request
    )
    found: Dispatcher | None = holder.get(_KEY)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found
