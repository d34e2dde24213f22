"""
arq: the worker's hooks around its own, what a job binds, and the example's worker that is stopped
in the middle.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import get_kwargs

from integrations.live_sync import (
    a_sink,
    arrived_once,
    environment,
    needs_redis,
    output_of,
    running,
)
from sendoff import Dispatcher, Freshpaint, MemoryTransport, OptionError
from sendoff.integrations.arq import dispatcher_of, install
from sendoff.sink import SinkProcess
from virtual import events_of

sink = pytest.fixture(scope="module")(a_sink)


def made() -> tuple[Dispatcher, MemoryTransport]:
    transport = MemoryTransport()
    return Dispatcher(Freshpaint(token="t"), transport=transport), transport


async def live(settings: Any, jobs: dict[str, Any]) -> None:
    """
    A worker's life as far as its hooks see it: each job in a task of a task, as arq does it.
    """
    hooks = get_kwargs(settings)

    async def run(job_id: str, function: Any) -> None:
        ctx = {**worker, "job_id": job_id, "job_try": 1}
        if "on_job_start" in hooks:
            await hooks["on_job_start"](ctx)
        await asyncio.gather(asyncio.create_task(function(ctx)), return_exceptions=True)
        if "on_job_end" in hooks:
            await hooks["on_job_end"](ctx)
        if "after_job_end" in hooks:
            await hooks["after_job_end"](ctx)

    worker: dict[str, Any] = {}
    await hooks["on_startup"](worker)
    await asyncio.gather(*(run(job_id, function) for job_id, function in jobs.items()))
    await hooks["on_shutdown"](worker)


def given(transport: MemoryTransport) -> dict[str, str]:
    """
    Who is said to have done what.
    """
    events = [event for request in transport.requests for event in events_of(request)]
    return {event["event"]: event["properties"]["distinct_id"] for event in events}


@pytest.mark.parametrize("form", ["class", "dict"])
def test_the_workers_own_hooks_run_within(form: str) -> None:
    """What is given in any of them arrives: it is open before the first, closed after the last."""
    dispatcher, transport = made()

    def hook(name: str) -> Any:
        async def run(ctx: dict[str, Any]) -> None:
            assert dispatcher_of(ctx) is dispatcher
            dispatcher.track(name, device_id="d")

        return run

    names = ("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end")
    hooks = {name: hook(name) for name in names}
    settings: Any = hooks if form == "dict" else type("WorkerSettings", (), hooks)
    install(settings, dispatcher, context=lambda ctx: {"user_id": f"u-{ctx['job_id']}"})
    assert dispatcher_of(settings) is dispatcher

    async def job(ctx: dict[str, Any]) -> None:
        dispatcher.track("job", device_id="d")

    asyncio.run(live(settings, {"7": job}))
    assert given(transport) == {
        "on_startup": "d",
        "on_job_start": "d",
        "job": "u-7",
        "on_job_end": "u-7",
        "after_job_end": "d",
        "on_shutdown": "d",
    }
    assert "closed" in repr(dispatcher)  # and not only stopped with the loop
    assert (transport.opened, transport.closed) == (1, 1)


def test_jobs_at_once_have_each_their_own() -> None:
    """Also one that fails, and one whose own hook has found out who it is for."""
    dispatcher, transport = made()

    class Settings:
        @staticmethod
        async def on_job_start(ctx: dict[str, Any]) -> None:
            ctx["user"] = f"u-{ctx['job_id']}"

    install(Settings, dispatcher, context=lambda ctx: {"user_id": ctx["user"]})

    async def job(ctx: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        dispatcher.track(f"job {ctx['job_id']}", device_id="d")
        raise ZeroDivisionError

    asyncio.run(live(Settings, {str(n): job for n in range(5)}))
    assert given(transport) == {f"job {n}": f"u-{n}" for n in range(5)}


def test_a_context_that_raises_costs_no_job(caplog: pytest.LogCaptureFixture) -> None:
    """What `context` raises is said once, and the job runs unbound."""
    dispatcher, transport = made()
    settings: dict[str, Any] = {}
    install(settings, dispatcher, context=lambda ctx: {"user_id": ctx["nobody"]})

    async def job(ctx: dict[str, Any]) -> None:
        dispatcher.track(f"job {ctx['job_id']}", device_id="d")

    with caplog.at_level(logging.WARNING, "sendoff"):
        asyncio.run(live(settings, {"1": job, "2": job}))
    assert given(transport) == {"job 1": "d", "job 2": "d"}
    assert caplog.messages == ["the context of requests is not bound: KeyError (told once)"]


def test_a_shutdown_that_raises_closes_all_the_same() -> None:
    """What the worker's own hook raises is the worker's; everything is sent."""
    dispatcher, transport = made()

    async def on_shutdown(ctx: dict[str, Any]) -> None:
        dispatcher.track("last", device_id="d")
        raise ZeroDivisionError

    settings: dict[str, Any] = {"on_shutdown": on_shutdown}
    install(settings, dispatcher)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(live(settings, {}))
    assert given(transport) == {"last": "d"}
    assert "closed" in repr(dispatcher)


def test_what_cannot_work_is_refused() -> None:
    """A second dispatcher, a context that nobody awaits; and none is found where none is."""
    dispatcher, _ = made()

    class Settings:
        pass

    with pytest.raises(LookupError, match="no dispatcher here"):
        dispatcher_of(Settings)
    with pytest.raises(LookupError, match="no dispatcher here"):
        dispatcher_of({"job_id": "7"})

    async def context(ctx: dict[str, Any]) -> None: ...

    with pytest.raises(OptionError, match="context must be a plain function"):
        install(Settings, dispatcher, context=context)  # type: ignore[arg-type]
    install(Settings, dispatcher)
    assert "on_job_start" not in vars(Settings)  # nothing to bind, nothing to pay
    with pytest.raises(RuntimeError, match="already"):
        install(Settings, dispatcher)


# --- the example's worker -------------------------------------------------------------------------

JOBS = 1_000


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """
    A server of its own, in memory, on a free port.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@needs_redis
def test_a_worker_that_is_stopped_in_the_middle_loses_nothing(
    sink: SinkProcess, tmp_path: Path
) -> None:
    """The event of every job that is done is at both vendors, once."""
    sink.reset()
    with redis(tmp_path) as port:
        settings = RedisSettings(port=port)

        async def enqueue() -> None:
            pool = await create_pool(settings)
            await asyncio.gather(
                *(pool.enqueue_job("ship", f"o-{n}", f"u-{n}") for n in range(JOBS))
            )
            await pool.aclose()

        async def results(*, at_least: int = 0) -> set[str]:
            pool = await create_pool(settings)
            while len(keys := await pool.keys("arq:result:*")) < at_least:
                await asyncio.sleep(0.02)
            found = {one.result for one in await pool.all_job_results()} if not at_least else set()
            await pool.aclose()
            assert len(keys) >= at_least
            return found

        asyncio.run(enqueue())
        env = environment(sink, REDIS_URL=f"redis://127.0.0.1:{port}")
        with running(["-m", "arq", "arq_app.WorkerSettings"], env, tmp_path) as process:
            asyncio.run(asyncio.wait_for(results(at_least=100), 40))
            process.send_signal(signal.SIGTERM)
            process.wait(40)
        done = asyncio.run(results())
    assert 100 <= len(done) < JOBS
    arrived_once(sink, done, output_of(tmp_path))
    users = {one["order"]: one["usr"]["id"] for one in sink.events("datadog")}
    assert users == {order: order.replace("o", "u") for order in users}
