"""
Servers in processes of their own, asked by several clients at once and stopped in the middle.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

AnswerT = TypeVar("AnswerT")

CLIENTS = 4

ANSWERS = 300
"""
After how many answers a server is stopped.
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Clients(Generic[AnswerT]):
    """
    A few clients that ask without a pause until the server is gone, and keep what it answered.

    Args:
        port: The server's, on loopback.
        ask: Makes one request over a connection; None from it is no answer to keep.
    """

    def __init__(
        self, port: int, ask: Callable[[http.client.HTTPConnection], AnswerT | None]
    ) -> None:
        self._port = port
        self._ask = ask
        self.answers: list[AnswerT] = []
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self._gone.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._gone.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                while not self._gone.is_set():
                    answer = self._ask(connection)
                    if answer is not None:
                        self.answers.append(answer)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()


class Stopped(NamedTuple):
    """
    What a server has done until it was stopped.
    """

    answers: list[Any]
    output: str
    seconds: float  # from the signal to the end


def stop_under_load(
    command: Sequence[str],
    ask: Callable[[http.client.HTTPConnection], Any],
    *,
    folder: Path,
    environment: Mapping[str, str],
    is_up: Callable[[list[Any]], bool] = lambda answers: True,
) -> Stopped:
    """
    Runs a server, loads it, and stops it by SIGTERM after `ANSWERS` answers.

    Args:
        command: What follows ``python -m``; ``{port}`` in it is a free one, which the variable
            ``PORT`` names as well.
        ask: Makes one request over a connection; None from it is no answer.
        folder: Where it runs.
        environment: Variables beside those of this process.
        is_up: Whether all workers are there, by the answers: gunicorn forgets to tell one that it
            was just starting, and waits 30 s for it.
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command)],
        cwd=folder,
        env={**os.environ, "PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    clients = Clients(port, ask)
    clients.start()
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if len(clients.answers) >= ANSWERS and is_up(clients.answers):
                break
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0]
        seconds = time.monotonic() - began
    finally:
        clients.join()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its workers hold the pipe, too
            process.communicate()
    assert len(clients.answers) >= ANSWERS, output
    return Stopped(clients.answers, output, seconds)
