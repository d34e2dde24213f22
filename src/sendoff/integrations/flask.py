"""
Flask: the dispatcher in `app.extensions`, and what a request binds, by hooks before and after it.

Always holds: nothing is sent by the request itself. The dispatcher's thread begins with the first
event of each worker process, and the end of the process flushes, so there is nothing to start or
to stop here.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, appcontext_pushed, current_app, g, request

from sendoff.dispatcher import Dispatcher
from sendoff.integrations._shared import (
    KEY,
    NO_DISPATCHER,
    Context,
    Requests,
    check_blocking,
    check_installable,
)

__all__ = ["dispatcher_of", "install"]


def install(
    app: Flask,
    dispatcher: Dispatcher,
    *,
    context: Context[Request] | None = None,
    client_address: bool = False,
) -> None:
    """
    Gives an app its dispatcher, and binds for each request what `context` says of it.

    The binding is undone when the request's context goes: after the answer, and with
    `stream_with_context` after its last part.

    Args:
        app: The app, before its first request.
        dispatcher: What sends; with ``blocking=True``.
        context: Keywords of `sendoff.bind` for a request, or None. Hooks run in the order in which
            they were registered, so call `install` after those that find out who asks.
        client_address: Whether to bind `Request.remote_addr`. Behind a proxy that is the proxy's,
            unless Werkzeug's `ProxyFix` is told to trust it.

    Raises:
        OptionError: The dispatcher is not `blocking`, or `context` is no plain function.
        RuntimeError: The app has a dispatcher already.
    """
    check_blocking(dispatcher, "Flask")
    requests = Requests(context, client_address=client_address)
    check_installable(dispatcher, installed=KEY in app.extensions)
    if requests.binds:
        _bind(app, requests)
    app.extensions[KEY] = dispatcher


def _bind(app: Flask, requests: Requests[Request]) -> None:
    """
    Binds at the beginning of each request, and whenever its context comes back to make a part of
    what is streamed; undoes it when the context goes.
    """

    def before() -> None:
        # The request itself and not its proxy, which means another one elsewhere.
        own = request._get_current_object()  # type: ignore[attr-defined]
        again = requests.prepare(own, own.remote_addr)
        setattr(g, KEY, (again, [again()]))

    def pushed(sender: Flask, **_: Any) -> None:
        again, bindings = g.get(KEY, (None, None))
        if again is not None:
            bindings.append(again())

    def teardown(error: BaseException | None) -> None:
        # A hook that answered before ours leaves nothing to undo.
        _, bindings = g.get(KEY, (None, None))
        while bindings:
            bindings.pop().undo()

    app.before_request(before)
    app.teardown_request(teardown)
    appcontext_pushed.connect(pushed, app, weak=False)


def dispatcher_of(app: Flask | None = None) -> Dispatcher:
    """
    The dispatcher of an app.

    Args:
        app: The app; None for the one that serves the current request.

    Raises:
        LookupError: It has none.
    """
    found: Dispatcher | None = (current_app if app is None else app).extensions.get(KEY)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found
