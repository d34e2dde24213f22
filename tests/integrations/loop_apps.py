"""
The same little app in every framework that runs on a loop, and a way to ask it things in process.

Each app gives events away in all the places where a framework runs an app's code: handlers,
threads, streamed answers, background tasks, websockets, start-up and shutdown.
"""

# No postponed annotations here: FastAPI and Litestar read those of the handlers, whose names are
# local to the functions that make the apps.
import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from sendoff import Dispatcher, Freshpaint, MemoryTransport

Ask = Callable[..., Awaitable[str]]
"""Asks for a path, perhaps as a user, and returns the answer's body; of an error an empty one."""

WEBSOCKET = "/chat"

FRAMEWORK_NAMES = ("starlette", "fastapi", "litestar", "aiohttp", "quart", "sanic")


class Framework(NamedTuple):
    """
    How one framework is used.

    Attributes:
        make: An app with the dispatcher installed; further keywords are those of `install`.
        serving: Starts it, hands out how to ask it, and stops it.
        dispatcher_of: The integration's.
        hooks: How often the app gives an event away while it starts, and while it stops.
    """

    make: Callable[..., Any]
    serving: Callable[[Any], AbstractAsyncContextManager[Ask]]
    dispatcher_of: Callable[[Any], Dispatcher]
    hooks: int = 2


class Vendor:
    """
    A dispatcher to one vendor in memory, and what that vendor got.
    """

    def __init__(self) -> None:
        self._transport = MemoryTransport()
        self.dispatcher = Dispatcher(
            Freshpaint(token="t", rate_limit=None),
            transport=self._transport,
            handle_sigterm=False,
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self._transport.requests]

    def users(self, name: str) -> list[str]:
        """
        Who the events of a name are from, in order.
        """
        return [
            event["properties"]["distinct_id"] for event in self.events if event["event"] == name
        ]

    @property
    def rejected(self) -> int:
        return self.dispatcher.stats().destinations["freshpaint"].rejected


def context(request: Any) -> dict[str, Any] | None:
    """
    What the apps bind: the user that a header names. One header makes it raise.
    """
    user = request.headers.get("x-user")
    if user == "nobody":
        raise RuntimeError("a secret")
    return None if user is None else {"user_id": user, "properties": {"who": user}}


def give(dispatcher: Dispatcher, name: str) -> None:
    """
    Gives an event away; from `unknown`, unless the request has bound a user.
    """
    dispatcher.track(name, device_id="unknown")


async def streamed(dispatcher: Dispatcher) -> AsyncIterator[bytes]:
    yield b"one "
    await asyncio.sleep(0)
    give(dispatcher, "streamed")
    yield b"two"


async def later(dispatcher: Dispatcher) -> None:
    await asyncio.sleep(0.01)
    give(dispatcher, "background")


async def meanwhile(dispatcher: Dispatcher) -> None:
    """
    Long enough for another request to come in between.
    """
    give(dispatcher, "slow")
    await asyncio.sleep(0.02)
    give(dispatcher, "slow")


# --- ASGI -----------------------------------------------------------------------------------------


def scope_of(kind: str, path: str, user: str | None, client: object) -> dict[str, Any]:
    headers = [(b"host", b"test")] + ([] if user is None else [(b"x-user", user.encode())])
    return {
        **({"method": "GET"} if kind == "http" else {}),
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "state": {},
    }


@asynccontextmanager
async def serving_asgi(app: Any) -> AsyncIterator[Ask]:
    """
    Runs an app's lifespan; requests run in the task that asks.
    """
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, told.get, said.put)
    )
    await told.put({"type": "lifespan.startup"})
    assert (await said.get()) == {"type": "lifespan.startup.complete"}

    async def ask(path: str, user: str | None = None, client: object = ("192.0.2.7", 4711)) -> str:
        sent: list[Any] = []
        over = asyncio.Event()
        kind = "websocket" if path == WEBSOCKET else "http"
        first = "websocket.connect" if kind == "websocket" else "http.request"
        messages = [{"type": first, "body": b""}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await over.wait()
            return {"type": f"{kind}.disconnect", "code": 1000}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "websocket.close" or (
                message["type"] == "http.response.body" and not message.get("more_body")
            ):
                over.set()

        try:
            await app(scope_of(kind, path, user, client), receive, send)
        except RuntimeError as exc:
            if str(exc) != "on purpose":
                raise
        if kind == "websocket":
            return "".join(one.get("text") or "" for one in sent)
        whole = b"".join(one.get("body", b"") for one in sent)
        return whole.decode() if sent[0]["status"] == 200 else ""

    try:
        yield ask
    finally:
        await told.put({"type": "lifespan.shutdown"})
        assert (await said.get()) == {"type": "lifespan.shutdown.complete"}
        await lifespan


# --- Starlette and FastAPI ------------------------------------------------------------------------


def starlette(dispatcher: Dispatcher, **options: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    from sendoff.integrations.starlette import install

    async def plain(request: Any) -> Any:
        give(dispatcher, "plain")
        return PlainTextResponse("ok")

    def thread(request: Any) -> Any:
        give(dispatcher, "thread")
        return PlainTextResponse("ok")

    async def stream(request: Any) -> Any:
        return StreamingResponse(streamed(dispatcher))

    async def background(request: Any) -> Any:
        return PlainTextResponse("ok", background=BackgroundTask(later, dispatcher))

    async def slow(request: Any) -> Any:
        await meanwhile(dispatcher)
        return PlainTextResponse("ok")

    async def fail(request: Any) -> Any:
        give(dispatcher, "fail")
        raise RuntimeError("on purpose")

    async def chat(websocket: Any) -> None:
        await websocket.accept()
        give(dispatcher, "chat")
        await websocket.send_text("ok")
        await websocket.close()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        give(dispatcher, "starting")
        yield {"own": "state"}
        give(dispatcher, "stopping")

    paths = [plain, thread, stream, background, slow, fail]
    routes = [Route(f"/{one.__name__}", one) for one in paths]
    app = Starlette(routes=[*routes, WebSocketRoute(WEBSOCKET, chat)], lifespan=lifespan)
    install(app, dispatcher, **options)
    return app


def fastapi(dispatcher: Dispatcher, **options: Any) -> Any:
    from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket
    from fastapi.responses import StreamingResponse

    from sendoff.integrations.fastapi import DispatcherDep, install

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        give(dispatcher, "starting")
        yield
        give(dispatcher, "stopping")

    app = FastAPI(lifespan=lifespan)
    install(app, dispatcher, **options)

    @app.get("/plain")
    async def plain(found: DispatcherDep) -> str:
        give(found, "plain")
        return "ok"

    @app.get("/thread")
    def thread() -> str:
        give(dispatcher, "thread")
        return "ok"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(streamed(dispatcher))

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(later, dispatcher)
        return "ok"

    @app.get("/slow")
    async def slow() -> str:
        await meanwhile(dispatcher)
        return "ok"

    @app.get("/fail")
    async def fail() -> None:
        give(dispatcher, "fail")
        raise RuntimeError("on purpose")

    @asynccontextmanager
    async def of_router(app: Any) -> AsyncIterator[None]:
        give(dispatcher, "starting")
        yield
        give(dispatcher, "stopping")

    router = APIRouter(lifespan=of_router)

    @router.websocket(WEBSOCKET)
    async def chat(websocket: WebSocket, found: DispatcherDep) -> None:
        await websocket.accept()
        give(found, "chat")
        await websocket.send_text("ok")
        await websocket.close()

    app.include_router(router)  # after the installation, and with a life of its own
    return app


# --- Litestar -------------------------------------------------------------------------------------


def litestar(dispatcher: Dispatcher, **options: Any) -> Any:
    from litestar import Litestar, Response, WebSocket, get, websocket
    from litestar.background_tasks import BackgroundTask
    from litestar.response import Stream

    from sendoff.integrations.litestar import SendoffPlugin

    @get("/plain", media_type="text/plain")
    async def plain() -> str:
        give(dispatcher, "plain")
        return "ok"

    @get("/thread", media_type="text/plain", sync_to_thread=True)
    def thread() -> str:
        give(dispatcher, "thread")
        return "ok"

    @get("/stream")
    async def stream() -> Stream:
        return Stream(streamed(dispatcher))

    @get("/background", media_type="text/plain")
    async def background() -> Response[str]:
        return Response("ok", background=BackgroundTask(later, dispatcher))

    @get("/slow", media_type="text/plain")
    async def slow() -> str:
        await meanwhile(dispatcher)
        return "ok"

    @get("/fail")
    async def fail() -> None:
        give(dispatcher, "fail")
        raise RuntimeError("on purpose")

    @websocket(WEBSOCKET)
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        give(dispatcher, "chat")
        await socket.send_text("ok")
        await socket.close()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        give(dispatcher, "starting")
        yield
        give(dispatcher, "stopping")

    async def hook() -> None:
        give(dispatcher, "stopping")

    return Litestar(
        [plain, thread, stream, background, slow, fail, chat],
        lifespan=[lifespan],
        on_startup=[lambda: give(dispatcher, "starting")],
        on_shutdown=[hook],
        plugins=[SendoffPlugin(dispatcher, **options)],
        openapi_config=None,
        logging_config=None,
    )


# --- aiohttp.web ----------------------------------------------------------------------------------


def aiohttp(dispatcher: Dispatcher, **options: Any) -> Any:
    from aiohttp import web

    from sendoff.integrations.aiohttp import install

    async def plain(request: Any) -> Any:
        give(dispatcher, "plain")
        return web.Response(text="ok")

    async def thread(request: Any) -> Any:
        await asyncio.to_thread(give, dispatcher, "thread")
        return web.Response(text="ok")

    async def stream(request: Any) -> Any:
        return web.Response(body=streamed(dispatcher))

    async def background(request: Any) -> Any:
        request.app[TASKS].append(asyncio.create_task(later(dispatcher)))
        return web.Response(text="ok")

    async def slow(request: Any) -> Any:
        await meanwhile(dispatcher)
        return web.Response(text="ok")

    async def fail(request: Any) -> Any:
        give(dispatcher, "fail")
        raise web.HTTPInternalServerError

    async def chat(request: Any) -> Any:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        give(dispatcher, "chat")
        await websocket.send_str("ok")
        await websocket.close()
        return websocket

    async def life(app: Any) -> AsyncIterator[None]:
        give(dispatcher, "starting")
        yield
        await asyncio.gather(*app[TASKS])
        give(dispatcher, "stopping")

    async def started(app: Any) -> None:
        give(dispatcher, "starting")

    async def stopped(app: Any) -> None:
        give(dispatcher, "stopping")

    app = web.Application()
    app[TASKS] = []
    for one in (plain, thread, stream, background, slow, fail, chat):
        app.router.add_get(f"/{one.__name__}", one)
    app.on_startup.append(started)
    install(app, dispatcher, **options)
    app.cleanup_ctx.append(life)
    app.on_cleanup.append(stopped)  # after the installation
    return app


def _tasks_key() -> Any:
    from aiohttp import web

    return web.AppKey("tasks", list)


TASKS = _tasks_key()


@asynccontextmanager
async def serving_aiohttp(app: Any) -> AsyncIterator[Ask]:
    """
    aiohttp's own test server; one connection, kept alive.
    """
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(app)) as client:

        async def ask(path: str, user: str | None = None) -> str:
            headers = {} if user is None else {"x-user": user}
            if path == WEBSOCKET:
                async with client.ws_connect(path, headers=headers) as websocket:
                    return await websocket.receive_str()
            async with client.get(path, headers=headers) as answer:
                return await answer.text() if answer.status == 200 else ""

        yield ask


# --- Quart ----------------------------------------------------------------------------------------


def quart(dispatcher: Dispatcher, **options: Any) -> Any:
    from quart import Quart, websocket

    from sendoff.integrations.quart import install

    app = Quart("app")

    @app.get("/plain")
    async def plain() -> str:
        give(dispatcher, "plain")
        return "ok"

    @app.get("/thread")
    def thread() -> str:
        give(dispatcher, "thread")
        return "ok"

    @app.get("/stream")
    async def stream() -> Any:
        return streamed(dispatcher)

    @app.get("/background")
    async def background() -> str:
        app.add_background_task(later, dispatcher)
        return "ok"

    @app.get("/slow")
    async def slow() -> str:
        await meanwhile(dispatcher)
        return "ok"

    @app.get("/fail")
    async def fail() -> str:
        give(dispatcher, "fail")
        raise RuntimeError("on purpose")

    @app.websocket(WEBSOCKET)
    async def chat() -> None:
        give(dispatcher, "chat")
        await websocket.send("ok")

    @app.before_serving
    async def starting() -> None:
        give(dispatcher, "starting")

    install(app, dispatcher, **options)

    @app.while_serving
    async def life() -> AsyncIterator[None]:
        give(dispatcher, "starting")
        yield
        give(dispatcher, "stopping")

    @app.after_serving
    async def stopping() -> None:
        give(dispatcher, "stopping")

    return app


# --- Sanic ----------------------------------------------------------------------------------------

_names = (f"app-{number}" for number in range(1_000_000))


def sanic(dispatcher: Dispatcher, **options: Any) -> Any:
    from sanic import Sanic
    from sanic.response import ResponseStream, text

    from sendoff.integrations.sanic import install

    app: Any = Sanic(next(_names), configure_logging=False)
    app.config.TOUCHUP = False  # it changes the server's classes, for all apps of the process

    @app.get("/plain")
    async def plain(request: Any) -> Any:
        give(dispatcher, "plain")
        return text("ok")

    @app.get("/thread")
    async def thread(request: Any) -> Any:
        await asyncio.to_thread(give, dispatcher, "thread")
        return text("ok")

    @app.get("/stream")
    async def stream(request: Any) -> Any:
        async def write(response: Any) -> None:
            async for part in streamed(dispatcher):
                await response.write(part)

        return ResponseStream(write)

    @app.get("/background")
    async def background(request: Any) -> Any:
        request.app.ctx.tasks.append(asyncio.create_task(later(dispatcher)))
        return text("ok")

    @app.get("/slow")
    async def slow(request: Any) -> Any:
        await meanwhile(dispatcher)
        return text("ok")

    @app.get("/fail")
    async def fail(request: Any) -> Any:
        give(dispatcher, "fail")
        raise RuntimeError("on purpose")

    @app.websocket(WEBSOCKET)
    async def chat(request: Any, websocket: Any) -> None:
        give(dispatcher, "chat")
        await websocket.send("ok")

    @app.before_server_start
    async def starting(app: Any) -> None:
        app.ctx.tasks = []
        give(dispatcher, "starting")

    @app.after_server_stop
    async def stopping(app: Any) -> None:
        await asyncio.gather(*app.ctx.tasks)
        give(dispatcher, "stopping")

    install(app, dispatcher, **options)
    app.after_server_start(lambda app: give(dispatcher, "starting"))
    app.after_server_stop(lambda app: give(dispatcher, "stopping"))
    return app


@asynccontextmanager
async def serving_sanic(app: Any) -> AsyncIterator[Ask]:
    """
    Sanic's own server on a free port; one connection, kept alive.
    """
    import aiohttp

    sock = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=sock, return_asyncio_server=True)
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(url, connector=connector) as client:

        async def ask(
            path: str, user: str | None = None, headers: dict[str, str] | None = None
        ) -> str:
            headers = {**(headers or {}), **({} if user is None else {"x-user": user})}
            if path == WEBSOCKET:
                async with client.ws_connect(path, headers=headers) as websocket:
                    return await websocket.receive_str()
            async with client.get(path, headers=headers) as answer:
                return await answer.text() if answer.status == 200 else ""

        yield ask
    await server.before_stop()
    server.close()
    await server.wait_closed()
    await server.after_stop()


def frameworks() -> dict[str, Framework]:
    """
    Every one of them, by name.
    """
    from sendoff.integrations import aiohttp as of_aiohttp
    from sendoff.integrations import fastapi as of_fastapi
    from sendoff.integrations import litestar as of_litestar
    from sendoff.integrations import quart as of_quart
    from sendoff.integrations import sanic as of_sanic
    from sendoff.integrations import starlette as of_starlette

    return {
        "starlette": Framework(starlette, serving_asgi, of_starlette.dispatcher_of, hooks=1),
        "fastapi": Framework(fastapi, serving_asgi, of_fastapi.dispatcher_of),
        "litestar": Framework(litestar, serving_asgi, of_litestar.dispatcher_of),
        "aiohttp": Framework(aiohttp, serving_aiohttp, of_aiohttp.dispatcher_of),
        "quart": Framework(quart, serving_asgi, of_quart.dispatcher_of),
        "sanic": Framework(sanic, serving_sanic, of_sanic.dispatcher_of),
        "sanic by ASGI": Framework(sanic, serving_asgi, of_sanic.dispatcher_of),
    }
