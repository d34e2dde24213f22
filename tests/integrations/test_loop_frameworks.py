"""
What the integrations of all frameworks that run on a loop have in common, each in its framework.
"""

from __future__ import annotations

import asyncio
import importlib
import logging

import pytest

from integrations.loop_apps import WEBSOCKET, Framework, Vendor, context, frameworks, give
from sendoff import OptionError
from sendoff.context import BOUND

FRAMEWORKS = frameworks()


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    return FRAMEWORKS[request.param]


def test_the_dispatcher_lives_around_the_apps_own_life(framework: Framework) -> None:
    """What the app gives away while it starts and while it stops goes, also the second time."""
    vendor = Vendor()

    async def main() -> None:
        for _ in range(2):
            app = framework.make(vendor.dispatcher)
            async with framework.serving(app) as ask:
                assert framework.dispatcher_of(app) is vendor.dispatcher
                assert "ok" in await ask("/plain")
            assert repr(vendor.dispatcher).startswith("<Dispatcher closed")

    asyncio.run(main())
    assert vendor.rejected == 0
    assert vendor.users("plain") == ["unknown"] * 2
    assert vendor.users("starting") == vendor.users("stopping") == ["unknown"] * 2 * framework.hooks


PLACES = ("plain", "thread", "stream", "background", "fail")
NAMES = ("plain", "thread", "streamed", "background", "fail")


def test_what_is_bound_is_in_every_event_of_the_request(framework: Framework) -> None:
    """In handlers, threads, streamed answers and background tasks, and when a handler raises."""
    vendor = Vendor()

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            for place in PLACES:
                await ask(f"/{place}", "u-1")

    asyncio.run(main())
    assert {name: vendor.users(name) for name in NAMES} == {name: ["u-1"] for name in NAMES}
    given = [event for event in vendor.events if event["event"] in NAMES]
    assert {event["properties"]["who"] for event in given} == {"u-1"}
    assert not [event for event in given if "$ip" in event["properties"]]


def test_what_is_bound_ends_with_the_request(framework: Framework) -> None:
    """The next request of the same connection, and of the same task, starts with nothing."""
    vendor = Vendor()

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            for place in PLACES:
                await ask(f"/{place}", "u-1")
                await ask("/plain")

    asyncio.run(main())
    assert vendor.users("plain") == ["u-1", *["unknown"] * len(PLACES)]


@pytest.mark.parametrize("name", ["starlette", "fastapi", "litestar"])
def test_a_middleware_undoes_what_it_bound(name: str) -> None:
    """Also in the task of the server's that called it, and after an exception."""
    framework, vendor = FRAMEWORKS[name], Vendor()

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            for place in (*PLACES, WEBSOCKET.removeprefix("/")):
                await ask(f"/{place}", "u-1")
                assert BOUND.get() is None

    asyncio.run(main())
    assert vendor.users("fail") == ["u-1"]


def test_requests_at_the_same_time_keep_apart(framework: Framework) -> None:
    """Each event has the user of its own request, however they are interleaved."""
    vendor = Vendor()
    users = [f"u-{number}" for number in range(5)]

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            await asyncio.gather(*(ask("/slow", user) for user in [*users, None]))

    asyncio.run(main())
    assert sorted(vendor.users("slow")) == sorted([*users, "unknown"] * 2)


def test_a_websocket_is_bound_like_a_request(framework: Framework) -> None:
    """From its handshake to its end."""
    vendor = Vendor()

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            assert await ask(WEBSOCKET, "u-1") == "ok"
            assert await ask(WEBSOCKET) == "ok"

    asyncio.run(main())
    assert vendor.users("chat") == ["u-1", "unknown"]


def test_a_context_that_raises_costs_the_binding_alone(
    framework: Framework, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is served, and the log has one line that says nothing of what was raised."""
    vendor = Vendor()

    async def main() -> None:
        async with framework.serving(framework.make(vendor.dispatcher, context=context)) as ask:
            for _ in range(3):
                assert "ok" in await ask("/plain", "nobody")

    with caplog.at_level(logging.INFO, "sendoff"):
        asyncio.run(main())
    assert vendor.users("plain") == ["unknown"] * 3
    lines = [record.getMessage() for record in caplog.records if record.name == "sendoff"]
    assert [line for line in lines if "context of requests" in line] == [
        "the context of requests is not bound: RuntimeError (told once)"
    ]
    assert "secret" not in caplog.text


def test_the_clients_address_is_bound_only_if_asked_for(framework: Framework) -> None:
    """It is the one that the framework has, beside what the app binds."""
    seen = {}
    for asked in (True, False):
        vendor = Vendor()

        async def main(vendor: Vendor = vendor, asked: bool = asked) -> None:
            app = framework.make(vendor.dispatcher, context=context, client_address=asked)
            async with framework.serving(app) as ask:
                await ask("/plain", "u-1")

        asyncio.run(main())
        (event,) = [one for one in vendor.events if one["event"] == "plain"]
        seen[asked] = event["properties"].get("$ip")
    assert seen in ({True: "127.0.0.1", False: None}, {True: "192.0.2.7", False: None})


@pytest.mark.parametrize("client", [None, ("", 0)])
@pytest.mark.parametrize("name", ["starlette", "fastapi", "litestar", "quart", "sanic by ASGI"])
def test_a_client_without_an_address_binds_none(name: str, client: object) -> None:
    """As behind a Unix socket; an empty address would have the event rejected."""
    framework, vendor = FRAMEWORKS[name], Vendor()

    async def main() -> None:
        app = framework.make(vendor.dispatcher, client_address=True)
        async with framework.serving(app) as ask:
            await ask("/plain", client=client)  # type: ignore[call-arg]

    asyncio.run(main())
    (event,) = [one for one in vendor.events if one["event"] == "plain"]
    assert "$ip" not in event["properties"]
    assert vendor.rejected == 0


def test_a_second_dispatcher_is_refused(framework: Framework) -> None:
    """Whether or not it is the same; the first one stays."""
    vendor = Vendor()
    app = framework.make(vendor.dispatcher)
    install = importlib.import_module(framework.dispatcher_of.__module__).install
    for dispatcher in (vendor.dispatcher, Vendor().dispatcher):
        with pytest.raises((RuntimeError, TypeError), match=r"installed here|made already"):
            install(app, dispatcher)
    assert framework.dispatcher_of(app) is vendor.dispatcher
    with pytest.raises((OptionError, TypeError), match=r"must be a Dispatcher|made already"):
        install(app, "dispatcher")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 7}, "context must be callable, not int"),
        ({"context": give}, None),
        ({"context": asyncio.sleep}, "context must be a plain function, not a coroutine function"),
        ({"client_address": "yes"}, "client_address must be one of True, False, not 'yes'"),
    ],
)
def test_a_wrong_option_is_named(
    framework: Framework, options: dict[str, object], message: str | None
) -> None:
    """At the installation, not at the first request."""
    if message is None:
        framework.make(Vendor().dispatcher, **options)
        return
    with pytest.raises(OptionError) as raised:
        framework.make(Vendor().dispatcher, **options)
    assert str(raised.value) == message
