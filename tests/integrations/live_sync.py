"""
What the tests of frameworks and workers share: a blocking dispatcher in memory, the examples'
processes under load, and what has arrived.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from live import stop_under_load
from sendoff import Dispatcher, Freshpaint, MemoryTransport
from sendoff.sink import Settings, SinkProcess

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


class Memory:
    """
    A blocking dispatcher whose vendor is in memory.
    """

    def __init__(self, **options: Any) -> None:
        self.transport = MemoryTransport()
        self.dispatcher = Dispatcher(
            Freshpaint(token="t"),
            blocking=True,
            transport=self.transport,
            **options,
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """
        Every event given so far, in order: its name and what was bound.
        """
        assert self.dispatcher.flush_blocking(timeout=10)
        return self.sent

    @property
    def sent(self) -> list[dict[str, Any]]:
        """
        Every event that the vendor has by now.
        """
        found: list[dict[str, Any]] = []
        for request in self.transport.requests:
            body = json.loads(request.body)
            found += [_own(event) for event in (body if isinstance(body, list) else [body])]
        return found


def _own(event: dict[str, Any]) -> dict[str, Any]:
    properties = event["properties"]
    vendors = {"token", "time", "$insert_id"}
    return {"event": event["event"]} | {k: v for k, v in properties.items() if k not in vendors}


def in_memory() -> Iterator[Memory]:
    """
    To be made a fixture.
    """
    made = Memory()
    yield made
    made.dispatcher.close(timeout=5)


def a_sink() -> Iterator[SinkProcess]:
    """
    To be made a fixture.
    """
    with SinkProcess(Settings(keep_events=100_000)) as process:
        yield process


def environment(sink: SinkProcess, **more: str) -> dict[str, str]:
    """
    That of an example: credentials, and the sink in the place of both vendors.
    """
    paths = [str(EXAMPLES), *(str(Path(entry).resolve()) for entry in sys.path if entry)]
    return {
        **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
        "PYTHONPATH": os.pathsep.join(paths),
        "DD_API_KEY": "k",
        "DD_APPLICATION_ID": "a",
        "DD_ENDPOINT": sink.datadog_endpoint,
        "FRESHPAINT_TOKEN": "t",
        "FRESHPAINT_ENDPOINT": sink.freshpaint_endpoint,
        **more,
    }


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """
    A process of an example's, whose output is in ``folder/output``; killed if it is still there.
    """
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=dict(env),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def output_of(folder: Path) -> str:
    return (folder / "output").read_text()


def arrived_once(sink: SinkProcess, orders: set[str], said: str = "") -> None:
    """
    Raises unless the event of each order is at both vendors, and no order there twice; others may
    be there whose answer or result never came.
    """
    arrived = {
        "datadog": Counter(one["order"] for one in sink.events("datadog")),
        "freshpaint": Counter(one["properties"]["order"] for one in sink.events("freshpaint")),
    }
    for vendor, counts in arrived.items():
        missing = orders - counts.keys()
        assert not missing, f"{vendor}: {len(missing)} of {len(orders)} did not arrive\n{said}"
        assert set(counts.values()) == {1}, vendor


_users = (f"u-{number}" for number in itertools.count())


def place_order(connection: http.client.HTTPConnection) -> tuple[str, str] | None:
    """
    Places an order as somebody new; the order and who placed it.
    """
    user = next(_users)
    headers = {"x-user": user, "content-type": "application/json"}
    connection.request("POST", "/orders", json.dumps({"amount": 9.99}), headers)
    response = connection.getresponse()
    body = response.read()
    return (json.loads(body)["order"], user) if response.status == 200 else None


def check_a_stop_under_load(
    command: Sequence[str], sink: SinkProcess, folder: Path, **more: str
) -> None:
    """
    Raises unless an example's server that is stopped under load has every order that it answered
    arrive at both vendors, once, with its own user.

    Args:
        command: What follows ``python -m``, as for `stop_under_load`.
        sink: In the place of both vendors.
        folder: Where it runs.
        more: Variables of its environment.
    """
    sink.reset()
    stopped = stop_under_load(
        command, place_order, folder=folder, environment=environment(sink, **more)
    )
    assert "events are left" not in stopped.output
    users = dict(stopped.answers)
    arrived_once(sink, set(users), stopped.output)
    datadog = {one["order"]: one["usr"]["id"] for one in sink.events("datadog")}
    freshpaint = {
        one["properties"]["order"]: one["properties"]["distinct_id"]
        for one in sink.events("freshpaint")
    }
    for arrived in (datadog, freshpaint):
        assert {order: arrived[order] for order in users} == users


needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")
