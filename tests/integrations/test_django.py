"""
Django: what a request binds in sync and async views, by ASGI and by WSGI, and the life of the
dispatcher under a server.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils.asyncio import async_unsafe
from django.utils.functional import SimpleLazyObject

from integrations.live_sync import Memory, in_memory
from sendoff import Dispatcher, Freshpaint, OptionError
from sendoff.integrations import django as integration
from sendoff.integrations.django import dispatcher_of, install

BIND = "sendoff.integrations.django.BindMiddleware"

memory = pytest.fixture(in_memory)


class Given:
    """
    The dispatcher of the test that runs.
    """

    dispatcher: Dispatcher


def track(name: str) -> None:
    Given.dispatcher.track(name, device_id="d")


def login(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """
    As Django's own authentication: a lazy user, from a database that a loop must not ask.
    """

    def middleware(request: HttpRequest) -> Any:
        request.user = SimpleLazyObject(async_unsafe(lambda: request.GET.get("user", "")))
        return get_response(request)

    return middleware


def sync_only(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    return get_response


def view(request: HttpRequest) -> HttpResponse:
    track("sync")
    return HttpResponse(str(dispatcher_of(request) is Given.dispatcher))


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    track("async")
    return HttpResponse()


def parts(request: HttpRequest) -> StreamingHttpResponse:
    def content() -> Iterator[bytes]:
        for part in "ab":
            track(part)
            yield part.encode()

    return StreamingHttpResponse(content())


async def async_parts(request: HttpRequest) -> StreamingHttpResponse:
    async def content() -> AsyncIterator[bytes]:
        for part in "cd":
            await asyncio.sleep(0)
            track(part)
            yield part.encode()

    return StreamingHttpResponse(content())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(b"content"))


def boom(request: HttpRequest) -> HttpResponse:
    track("boom")
    raise ZeroDivisionError


if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        ROOT_URLCONF=(
            path("", view),
            path("async", async_view),
            path("parts", parts),
            path("async-parts", async_parts),
            path("file", file),
            path("boom", boom),
        ),
        USE_TZ=True,
    )
    django.setup()


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration._Process, "last", None)


def installed(
    memory: Memory, kind: str, *middleware: Any, **options: Any
) -> Callable[[str], tuple[int, bytes]]:
    """
    An application with the middleware, and a function that asks it.
    """
    Given.dispatcher = memory.dispatcher
    names = [f"{__name__}.{one.__name__}" if callable(one) else one for one in middleware]
    with override_settings(MIDDLEWARE=names):
        make = get_asgi_application if kind == "asgi" else get_wsgi_application
        app = install(make(), memory.dispatcher, **options)
    if kind == "asgi":
        return lambda target: asyncio.run(ask_asgi(app, target))
    return lambda target: ask_wsgi(app, target)


async def ask_asgi(app: Any, target: str) -> tuple[int, bytes]:
    where, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": where,
        "query_string": query.encode(),
        "headers": [],
        "client": ("192.0.2.9", 1),
        "server": ("testserver", 80),
    }
    said: list[dict[str, Any]] = []
    heard = [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        if heard:
            return heard.pop()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    # What is still bound in this task would be in its next request, if it had one.
    track("after")
    return said[0]["status"], b"".join(message.get("body", b"") for message in said)


def ask_wsgi(app: Any, target: str) -> tuple[int, bytes]:
    where, _, query = target.partition("?")
    statuses: list[int] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": where,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "192.0.2.9",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
    }
    answer = app(environ, lambda status, headers, *rest: statuses.append(int(status[:3])))
    track("after")  # in the server's thread, before it has asked for the content
    body = b"".join(answer)
    answer.close()
    return statuses[0], body


def who(request: HttpRequest) -> dict[str, str] | None:
    return {"user_id": str(request.user)} if request.user else None


STACKS = {
    "wsgi": ("wsgi", (login, BIND)),
    "asgi": ("asgi", (login, BIND)),
    "asgi over sync middleware": ("asgi", (login, BIND, sync_only)),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_what_a_request_binds_is_in_its_events_and_no_others(memory: Memory, stack: str) -> None:
    """In sync and async views and streamed parts, by either protocol; never outside."""
    kind, middleware = STACKS[stack]
    ask = installed(memory, kind, *middleware, context=who)
    assert ask("/?user=u-1") == (200, b"True")
    assert ask("/") == (200, b"True")
    for target in ("/async?user=u-2", "/parts?user=u-3", "/async-parts?user=u-4"):
        assert ask(target)[0] == 200
    after = {event["distinct_id"] for event in memory.events if event["event"] == "after"}
    assert after == {"d"}
    users = {event["event"]: event["distinct_id"] for event in memory.events[1:]}
    assert users == {
        "sync": "d",
        "async": "u-2",
        "a": "u-3",
        "b": "u-3",
        "c": "u-4",
        "d": "u-4",
        "after": "d",
    }
    assert memory.sent[0] == {"event": "sync", "distinct_id": "u-1", "$device_id": "d"}


@pytest.mark.parametrize("stack", STACKS)
def test_a_view_that_raises_leaves_nothing_bound(memory: Memory, stack: str) -> None:
    """The binding is undone, whatever becomes of the request."""
    kind, middleware = STACKS[stack]
    ask = installed(memory, kind, *middleware, context=who)
    assert ask("/boom?user=u-1")[0] == 500
    users = [(event["event"], event["distinct_id"]) for event in memory.events]
    assert users == [("boom", "u-1"), ("after", "d")]


def test_requests_at_once_do_not_mix(memory: Memory) -> None:
    """Each of many requests in one loop has its own user."""
    Given.dispatcher = memory.dispatcher
    with override_settings(MIDDLEWARE=[f"{__name__}.login", BIND]):
        app = install(get_asgi_application(), memory.dispatcher, context=who)

    async def main() -> None:
        targets = [f"/{'async' * (n % 2)}?user=u-{n}" for n in range(40)]
        await asyncio.gather(*(ask_asgi(app, target) for target in targets))

    asyncio.run(main())
    users = [event["distinct_id"] for event in memory.events if event["event"] != "after"]
    assert sorted(users) == sorted(f"u-{n}" for n in range(40))


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize("client_address", [False, True])
def test_the_address_is_bound_only_if_asked_for(
    memory: Memory, kind: str, client_address: bool
) -> None:
    """Django's word on the client's address goes along if it is asked for."""
    ask = installed(memory, kind, BIND, client_address=client_address)
    ask("/")
    assert memory.events[0].get("$ip") == ("192.0.2.9" if client_address else None)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_context_that_raises_costs_no_request(
    memory: Memory, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What `context` raises is said once, and the request is served unbound."""
    ask = installed(memory, kind, BIND, context=lambda request: {"user_id": request.nobody})
    with caplog.at_level(logging.WARNING, "sendoff"):
        assert [ask("/")[0] for _ in range(2)] == [200, 200]
    assert {event["distinct_id"] for event in memory.events} == {"d"}
    assert caplog.messages == ["the context of requests is not bound: AttributeError (told once)"]


def test_a_file_is_left_alone(memory: Memory) -> None:
    """A server can still send a file by its own means."""
    Given.dispatcher = memory.dispatcher
    with override_settings(MIDDLEWARE=[BIND]):
        app = install(get_wsgi_application(), memory.dispatcher, client_address=True)
    seen: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/file",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
        "wsgi.file_wrapper": lambda file, size: seen.append(file) or iter(()),
    }
    app(environ, lambda *_: None)
    assert len(seen) == 1


def test_djangos_test_client_binds_too(memory: Memory) -> None:
    """It goes past the application that was installed, and has what was installed last."""
    installed(memory, "wsgi", login, BIND, context=who)
    with override_settings(MIDDLEWARE=[f"{__name__}.login", BIND]):
        assert Client().get("/?user=u-1").content == b"True"
    assert memory.events[0]["distinct_id"] == "u-1"


def test_without_an_installation_the_middleware_does_nothing(memory: Memory) -> None:
    """A request is served; its dispatcher is not found."""
    Given.dispatcher = memory.dispatcher
    with override_settings(MIDDLEWARE=[BIND]), pytest.raises(LookupError, match="no dispatcher"):
        Client().get("/")
    assert [event["event"] for event in memory.events] == ["sync"]


def test_the_servers_lifespan_starts_and_closes() -> None:
    """Django knows no lifespan: ours answers the server, and has sent all when it says so."""
    memory = Memory()
    with override_settings(MIDDLEWARE=[]):
        app = install(get_asgi_application(), memory.dispatcher)
    assert lifespan(app, memory) == [
        "opened 1",
        "lifespan.startup.complete",
        "sent 1",
        "lifespan.shutdown.complete",
    ]


def test_an_applications_own_lifespan_lies_within_ours() -> None:
    """What stands around Django hears of start and stop, and what it gives then still goes."""
    memory = Memory()
    seen: list[str] = []

    async def own(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for word in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{word}"
            seen.append(word)
            memory.dispatcher.track(word, device_id="d")
            await send({"type": f"lifespan.{word}.complete"})

    app = install(own, memory.dispatcher)
    assert lifespan(app, memory)[2:] == ["sent 3", "lifespan.shutdown.complete"]
    assert seen == ["startup", "shutdown"]


def test_what_an_application_raises_after_its_start_is_the_servers() -> None:
    """Only one that never began is taken for one that knows no lifespan."""
    memory = Memory()

    async def own(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ZeroDivisionError

    app = install(own, memory.dispatcher)
    with pytest.raises(ZeroDivisionError):
        lifespan(app, memory)
    memory.dispatcher.close()


def lifespan(app: Any, memory: Memory) -> list[str]:
    """
    What a server sees: its app's words, and what the vendor has when they are said.
    """
    log: list[str] = []

    async def main() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def receive() -> dict[str, Any]:
            return {"type": await heard.get()}

        async def send(message: dict[str, Any]) -> None:
            opened = f"opened {memory.transport.opened}"
            log.append(opened if message["type"].endswith("startup.complete") else "")
            log[-1] = log[-1] or f"sent {len(memory.sent)}"
            log.append(message["type"])
            if message["type"] == "lifespan.startup.complete":
                memory.dispatcher.track("x", device_id="d")
                heard.put_nowait("lifespan.shutdown")

        heard.put_nowait("lifespan.startup")
        await app({"type": "lifespan"}, receive, send)

    asyncio.run(main())
    return log


def test_what_cannot_work_is_refused(memory: Memory) -> None:
    """A dispatcher that needs a loop, a middleware that is missing, a second dispatcher."""
    with override_settings(MIDDLEWARE=[f"{__name__}.login"]):
        wsgi, asgi = get_wsgi_application(), get_asgi_application()
        with pytest.raises(OptionError, match="blocking must be True for Django under WSGI"):
            install(wsgi, Dispatcher(Freshpaint(token="t")))
        with pytest.raises(OptionError, match=f"need '{BIND}' in MIDDLEWARE"):
            install(wsgi, memory.dispatcher, context=who)

        async def context(request: HttpRequest) -> None: ...

        with pytest.raises(OptionError, match="context must be a plain function"):
            install(asgi, memory.dispatcher, context=context)  # type: ignore[arg-type]
        app = install(asgi, Dispatcher(Freshpaint(token="t")))
        with pytest.raises(RuntimeError, match="installed here already"):
            install(app, memory.dispatcher)
        with pytest.raises(LookupError, match="no dispatcher here"):
            dispatcher_of(asgi)
