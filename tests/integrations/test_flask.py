"""
Flask: what a request binds and for how long, and the example under gunicorn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flask import Flask, Response, abort, g, request, stream_with_context

from integrations.live_sync import Memory, in_memory
from sendoff import Dispatcher, Freshpaint, OptionError
from sendoff.integrations.flask import dispatcher_of, install

memory = pytest.fixture(in_memory)


def app_of(memory: Memory) -> Flask:
    app = Flask(__name__)

    @app.before_request
    def login() -> None:
        g.user = request.args.get("user")

    @app.get("/")
    def view() -> str:
        memory.dispatcher.track("seen", device_id="d")
        return dispatcher_of().stats().__class__.__name__

    @app.get("/later")
    async def later() -> str:
        memory.dispatcher.track("later", device_id="d")
        return ""

    @app.get("/boom")
    def boom() -> str:
        memory.dispatcher.track("boom", device_id="d")
        raise ZeroDivisionError

    @app.get("/parts")
    def parts() -> Response:
        def content() -> Iterator[str]:
            for part in "ab":
                memory.dispatcher.track(part, device_id="d")
                yield part

        return Response(stream_with_context(content()))

    return app


def who(_: object) -> dict[str, str] | None:
    return {"user_id": g.user} if g.user else None


def test_what_a_request_binds_is_in_its_events_and_no_others(memory: Memory) -> None:
    """Sync and async views and streamed parts are bound; the next request is not, nor is nobody."""
    app = app_of(memory)
    install(app, memory.dispatcher, context=who)
    client = app.test_client()
    for path in ("/?user=u-1", "/", "/later?user=u-2", "/parts?user=u-3", "/"):
        answer = client.get(path)
        assert (answer.status_code, len(answer.data) < 10) == (200, True)
    memory.dispatcher.track("outside", device_id="d")
    users = [(event["event"], event["distinct_id"]) for event in memory.events]
    assert users == [
        ("seen", "u-1"),
        ("seen", "d"),
        ("later", "u-2"),
        ("a", "u-3"),
        ("b", "u-3"),
        ("seen", "d"),
        ("outside", "d"),
    ]


def test_a_view_that_raises_leaves_nothing_bound(memory: Memory) -> None:
    """The binding is undone, whatever becomes of the request."""
    app = app_of(memory)
    install(app, memory.dispatcher, context=who)
    client = app.test_client()
    assert client.get("/boom?user=u-1").status_code == 500
    memory.dispatcher.track("outside", device_id="d")
    assert [event["distinct_id"] for event in memory.events] == ["u-1", "d"]


def test_a_hook_that_answers_before_ours_is_no_fault(memory: Memory) -> None:
    """A request that never came to the binding has nothing to undo."""
    app = Flask(__name__)
    app.before_request(lambda: abort(401))
    install(app, memory.dispatcher, client_address=True)
    assert app.test_client().get("/").status_code == 401


@pytest.mark.parametrize("client_address", [False, True])
def test_the_address_is_bound_only_if_asked_for(memory: Memory, client_address: bool) -> None:
    """Flask's word on the client's address goes along if it is asked for."""
    app = app_of(memory)
    install(app, memory.dispatcher, client_address=client_address)
    app.test_client().get("/", environ_base={"REMOTE_ADDR": "192.0.2.9"})
    (event,) = memory.events
    assert event.get("$ip") == ("192.0.2.9" if client_address else None)


def test_a_context_that_raises_costs_no_request(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """What `context` raises is said once, and the request is served unbound."""
    app = app_of(memory)
    install(app, memory.dispatcher, context=lambda _: {"user": "u-1"})
    with caplog.at_level(logging.WARNING, "sendoff"):
        for _ in range(2):
            assert app.test_client().get("/?user=u-1").status_code == 200
    assert [event["distinct_id"] for event in memory.events] == ["d", "d"]
    assert caplog.messages == ["the context of requests is not bound: TypeError (told once)"]


def test_with_nothing_to_bind_there_are_no_hooks(memory: Memory) -> None:
    """A request pays for what is asked for only."""
    app = Flask(__name__)
    install(app, memory.dispatcher)
    assert not app.before_request_funcs
    assert not app.teardown_request_funcs


def test_the_dispatcher_is_found_again() -> None:
    """By the app, and by the current request's; not where none was installed."""
    dispatcher = Dispatcher(Freshpaint(token="t"), blocking=True)
    app = Flask(__name__)
    with pytest.raises(LookupError, match="no dispatcher here"):
        dispatcher_of(app)
    install(app, dispatcher)
    assert dispatcher_of(app) is dispatcher
    with app.app_context():
        assert dispatcher_of() is dispatcher


def test_what_cannot_work_is_refused() -> None:
    """A dispatcher that needs a loop, a second one, and a context that nobody would await."""
    app = Flask(__name__)
    with pytest.raises(OptionError, match="dispatcher must be a Dispatcher, not Flask"):
        install(app, app)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="blocking must be True for Flask"):
        install(app, Dispatcher(Freshpaint(token="t")))
    dispatcher = Dispatcher(Freshpaint(token="t"), blocking=True)

    async def context(_: object) -> None: ...

    with pytest.raises(OptionError, match="context must be a plain function"):
        install(app, dispatcher, context=context)  # type: ignore[arg-type]
    install(app, dispatcher)
    with pytest.raises(RuntimeError, match="installed here already"):
        install(app, dispatcher)
