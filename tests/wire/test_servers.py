"""
Real servers that are stopped under load: whatever a client had an answer for has been delivered.

The apps are plain ASGI and WSGI, so the servers' own behaviour is all there is. Each answer carries
the id of the event that its request gave away.
"""

from __future__ import annotations

import http.client
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from live import stop_under_load
from sendoff.sink import SinkProcess

pytestmark = pytest.mark.slow

COMMON = """
import os
from sendoff import Datadog, Dispatcher, Freshpaint

def make(**options):
    return Dispatcher(
        Datadog(
            api_key="k",
            application_id="a",
            endpoint=os.environ["DATADOG"],
            id_attribute="insert_id",
            flush_interval=0.2,
        ),
        Freshpaint(token="t", endpoint=os.environ["FRESHPAINT"]),
        shutdown_timeout=float(os.environ["SHUTDOWN"]),
        **options,
    )

"""

ASGI = """
dispatcher = make()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await dispatcher.aclose()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = dispatcher.track("request", user_id="u").encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

WSGI = """
dispatcher = make(blocking=True)

def app(environ, start_response):
    body = dispatcher.track("request", user_id="u").encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

AT_IMPORT = """
print("import", dispatcher.track("import", user_id="u"), flush=True)
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


SERVERS = {
    "uvicorn": (ASGI, ["uvicorn", "app:app", "--port", "{port}"], 0),
    "uvicorn with two workers": (
        ASGI,
        ["uvicorn", "app:app", "--port", "{port}", "--workers", "2"],
        0,
    ),
    "hypercorn": (ASGI, ["hypercorn", "app:app", "--bind", "127.0.0.1:{port}"], 0),
    "gunicorn with uvicorn's workers": (
        ASGI,
        [
            *("gunicorn", "app:app", "-k", "uvicorn_worker.UvicornWorker", "-w", "2"),
            *("--bind", "127.0.0.1:{port}"),
        ],
        0,
    ),
    "gunicorn --preload -w 4": (
        WSGI + AT_IMPORT,
        ["gunicorn", "app:app", "--preload", "-w", "4", "--bind", "127.0.0.1:{port}"],
        1,
    ),
    "gunicorn -w 4": (
        WSGI + AT_IMPORT,
        ["gunicorn", "app:app", "-w", "4", "--bind", "127.0.0.1:{port}"],
        4,
    ),
}


class Stopped(NamedTuple):
    """
    What a server has done until it was stopped.
    """

    answered: list[str]
    at_import: list[str]
    output: str
    seconds: float  # from the signal to the end


def ask(connection: http.client.HTTPConnection) -> str | None:
    """
    The id of the event that a request has given away.
    """
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read().decode()
    return body if response.status == 200 else None


def run_and_stop(sink: SinkProcess, folder: Path, server: str, shutdown: float) -> Stopped:
    """
    Runs a server, loads it, and stops it after 300 answers.
    """
    code, command, _ = SERVERS[server]
    # Where a client keeps its connection, it keeps its worker, and the others may answer nobody.
    one_each = code.startswith(WSGI)
    workers = next((int(n) for flag, n in pairwise(command) if one_each and flag == "-w"), 1)
    (folder / "app.py").write_text(COMMON + code)
    stopped = stop_under_load(
        command,
        ask,
        folder=folder,
        environment={
            "PYTHONPATH": os.pathsep.join(
                [str(folder), *(str(Path(entry).resolve()) for entry in sys.path if entry)]
            ),
            "DATADOG": sink.datadog_endpoint,
            "FRESHPAINT": sink.freshpaint_endpoint,
            "SHUTDOWN": str(shutdown),
        },
        # Ids of one process begin alike.
        is_up=lambda answers: len({one.partition("-")[0] for one in answers}) >= workers,
    )
    lines = stopped.output.splitlines()
    at_import = [line.split()[1] for line in lines if line.startswith("import ")]
    return Stopped(stopped.answers, at_import, stopped.output, stopped.seconds)


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_stopped_under_load_loses_nothing(
    sink: SinkProcess, tmp_path: Path, server: str
) -> None:
    """Every answered request's event arrives at both vendors, once; so do those of the import."""
    sink.reset()
    sink.faults("latency 100ms")
    stopped = run_and_stop(sink, tmp_path, server, shutdown=10)
    assert len(stopped.at_import) == SERVERS[server][2], stopped.output
    assert "events are left" not in stopped.output
    answered = {*stopped.answered, *stopped.at_import}
    for vendor in ("datadog", "freshpaint"):
        arrived = Counter(sink.ids(vendor))
        missing = answered - arrived.keys()
        assert not missing, f"{vendor}: answered and not delivered\n{stopped.output}"
        assert set(arrived.values()) == {1}, vendor


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_with_a_dead_vendor_stops_in_time(
    sink: SinkProcess, tmp_path: Path, server: str
) -> None:
    """Each of its processes says how many events are left, and they are all."""
    sink.reset()
    sink.faults("hang")
    stopped = run_and_stop(sink, tmp_path, server, shutdown=1)
    left = re.findall(r"datadog ([0-9,]+) \(lost\), freshpaint ([0-9,]+) \(lost\)", stopped.output)
    for vendor in (0, 1):
        lost = sum(int(counts[vendor].replace(",", "")) for counts in left)
        # An answer that was under way when the server went may not have reached its client.
        given = len(stopped.answered) + len(stopped.at_import)
        assert given <= lost <= given + 16, stopped.output
    assert stopped.seconds < 10
