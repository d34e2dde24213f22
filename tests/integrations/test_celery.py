"""
Celery: what a task binds, when a worker's processes open and close, and the example's worker that
is stopped in the middle.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, Task, signals

from integrations.live_sync import (
    Memory,
    a_sink,
    arrived_once,
    environment,
    in_memory,
    output_of,
    running,
)
from sendoff import Dispatcher, Freshpaint, OptionError
from sendoff.integrations.celery import dispatcher_of, install
from sendoff.sink import SinkProcess

memory = pytest.fixture(in_memory)
sink = pytest.fixture(scope="module")(a_sink)

USED = (
    signals.task_prerun,
    signals.task_postrun,
    signals.worker_init,
    signals.worker_process_init,
    signals.worker_process_shutdown,
    signals.worker_shutdown,
)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Celery's signals are the process's: each test leaves them as they were."""
    before = [list(one.receivers) for one in USED]
    yield
    for one, receivers in zip(USED, before, strict=True):
        one.receivers[:] = receivers


def app_of(memory: Memory) -> Celery:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    track = memory.dispatcher.track

    @app.task(name="plain", shared=False)
    def plain(user: str) -> None:
        track("plain", device_id="d")

    @app.task(name="outer", shared=False)
    def outer(user: str) -> None:
        track("before", device_id="d")
        plain.apply(("u-inner",))
        track("behind", device_id="d")

    @app.task(name="boom", shared=False)
    def boom(user: str) -> None:
        track("boom", device_id="d")
        raise ZeroDivisionError

    @app.task(name="again", shared=False, bind=True, max_retries=1)
    def again(self: Task, user: str) -> None:
        track(f"try {self.request.retries}", device_id="d")
        raise self.retry(countdown=0)

    return app


def who(task: Task) -> dict[str, str]:
    return {"user_id": task.request.args[0]}


def test_what_a_task_binds_is_in_its_events_and_no_others(memory: Memory) -> None:
    """A task within a task has its own; those that fail or are tried again leave nothing bound."""
    app = app_of(memory)
    install(app, memory.dispatcher, context=who)
    for name in ("plain", "outer", "boom", "again"):
        app.tasks[name].apply((f"u-{name}",))
        memory.dispatcher.track("outside", device_id="d")
    users = [(event["event"], event["distinct_id"]) for event in memory.events]
    assert [pair for pair in users if pair[0] != "outside"] == [
        ("plain", "u-plain"),
        ("before", "u-outer"),
        ("plain", "u-inner"),
        ("behind", "u-outer"),
        ("boom", "u-boom"),
        ("try 0", "u-again"),
        ("try 1", "u-again"),
    ]
    assert users.count(("outside", "d")) == 4


def test_another_apps_tasks_are_left_alone(memory: Memory) -> None:
    """Celery's signals are for all apps of a process; a binding is for its own."""
    install(app_of(memory), memory.dispatcher, context=who)
    app_of(memory).tasks["plain"].apply(("u-1",))
    assert memory.events[0]["distinct_id"] == "d"


def test_a_context_that_raises_costs_no_task(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """What `context` raises is said once, and the task runs unbound."""
    app = app_of(memory)
    install(app, memory.dispatcher, context=lambda task: {"user_id": task.nobody})
    results = [app.tasks["plain"].apply(("u-1",)).state for _ in range(2)]
    assert results == ["SUCCESS", "SUCCESS"]
    assert [event["distinct_id"] for event in memory.events] == ["d", "d"]
    told = [line for line in caplog.messages if line.startswith("the context")]
    assert told == ["the context of requests is not bound: AttributeError (told once)"]


def test_without_a_context_a_task_costs_nothing(memory: Memory) -> None:
    """Nothing listens to tasks if nothing is to be bound."""
    before = [len(signals.task_prerun.receivers), len(signals.task_postrun.receivers)]
    install(app_of(memory), memory.dispatcher)
    after = [len(signals.task_prerun.receivers), len(signals.task_postrun.receivers)]
    assert after == before


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_workers_process_opens_and_closes(memory: Memory, pool: str) -> None:
    """A child starts its thread; at the end all is sent; the next worker opens it again."""
    begins = signals.worker_process_init if pool == "prefork" else signals.worker_init
    ends = signals.worker_process_shutdown if pool == "prefork" else signals.worker_shutdown
    install(app_of(memory), memory.dispatcher)
    for life in (1, 2):
        begins.send(sender="worker")
        if pool == "prefork":
            assert "running" in repr(memory.dispatcher)
        memory.dispatcher.track("x", device_id="d")
        ends.send(sender="worker", pid=1, exitcode=0)
        assert "closed" in repr(memory.dispatcher)
        assert len(memory.sent) == life


def test_the_dispatcher_is_found_again(memory: Memory) -> None:
    """By the app and by a task of its; not where none was installed."""
    app = app_of(memory)
    with pytest.raises(LookupError, match="no dispatcher here"):
        dispatcher_of(app)
    install(app, memory.dispatcher)
    assert dispatcher_of(app) is memory.dispatcher
    assert dispatcher_of(app.tasks["plain"]) is memory.dispatcher


def test_what_cannot_work_is_refused(memory: Memory) -> None:
    """A dispatcher that needs a loop, and a second one."""
    app = app_of(memory)
    with pytest.raises(OptionError, match="blocking must be True for Celery"):
        install(app, Dispatcher(Freshpaint(token="t")))
    install(app, memory.dispatcher)
    with pytest.raises(RuntimeError, match="already"):
        install(app, memory.dispatcher)


# --- the example's worker -------------------------------------------------------------------------

LIVE = """
from celery_app import app, ship

app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{
        "data_folder_in": {queue!r}, "data_folder_out": {queue!r}, "polling_interval": 0.02,
    }},
    result_backend="file://{results}",
    worker_hijack_root_logger=False,
)
"""
SEND = "import sys, live\nfor n in range(int(sys.argv[1])): live.ship.delay(f'o-{n}', f'u-{n}')"
TASKS = 400


def results_in(folder: Path) -> set[str]:
    """
    What tasks that are done have returned: their orders.
    """
    found = set()
    for path in folder.iterdir():
        try:
            found.add(json.loads(path.read_text())["result"])
        except ValueError:  # being written
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "pool",
    [
        ["--pool", "prefork", "--concurrency", "2"],
        ["--pool", "threads", "--concurrency", "2"],
    ],
    ids=["prefork", "threads"],
)
def test_a_worker_that_is_stopped_in_the_middle_loses_nothing(
    sink: SinkProcess, tmp_path: Path, pool: list[str]
) -> None:
    """The event of every task that is done is at both vendors, once, with the task's user."""
    sink.reset()
    queue, results = tmp_path / "queue", tmp_path / "results"
    queue.mkdir()
    results.mkdir()
    (tmp_path / "live.py").write_text(LIVE.format(queue=str(queue), results=results))
    env = environment(sink, PYTHONUNBUFFERED="1")
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    with running(["-c", SEND, str(TASKS)], env, tmp_path) as producer:
        assert producer.wait(60) == 0, output_of(tmp_path)
    worker = ["-m", "celery", "--app", "live", "worker", *pool, "--loglevel", "WARNING"]
    with running([*worker, "--without-gossip", "--without-mingle"], env, tmp_path) as process:
        deadline = time.monotonic() + 60
        while len(list(results.iterdir())) < 100:
            assert process.poll() is None, output_of(tmp_path)
            assert time.monotonic() < deadline, output_of(tmp_path)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    done = results_in(results)
    assert 100 <= len(done) < TASKS
    arrived_once(sink, done, output_of(tmp_path))
    pairs = {(one["order"], one["usr"]["id"]) for one in sink.events("datadog")}
    assert pairs == {(order, order.replace("o", "u")) for order in done}
