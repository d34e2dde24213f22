"""
Django, by ASGI and by WSGI: an application around Django's, and a middleware that binds.

Always holds: `install` returns what the server is to call. Under ASGI it starts and closes the
dispatcher by the server's lifespan, of which Django itself knows nothing; under WSGI there is
nothing to start or to stop, as the dispatcher's thread begins with the first event of each worker
process and the end of the process flushes. The middleware stands in `MIDDLEWARE` where the app
knows who asks, and works for sync and async views alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import FileResponse, HttpRequest
from django.utils.module_loading import import_string

from sendoff.context import Binding
from sendoff.dispatcher import Dispatcher
from sendoff.errors import OptionError
from sendoff.integrations._shared import (
    KEY,
    NO_DISPATCHER,
    Context,
    Requests,
    check_blocking,
    check_installable,
)

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

__all__ = ["BindMiddleware", "dispatcher_of", "install"]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REQUESTS: Final = "sendoff.requests"
"""
The key beside `KEY`, under which the middleware finds what to bind.
"""

MIDDLEWARE: Final = "sendoff.integrations.django.BindMiddleware"
"""
What `MIDDLEWARE` must have for anything to be bound.
"""


class _Installed:
    """
    An application with a dispatcher.
    """

    def __init__(self, app: Any, dispatcher: Dispatcher, requests: Requests[HttpRequest]) -> None:
        self.app = app
        self.dispatcher = dispatcher
        self.requests = requests


class _Process:
    """
    What a request has that came by none of our applications, as those of Django's test client do.
    """

    # All mutable state: what was installed last. Django's settings are the process's, too.
    last: _Installed | None = None


def install(
    app: Any,
    dispatcher: Dispatcher,
    *,
    context: Context[HttpRequest] | None = None,
    client_address: bool = False,
) -> Any:
    """
    Gives an application its dispatcher, in `asgi.py` or `wsgi.py`.

    Args:
        app: What `get_asgi_application` or `get_wsgi_application` returned, or what stands around
            it.
        dispatcher: What sends; for WSGI with ``blocking=True``.
        context: Keywords of `sendoff.bind` for a request, or None. It runs where `BindMiddleware`
            stands, in a thread where requests are served by the loop, so it may ask the database.
        client_address: Whether to bind ``REMOTE_ADDR``. Behind a proxy that is the proxy's, unless
            the server is told to trust it.

    Returns:
        The application for the server to call.

    Raises:
        OptionError: Under WSGI the dispatcher is not `blocking`; `context` is no plain function;
            something is to be bound, and `BindMiddleware` is not in `MIDDLEWARE`.
        RuntimeError: The application has a dispatcher already.
    """
    requests = Requests(context, client_address=client_address)
    check_installable(dispatcher, installed=isinstance(app, _Installed))
    if requests.binds and not any(_binds(path) for path in settings.MIDDLEWARE):
        raise OptionError(
            f"context and client_address need {MIDDLEWARE!r} in MIDDLEWARE, after authentication"
        )
    # Servers look at the method, and so does this: an instance is no coroutine function.
    if iscoroutinefunction(app) or iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        installed: _Installed = _Asgi(app, dispatcher, requests)
    else:
        check_blocking(dispatcher, "Django under WSGI")
        installed = _Wsgi(app, dispatcher, requests)
    _Process.last = installed
    return installed


def dispatcher_of(app_or_request: Any) -> Dispatcher:
    """
    The dispatcher of an application that `install` returned, or of a request.

    Raises:
        LookupError: There is none.
    """
    if isinstance(app_or_request, HttpRequest):
        last = _Process.last
        found: Dispatcher | None = _origin(app_or_request).get(KEY, last and last.dispatcher)
    else:
        found = getattr(app_or_request, "dispatcher", None)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found


class _Wsgi(_Installed):
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[KEY], environ[REQUESTS] = self.dispatcher, self.requests
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


class _Asgi(_Installed):
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            own = {**scope, KEY: self.dispatcher, REQUESTS: self.requests}
            await self.app(own, receive, send)

    async def _live(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """
        Starts and closes with the server; around the lifespan of the application's own, if it has
        one.
        """
        stage = ""  # of what the application has said

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                nonlocal stage
                stage = stage or "heard"
                await self.dispatcher.start()
            return message

        async def told(message: Message) -> None:
            nonlocal stage
            stage = message["type"]
            if stage.startswith("lifespan.shutdown") or stage == "lifespan.startup.failed":
                await self.dispatcher.aclose()
            await send(message)

        try:
            await self.app(scope, heard, told)
        except Exception:
            # As Django's own does at once, and the specification wants of who knows no lifespan.
            if stage not in ("", "heard"):
                raise
        else:
            return
        if not stage:
            await heard()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.dispatcher.aclose()
        await send({"type": "lifespan.shutdown.complete"})


class BindMiddleware:
    """
    Binds for each request what `install` was told to.

    It stands in `MIDDLEWARE` after what `context` needs, such as authentication; what stands above
    it, and what is given there, is not bound. Content that is streamed is bound as well.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._in_loop = iscoroutinefunction(get_response)
        if self._in_loop:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """
        The answer, or what is awaited for it.
        """
        last = _Process.last
        requests = _origin(request).get(REQUESTS, last and last.requests)
        if requests is None or not requests.binds:
            return self._get_response(request)
        address = request.META.get("REMOTE_ADDR")
        if self._in_loop:
            return self._answer(requests, request, address)
        again = requests.prepare(request, address)
        with again():
            return _bound(self._get_response(request), again)

    async def _answer(
        self, requests: Requests[HttpRequest], request: HttpRequest, address: str | None
    ) -> HttpResponseBase:
        if requests.asks:
            # In the thread in which Django's other sync code runs: a lazy user asks the database.
            again = await sync_to_async(requests.prepare)(request, address)
        else:
            again = requests.prepare(request, address)
        with again():
            return _bound(await self._get_response(request), again)


def _bound(response: Any, again: Callable[[], Binding]) -> Any:
    """
    An answer whose parts are made when the middleware has gone: each is made within the binding.
    """
    # A file is none of the app's code, and servers send it better when it is left alone.
    if response.streaming and not isinstance(response, FileResponse):
        content = response.streaming_content
        if response.is_async:
            response.streaming_content = _parts_in_loop(content, again)
        else:
            response.streaming_content = _parts(content)
    return response


def _parts(content: Iterator[bytes]) -> Iterator[bytes]:
    # A context of its own, and not a binding that somebody may never come to undo: the server's
    # thread serves the next request, too. The copy is made here, while the request is bound.
    context = copy_context()
    end = object()

    def parts() -> Iterator[bytes]:
        while (part := context.run(next, content, end)) is not end:
            yield part  # type: ignore[misc]

    return parts()


async def _parts_in_loop(
    content: AsyncIterator[bytes], again: Callable[[], Binding]
) -> AsyncIterator[bytes]:
    while True:
        with again():
            try:
                part = await anext(content)
            except StopAsyncIteration:
                return
        yield part


def _origin(request: HttpRequest) -> Mapping[str, Any]:
    """
    What the server gave for a request: the scope, or the environ.
    """
    origin: Mapping[str, Any] = getattr(request, "scope", None) or request.META
    return origin


def _binds(path: str) -> bool:
    found = import_string(path)
    return isinstance(found, type) and issubclass(found, BindMiddleware)
