"""
What tests over sockets have in common: connections that end with their test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

from sendoff.sink import SinkProcess

PATIENCE = 5.0


@pytest.fixture
def connect(sink: SinkProcess) -> Iterator[Callable[[], HTTPConnection]]:
    """
    Opens connections to the sink that are closed when the test is over.
    """
    opened: list[HTTPConnection] = []

    def connect() -> HTTPConnection:
        port = int(sink.url.rpartition(":")[2])
        opened.append(HTTPConnection("127.0.0.1", port, timeout=PATIENCE))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
