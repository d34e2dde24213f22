"""
The example apps in real servers that are stopped under load.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from integrations.live_sync import a_sink, check_a_stop_under_load
from sendoff.sink import SinkProcess

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


sink = pytest.fixture(scope="module")(a_sink)


@pytest.mark.parametrize(
    "server",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SERVERS],
)
def test_an_example_that_is_stopped_under_load_loses_nothing(
    sink: SinkProcess, tmp_path: Path, server: str
) -> None:
    """Every order that was answered arrives at both vendors, once, with its own user."""
    # A connection without a pause is served on for so long, and the clients make none.
    grace = {"SANIC_GRACEFUL_SHUTDOWN_TIMEOUT": "0.5"}
    check_a_stop_under_load(SERVERS[server], sink, tmp_path, **grace)
