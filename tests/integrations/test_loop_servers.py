"""
The example apps in real servers that are stopped under load.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import stop_under_load
from sendoff.sink import Settings, SinkProcess

EXAMPLES = Path(__file__).parents[2] / "docs/examples"

SERVERS = {
    "fastapi on uvicorn": ["uvicorn", "fastapi_app:app", "--port", "{port}"],
    "fastapi on uvicorn, two workers": [
        *("uvicorn", "fastapi_app:app", "--port", "{port}", "--workers", "2"),
    ],
    "starlette on granian": [
        *("granian", "--interface", "asgi", "--port", "{port}", "starlette_app:app"),
    ],
    "starlette on hypercorn": ["hypercorn", "starlette_app:app", "--bind", "127.0.0.1:{port}"],
    "litestar on granian": [
        *("granian", "--interface", "asgi", "--port", "{port}", "litestar_app:app"),
    ],
    "quart on hypercorn": ["hypercorn", "quart_app:app", "--bind", "127.0.0.1:{port}"],
    # One worker: Sanic's main process hangs if it is stopped while one of several still starts.
    "sanic": ["sanic", "sanic_app:app", "--port", "{port}", "--no-motd"],
    "aiohttp by its runner": ["aiohttp_app"],
    "aiohttp on gunicorn": [
        *("gunicorn", "-k", "aiohttp.GunicornWebWorker", "--bind", "127.0.0.1:{port}"),
        "aiohttp_app:app",
    ],
}

QUICK = "fastapi on uvicorn"


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess(Settings(keep_events=100_000)) as process:
        yield process


_users = (f"u-{number}" for number in itertools.count())


def ask(connection: http.client.HTTPConnection) -> tuple[str, str] | None:
    """
    Places an order as somebody new; the order and who placed it.
    """
    user = next(_users)
    headers = {"x-user": user, "content-type": "application/json"}
    connection.request("POST", "/orders", json.dumps({"amount": 9.99}), headers)
    response = connection.getresponse()
    body = response.read()
    return (json.loads(body)["order"], user) if response.status == 200 else None


@pytest.mark.parametrize(
    "server",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SERVERS],
)
def test_an_example_that_is_stopped_under_load_loses_nothing(
    sink: SinkProcess, tmp_path: Path, server: str
) -> None:
    """Every order that was answered arrives at both vendors, once, with its own user."""
    sink.reset()
    stopped = stop_under_load(
        SERVERS[server],
        ask,
        folder=tmp_path,
        environment={
            "PYTHONPATH": os.pathsep.join(
                [str(EXAMPLES), *(str(Path(entry).resolve()) for entry in sys.path if entry)]
            ),
            "DD_API_KEY": "k",
            "DD_APPLICATION_ID": "a",
            "DD_ENDPOINT": sink.datadog_endpoint,
            "FRESHPAINT_TOKEN": "t",
            "FRESHPAINT_ENDPOINT": sink.freshpaint_endpoint,
            # A connection without a pause is served on for so long, and the clients make none.
            "SANIC_GRACEFUL_SHUTDOWN_TIMEOUT": "0.5",
        },
    )
    assert "events are left" not in stopped.output
    answered = Counter(stopped.answers)
    datadog = Counter((one["order"], one["usr"]["id"]) for one in sink.events("datadog"))
    freshpaint = Counter(
        (one["properties"]["order"], one["properties"]["distinct_id"])
        for one in sink.events("freshpaint")
    )
    assert not answered - datadog, stopped.output
    assert not answered - freshpaint, stopped.output
    assert {*datadog.values(), *freshpaint.values()} == {1}
