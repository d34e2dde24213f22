"""
The floor: what a request costs with nothing around it but what an event loop demands.

A BufferedProtocol for each worker's own connection, a head prepared once, an answer of which only
the status and the one known length are looked at. It knows no fault, no other answer and no second
server; it is here to be measured against.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast
from urllib.parse import urlsplit

__all__ = ["Bare"]


class _Wire(asyncio.BufferedProtocol):
    """
    One connection.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._have = b""
        self.answer: asyncio.Future[int]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        have = self._have + bytes(self._buffer[:nbytes])
        if have.endswith(b"\r\n\r\n{}"):
            self._have = b""
            self.answer.set_result(int(have[9:12]))
        else:
            self._have = have


class Bare:
    """
    A client of one URL; each worker has a connection of its own.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._where: dict[str, Any] = {"host": parts.hostname, "port": parts.port}
        if context is not None:
            self._where["ssl"] = context
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/json\r\nAccept: application/json\r\n"
            "Accept-Encoding: identity\r\nUser-Agent: bare\r\nContent-Length: "
        ).encode()
        self._buffer = memoryview(bytearray(65536))
        self._all: list[_Wire] = []

    async def connect(self) -> _Wire:
        """
        One worker's connection.
        """
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: _Wire(self._buffer), **self._where)
        self._all.append(wire)
        return wire

    async def send(self, wire: _Wire, body: bytes) -> int:
        """
        One POST; its status.
        """
        wire.answer = asyncio.get_running_loop().create_future()
        wire.transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        return await wire.answer

    async def aclose(self) -> None:
        """
        Closes all.
        """
        for wire in self._all:
            wire.transport.abort()
        await asyncio.sleep(0.05)
