"""
The example apps of Django and Flask in real servers that are stopped under load.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from integrations.live_sync import a_sink, check_a_stop_under_load
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


@pytest.mark.parametrize(
    "server",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SERVERS],
)
def test_an_example_that_is_stopped_under_load_loses_nothing(
    sink: SinkProcess, tmp_path: Path, server: str
) -> None:
    """Every order that was answered arrives at both vendors, once, with its own user."""
    check_a_stop_under_load(SERVERS[server], sink, tmp_path)
