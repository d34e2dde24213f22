"""
What is particular to one framework, and what goes wrong in all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from integrations.loop_apps import (
    FRAMEWORK_NAMES,
    Vendor,
    context,
    frameworks,
    give,
    serving_aiohttp,
    serving_asgi,
    serving_sanic,
)
from sendoff import bind
from sendoff.integrations import aiohttp as of_aiohttp
from sendoff.integrations import fastapi as of_fastapi
from sendoff.integrations import litestar as of_litestar
from sendoff.integrations import quart as of_quart
from sendoff.integrations import sanic as of_sanic
from sendoff.integrations import starlette as of_starlette

FRAMEWORKS = frameworks()


def empty_apps() -> dict[str, tuple[Any, Callable[..., Any]]]:
    """
    An app of each framework with nothing in it, and the verb that would find its dispatcher.
    """
    from aiohttp import web
    from fastapi import FastAPI
    from litestar import Litestar
    from quart import Quart
    from sanic import Sanic

    return {
        "starlette": (Starlette(), of_starlette.dispatcher_of),
        "fastapi": (FastAPI(), of_fastapi.dispatcher_of),
        "litestar": (Litestar(), of_litestar.dispatcher_of),
        "aiohttp": (web.Application(), of_aiohttp.dispatcher_of),
        "quart": (Quart("app"), of_quart.dispatcher_of),
        "sanic": (Sanic("nothing", configure_logging=False), of_sanic.dispatcher_of),
    }


@pytest.mark.parametrize("name", FRAMEWORK_NAMES)
def test_an_app_without_a_dispatcher_says_so(name: str) -> None:
    """With what is missing."""
    from sanic import Sanic

    Sanic._app_registry.clear()
    app, dispatcher_of = empty_apps()[name]
    with pytest.raises(LookupError, match=r"was `install\(app, dispatcher\)` called\?"):
        dispatcher_of(app)


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name != "litestar"])
def test_an_app_that_has_started_is_refused(name: str) -> None:
    """What would open the dispatcher has passed."""
    from sanic import Sanic

    Sanic._app_registry.clear()
    plain = name.partition(" ")[0]
    app, dispatcher_of = empty_apps()[plain]
    install = {
        "starlette": of_starlette,
        "fastapi": of_fastapi,
        "aiohttp": of_aiohttp,
        "quart": of_quart,
        "sanic": of_sanic,
    }[plain].install
    if plain == "sanic":
        app.config.TOUCHUP = False
        app.get("/plain")(lambda request: None)

    async def main() -> None:
        async with FRAMEWORKS[name].serving(app):
            with pytest.raises(RuntimeError, match="install the dispatcher before it serves"):
                install(app, Vendor().dispatcher)

    asyncio.run(main())
    with pytest.raises(LookupError):
        dispatcher_of(app)


def test_a_litestar_app_that_is_made_is_refused() -> None:
    """And told of the plugin."""
    app, _ = empty_apps_of_litestar()
    with pytest.raises(TypeError, match=r"plugins=\[SendoffPlugin\(...\)\]"):
        of_litestar.install(app, Vendor().dispatcher)  # type: ignore[arg-type]


def empty_apps_of_litestar() -> tuple[Any, Any]:
    from litestar import Litestar
    from litestar.config.app import AppConfig

    return Litestar(), AppConfig()


def test_a_litestar_configuration_takes_one_dispatcher() -> None:
    """`install` may stand in `on_app_init`, and hands the configuration back."""
    _, config = empty_apps_of_litestar()
    assert of_litestar.install(config, Vendor().dispatcher) is config
    with pytest.raises(RuntimeError, match="installed here already"):
        of_litestar.install(config, Vendor().dispatcher)


def test_without_anything_to_bind_nothing_stands_in_a_requests_way() -> None:
    """No middleware and no hook is added; with an address to bind, one is."""
    from sanic import Sanic

    for options, count in (({}, 0), ({"client_address": True}, 1)):
        Sanic._app_registry.clear()
        made = {
            name: FRAMEWORKS[name].make(Vendor().dispatcher, **options) for name in FRAMEWORK_NAMES
        }
        assert {
            "starlette": len(made["starlette"].user_middleware),
            "fastapi": len(made["fastapi"].user_middleware),
            "litestar": len(made["litestar"].middleware),
            "aiohttp": len(made["aiohttp"].middlewares),
            "quart": len(made["quart"].before_request_funcs[None]),
            "quart, websockets": len(made["quart"].before_websocket_funcs[None]),
            "sanic": len(made["sanic"].request_middleware) / 2,  # one ends, one begins
        } == dict.fromkeys([*FRAMEWORK_NAMES, "quart, websockets"], count)


# --- Starlette and FastAPI ------------------------------------------------------------------------


class _Backend:
    """
    Takes a header at its word.
    """

    async def authenticate(self, conn: Any) -> Any:
        return AuthCredentials(), SimpleUser(conn.headers["x-name"])


@pytest.mark.parametrize("later", [True, False])
def test_a_context_sees_what_middleware_found(later: bool) -> None:
    """Starlette: the binding is made behind all the app's middleware, whenever it was added."""
    vendor = Vendor()

    def plain(request: Request) -> Any:
        give(of_starlette.dispatcher_of(request), "plain")
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", plain)])
    if not later:
        app.add_middleware(AuthenticationMiddleware, backend=_Backend())
    of_starlette.install(
        app, vendor.dispatcher, context=lambda request: {"user_id": request.user.username}
    )
    if later:
        app.add_middleware(AuthenticationMiddleware, backend=_Backend())
    with TestClient(app) as client:
        client.get("/", headers={"x-name": "u-1"})
    assert vendor.users("plain") == ["u-1"]


def test_a_test_client_opens_and_closes_it_each_time() -> None:
    """Each in a loop of its own; without `with`, nothing is opened, and nothing is lost."""
    vendor = Vendor()
    app = FRAMEWORKS["fastapi"].make(vendor.dispatcher, context=context)
    for number in range(2):
        with TestClient(app) as client:
            assert client.get("/plain", headers={"x-user": f"u-{number}"}).json() == "ok"
            with client.websocket_connect("/chat", headers={"x-user": "w"}) as websocket:
                assert websocket.receive_text() == "ok"
    assert vendor.users("plain") == ["u-0", "u-1"]
    assert vendor.users("chat") == ["w", "w"]
    app = FRAMEWORKS["fastapi"].make(Vendor().dispatcher)
    assert TestClient(app).get("/plain").json() == "ok"


def test_a_request_of_a_mounted_app_finds_the_dispatcher_of_the_outer_one() -> None:
    """However deep; and its events are bound by the outer one's context."""
    from fastapi import FastAPI

    vendor = Vendor()

    def plain(request: Request) -> Any:
        give(of_starlette.dispatcher_of(request), "plain")
        return PlainTextResponse("ok")

    for make in (Starlette, FastAPI):
        inner = Starlette(routes=[Route("/plain", plain)])
        middle = Starlette(routes=[Mount("/inner", inner)])
        outer = make()
        of_starlette.install(outer, vendor.dispatcher, context=context)
        outer.mount("/middle", middle)
        with TestClient(outer) as client:
            url = "/middle/inner/plain"
            assert client.get(url, headers={"x-user": make.__name__}).text == "ok"
        with pytest.raises(LookupError):
            of_starlette.dispatcher_of(inner)
    assert vendor.users("plain") == ["Starlette", "FastAPI"]


def test_the_apps_lifespan_state_is_handed_on() -> None:
    """What it yields is in the requests' state, as without us."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, int]]:
        yield {"answer": 42}

    def plain(request: Request) -> Any:
        return PlainTextResponse(str(request.state.answer))

    app = Starlette(routes=[Route("/", plain)], lifespan=lifespan)
    of_starlette.install(app, Vendor().dispatcher)
    with TestClient(app) as client:
        assert client.get("/").text == "42"


def test_a_dependency_may_bind() -> None:
    """FastAPI: as a coroutine, also one that yields; for threads as well, to the request's end."""
    from fastapi import Depends, FastAPI

    vendor = Vendor()
    app = FastAPI()
    of_fastapi.install(app, vendor.dispatcher)

    async def plain(request: Request) -> None:
        if "x-user" in request.headers:
            bind(user_id=request.headers["x-user"])

    async def yielding(request: Request) -> AsyncIterator[None]:
        with bind(device_id="d-1", user_id=request.headers.get("x-user")):
            yield

    for path, dependency in (("/a", plain), ("/b", yielding)):
        app.get(path, dependencies=[Depends(dependency)])(
            lambda: str(give(vendor.dispatcher, "plain"))
        )
    with TestClient(app) as client:
        for path in ("/a", "/b"):
            for headers in ({"x-user": "u-1"}, {}, {"x-user": "u-2"}):
                assert client.get(path, headers=headers).json() == "None"
    assert vendor.users("plain") == ["u-1", "unknown", "u-2"] * 2


@pytest.mark.parametrize("when", ["start", "stop"])
def test_a_lifespan_that_raises_still_closes(when: str) -> None:
    """Events that were given before it did are sent, and the error goes on."""
    vendor = Vendor()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        give(vendor.dispatcher, "starting")
        if when == "start":
            raise RuntimeError("on purpose")
        yield
        raise RuntimeError("on purpose")

    app = Starlette(lifespan=lifespan)
    of_starlette.install(app, vendor.dispatcher)
    with pytest.raises(RuntimeError, match="on purpose"), TestClient(app):
        pass
    assert vendor.users("starting") == ["unknown"]
    assert repr(vendor.dispatcher).startswith("<Dispatcher closed")


# --- Litestar -------------------------------------------------------------------------------------


def test_litestars_context_sees_what_middleware_found() -> None:
    """That of the app and of the plugins before; the route and its parameters, too."""
    from litestar import Litestar, get
    from litestar.config.app import AppConfig
    from litestar.plugins import InitPlugin

    vendor = Vendor()

    def authenticating(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            scope["user"] = "u-1"
            await app(scope, receive, send)

        return middleware

    class Plugin(InitPlugin):
        def on_app_init(self, app_config: AppConfig) -> AppConfig:
            app_config.middleware.insert(0, authenticating)
            return app_config

    found = []

    @get("/orders/{number:int}")
    async def order() -> str:
        give(vendor.dispatcher, "plain")
        return "ok"

    def of(connection: Any) -> dict[str, Any]:
        found.append(of_litestar.dispatcher_of(connection))
        return {"user_id": connection.user, "properties": connection.path_params}

    plugin = of_litestar.SendoffPlugin(vendor.dispatcher, context=of)
    app = Litestar([order], plugins=[Plugin(), plugin], openapi_config=None, logging_config=None)

    async def main() -> None:
        async with serving_asgi(app) as ask:
            assert await ask("/orders/7") == "ok"

    asyncio.run(main())
    (event,) = vendor.events
    assert (event["properties"]["distinct_id"], event["properties"]["number"]) == ("u-1", 7)
    assert found == [vendor.dispatcher]


# --- aiohttp.web ----------------------------------------------------------------------------------


def test_an_app_within_an_app_finds_the_dispatcher_of_the_outer_one() -> None:
    """aiohttp: by the request; and its events are bound by the outer one's context."""
    from aiohttp import web

    vendor = Vendor()

    async def plain(request: web.Request) -> web.Response:
        give(of_aiohttp.dispatcher_of(request), "plain")
        return web.Response(text="ok")

    async def main() -> None:
        inner = web.Application()
        inner.router.add_get("/plain", plain)
        outer = web.Application()
        of_aiohttp.install(outer, vendor.dispatcher, context=context)
        outer.add_subapp("/inner", inner)
        with pytest.raises(RuntimeError, match="before it serves"):
            of_aiohttp.install(inner, Vendor().dispatcher)
        async with serving_aiohttp(outer) as ask:
            assert await ask("/inner/plain", "u-1") == "ok"

    asyncio.run(main())
    assert vendor.users("plain") == ["u-1"]


def test_a_part_of_an_app_may_have_the_dispatcher_to_itself() -> None:
    """aiohttp: installed in the inner app, it opens and closes with both."""
    from aiohttp import web

    vendor = Vendor()

    async def plain(request: web.Request) -> web.Response:
        give(of_aiohttp.dispatcher_of(request), "plain")
        return web.Response(text="ok")

    async def main() -> None:
        inner, outer = web.Application(), web.Application()
        inner.router.add_get("/plain", plain)
        of_aiohttp.install(inner, vendor.dispatcher, context=context)
        outer.add_subapp("/inner", inner)
        async with serving_aiohttp(outer) as ask:
            assert await ask("/inner/plain", "u-1") == "ok"
        assert repr(vendor.dispatcher).startswith("<Dispatcher closed")

    asyncio.run(main())
    assert vendor.users("plain") == ["u-1"]


# --- Quart ----------------------------------------------------------------------------------------


def test_quarts_context_sees_what_the_hooks_before_it_found() -> None:
    """`g` and the request's own things are there; a websocket is bound by the same function."""
    from quart import Quart, g, request

    vendor = Vendor()
    app = Quart("app")

    @app.before_request
    async def authenticate() -> None:
        g.user = request.headers["x-user"]

    @app.get("/plain")
    async def plain() -> str:
        give(of_quart.dispatcher_of(request), "plain")
        return "ok"

    of_quart.install(app, vendor.dispatcher, context=lambda request: {"user_id": g.user})

    async def main() -> None:
        async with serving_asgi(app) as ask:
            assert await ask("/plain", "u-1") == "ok"

    asyncio.run(main())
    assert vendor.users("plain") == ["u-1"]


# --- Sanic ----------------------------------------------------------------------------------------


def test_sanics_address_is_the_one_behind_its_proxy() -> None:
    """Only if Sanic is told of one; without the brackets that a header has."""
    from sanic import Sanic

    seen = {}
    for told in (True, False):
        Sanic._app_registry.clear()
        vendor = Vendor()
        app = FRAMEWORKS["sanic"].make(vendor.dispatcher, client_address=True)
        if told:
            app.config.REAL_IP_HEADER = "x-real-ip"

        async def main(app: Any = app) -> None:
            async with serving_sanic(app) as ask:
                await ask("/plain", headers={"x-real-ip": "[2001:db8::7]"})  # type: ignore[call-arg]

        asyncio.run(main())
        (event,) = [one for one in vendor.events if one["event"] == "plain"]
        seen[told] = event["properties"]["$ip"]
    assert seen == {True: "2001:db8::7", False: "127.0.0.1"}


def test_sanics_context_runs_after_the_apps_middleware() -> None:
    """Also after what is added later."""
    from sanic import Sanic

    Sanic._app_registry.clear()
    vendor = Vendor()
    app = FRAMEWORKS["sanic"].make(
        vendor.dispatcher, context=lambda request: {"user_id": request.ctx.user}
    )

    @app.on_request
    async def authenticate(request: Any) -> None:
        assert of_sanic.dispatcher_of(request) is vendor.dispatcher
        request.ctx.user = "u-1"

    async def main() -> None:
        async with serving_sanic(app) as ask:
            await ask("/plain")

    asyncio.run(main())
    assert vendor.users("plain") == ["u-1"]
