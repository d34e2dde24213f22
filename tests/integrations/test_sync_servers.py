"""
The example apps of Django and Flask in real servers that are stopped under load.
"""

from __future__ import annotations

import http.client
import itertools
import json
from pathlib import Path

import pytest

from integrations.live_sync import a_sink, arrived_once, environment
from live import stop_under_load
from sendoff.sink import SinkProcess

WORKERS = ("--workers", "2", "--bind", "127.0.0.1:{port}")

SERVERS = {
    "flask on gunicorn, preloaded": ["gunicorn", "flask_app:app", "--preload", *WORKERS],
    "flask on gunicorn, threads": [
        *("gunicorn", "flask_app:app", "-k", "gthread", "--threads", "2", *WORKERS),
    ],
    "django on gunicorn": ["gunicorn", "django_app:wsgi_application", *WORKERS],
    "django on uvicorn": ["uvicorn", "django_app:application", "--port", "{port}"],
}

QUICK = "flask on gunicorn, threads"

sink = pytest.fixture(scope="module")(a_sink)

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
    stopped = stop_under_load(SERVERS[server], ask, folder=tmp_path, environment=environment(sink))
    assert "events are left" not in stopped.output
    arrived_once(sink, {order for order, _ in stopped.answers}, stopped.output)
    users = {one["order"]: one["usr"]["id"] for one in sink.events("datadog")}
    assert all(users[order] == user for order, user in stopped.answers)
