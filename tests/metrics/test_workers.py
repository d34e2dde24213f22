"""
The figures of gunicorn's workers, scraped as one through `prometheus_client`'s multiprocess mode.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

import sendoff
from sendoff.sink import SinkProcess

pytestmark = pytest.mark.slow

APP = """
import os

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from sendoff import Dispatcher, Freshpaint
from sendoff.metrics import prometheus

dispatcher = Dispatcher(Freshpaint(token="t", endpoint=os.environ["FRESHPAINT"]), blocking=True)
prometheus.register(dispatcher, name="web", interval=float(os.environ["INTERVAL"]))


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        body = generate_latest(registry)
    else:
        dispatcher.track("request", user_id="u")
        if environ["PATH_INFO"] == "/invalid":
            dispatcher.track("", user_id="u")
        body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

SETTINGS = """
from prometheus_client import multiprocess

bind = "127.0.0.1:0"
workers = 2
worker_class = "sync"


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


class Gunicorn:
    """
    A real gunicorn with two workers.
    """

    def __init__(self, folder: Path, sink: SinkProcess, *options: str, interval: float) -> None:
        (folder / "app.py").write_text(APP)
        (folder / "settings.py").write_text(SETTINGS)
        (folder / "figures").mkdir()
        self._log = (folder / "log").open("w+")
        paths = [str(folder), str(Path(sendoff.__file__).parents[1])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "settings.py", *options, "app:app"],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "FRESHPAINT": sink.freshpaint_endpoint,
                "INTERVAL": str(interval),
                "PROMETHEUS_MULTIPROC_DIR": str(folder / "figures"),
            },
            stderr=self._log,
        )
        found = until(lambda: re.search(r"127\.0\.0\.1:(\d+)", self.log()))
        self._port = int(found.group(1))
        until(lambda: self.log().count("Booting worker") == 2)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def figures(self) -> dict[str, float]:
        """
        What a scrape shows, by name and the values of its own labels.
        """
        return {
            " ".join(
                [sample.name, *(sample.labels[one] for one in sorted(sample.labels))]
            ): sample.value
            for family in parse(until(self._scraped))
            for sample in family.samples
        }

    def _scraped(self) -> str:
        # prometheus_client's own scrape fails where another worker has just made a file, and not
        # filled it yet.
        text = self.get("/metrics")
        return "" if text.startswith("<html>") and "struct.error" in self.log() else text

    def ask(self, most: int) -> dict[int, int]:
        """
        Asks until both workers have answered 8 times, and who answered how often.
        """
        answers: dict[int, int] = {}
        while len(answers) < 2 or min(answers.values()) < 8:
            pid = int(self.get("/"))
            answers[pid] = answers.get(pid, 0) + 1
            assert sum(answers.values()) < most, answers
        return answers

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(timeout=30) == 0, self.log()
        self._log.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


DELIVERED = "sendoff_events_total freshpaint web delivered "
SUBMITTED = "sendoff_events_submitted_total freshpaint web"


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_the_workers_figures_add_up_and_survive_a_worker(tmp_path, sink, options) -> None:
    """Sums over both are right; when one is replaced, counters stay and its gauges go."""
    server = Gunicorn(tmp_path, sink, *options, interval=0.1)
    try:
        asked = server.ask(most=2_000)
        total = sum(asked.values())
        until(lambda: server.figures()[DELIVERED] == total)
        figures = server.figures()
        assert figures[SUBMITTED] == total
        assert figures["sendoff_answers_total 200 freshpaint web"] == total
        assert figures["sendoff_events_pending freshpaint web"] == 0
        # A preloaded app's master has a dispatcher, too; it is given nothing.
        assert figures["sendoff_dispatcher_state web running"] == 2
        assert figures["sendoff_queue_events_limit freshpaint web"] == 100_000 * (2 + len(options))
        victim = next(iter(asked))
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.log().count("Booting worker") == 3)
        assert server.figures()[DELIVERED] == total
        again = server.ask(most=2_000)
        assert victim not in again
        total += sum(again.values())
        until(lambda: server.figures()[DELIVERED] == total)
        assert server.figures()["sendoff_dispatcher_state web running"] == 2
    finally:
        server.stop()


def test_what_the_last_flush_delivers_is_counted(tmp_path, sink) -> None:
    """A worker that is told to go writes once more after its last flush, long before its turn."""
    server = Gunicorn(tmp_path, sink, interval=3_600.0)
    try:
        sink.faults("latency 300ms on freshpaint")
        asked = server.ask(most=2_000)
        old = set(asked)
        os.kill(server._process.pid, signal.SIGHUP)  # both workers are replaced, gracefully
        until(lambda: server.log().count("Booting worker") == 4)
        until(lambda: server.log().count("Worker exiting") == 2)
        until(lambda: server.figures().get(DELIVERED) == sum(asked.values()))
        assert int(server.get("/")) not in old
    finally:
        sink.faults()
        server.stop()


MENDED = """
import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from sendoff import Dispatcher, Freshpaint
from sendoff.metrics import prometheus
from sendoff.metrics.shared import shared
from sendoff.testing import ScriptedVendors, run_virtual


def faults():
    shared.write()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    (family,) = (one for one in registry.collect() if one.name == "sendoff_fault")
    return {sample.labels["reason"]: sample.value for sample in family.samples}


async def main():
    vendors = ScriptedVendors("503 first 1")
    async with Dispatcher(Freshpaint(token="t"), transport=vendors) as dispatcher:
        prometheus.register(dispatcher)
        dispatcher.track("x", user_id="u")
        while not vendors.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        print(faults())
        await dispatcher.flush()
        print(faults())

run_virtual(main())
"""


def test_a_fault_that_is_over_is_shown_no_longer(tmp_path) -> None:
    """The files keep a figure until it is overwritten, so one that is gone becomes 0."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MENDED],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(sendoff.__file__).parents[1]),
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "{'server_error': 1.0}",
        "{'server_error': 0.0}",
    ], done.stderr
