"""
A sink as a process of the caller's, with its counts at hand.

The process lives no longer than the context manager, nor than the process that opened it. All calls
block; each opens a connection of its own and waits `_TIMEOUT` seconds at most.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sendoff.sink.contract import PATHS
from sendoff.sink.settings import Settings, arguments
from sendoff.sink.stats import Stats

if TYPE_CHECKING:
    from sendoff.sink.checks import Event, Vendor

_TIMEOUT = 10.0
# A cold start imports aiohttp, which takes seconds on a busy machine.
_START_TIMEOUT = 30.0
_PATH_OF = {vendor: path for path, vendor in PATHS.items()}


class SinkProcess:
    """
    A context manager around a sink in a process of its own.

    Args:
        settings: what it takes and refuses; `None` is a sink that takes whatever the vendors would.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = replace(settings or Settings(), with_parent=True)
        # All mutable state: the process between `start` and `stop`, and the port it listens on.
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __repr__(self) -> str:
        state = self.url if self._process else "stopped"
        return f"<SinkProcess {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """
        Start the process and wait until it listens.

        Raises:
            RuntimeError: it ended, or did not listen in time; it has said why on stderr.
        """
        # The child finds this very package, however the parent came by it.
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self._process = process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sendoff.sink", *arguments(self._settings)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # a Ctrl-C is for whoever opened it, which then stops it
        )
        line = _first_line(process)
        if not line:
            self.stop()
            raise RuntimeError(f"the sink did not start; its exit status is {process.returncode}")
        self._port = json.loads(line)["port"]

    def stop(self) -> int | None:
        """
        The exit status of the process, which is now gone; `None` if there was none.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    @property
    def url(self) -> str:
        """
        Where it listens.
        """
        return f"http://127.0.0.1:{self._port}"

    @property
    def datadog_endpoint(self) -> str:
        """
        The full URL for Datadog's events.
        """
        return self.url + _PATH_OF["datadog"]

    @property
    def freshpaint_endpoint(self) -> str:
        """
        The full URL for Freshpaint's events.
        """
        return self.url + _PATH_OF["freshpaint"]

    def stats(self) -> Stats:
        """
        The counts as they stand.
        """
        return Stats.from_json(self._call("GET", "stats"))

    def ids(self, vendor: Vendor) -> list[str]:
        """
        The ids of all accepted events in order of acceptance, repeats included.

        Args:
            vendor: `"datadog"` or `"freshpaint"`.
        """
        found: list[str] = self._call("GET", f"ids?vendor={vendor}")
        return found

    def arrivals(self, vendor: Vendor) -> list[float]:
        """
        When the last 100,000 requests arrived, by the machine's monotonic clock.

        Args:
            vendor: `"datadog"` or `"freshpaint"`.
        """
        found: list[float] = self._call("GET", f"arrivals?vendor={vendor}")
        return found

    def events(self, vendor: Vendor, limit: int | None = None) -> list[Event]:
        """
        The last accepted events, newest last, as far as the sink has kept them.

        Args:
            vendor: `"datadog"` or `"freshpaint"`.
            limit: at most so many of them.
        """
        suffix = "" if limit is None else f"&limit={limit}"
        found: list[Event] = self._call("GET", f"events?vendor={vendor}{suffix}")
        return found

    def faults(self, *script: str) -> None:
        """
        Replace the faults; without any, all is well again.

        Args:
            script: one line for each, in the words of `parse_fault`.

        Raises:
            ValueError: a line makes no sense; the faults stay as they were.
        """
        self._call("POST", "faults", {"script": script})

    def reset(self) -> None:
        """
        Forget all counts; the faults stay.
        """
        self._call("POST", "reset")

    def _call(self, method: str, name: str, body: Any = None) -> Any:
        from http.client import HTTPConnection

        connection = HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, f"/_sink/{name}", json.dumps(body).encode())
            answer = connection.getresponse()
            data = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(data["error"])
        return data


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(_START_TIMEOUT) else b""
