"""
A server whose every byte a test decides, and which checks with h11 what it is sent.

It runs in the test's own loop, on loopback. Each connection is handled by the test's own coroutine,
which reads requests through h11 and writes bytes as it likes. What h11 objects to is raised when
the server ends.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import h11

from loopserver import LoopServer, turns

__all__ = ["Arrival", "Peer", "RawServer", "turns"]


class Arrival(NamedTuple):
    """
    One whole request, as h11 understands it.
    """

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Peer:
    """
    The server's end of one connection.
    """

    def __init__(
        self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self.reader = reader
        self.writer = writer
        self._left = b""

    async def request(self, *, piece: int = 1 << 16) -> Arrival:
        """
        The next request; EOFError if there is none.

        Args:
            piece: Bytes to read at once.
        """
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        if self._left:
            parser.receive_data(self._left)
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.reader.read(piece)
                if not data:
                    raise EOFError
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self._left = parser.trailing_data[0]
                arrival = Arrival(head.method, head.target, list(head.headers), bytes(body))
                self._server.seen.append(arrival)
                return arrival

    async def write(self, *pieces: bytes) -> None:
        """
        Writes pieces, each seen by itself by whoever reads along.
        """
        for piece in pieces:
            self.writer.write(piece)
            await turns()

    def reset(self) -> None:
        """
        Ends with an RST, whatever is still under way.
        """
        wire = self.writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class RawServer(LoopServer):
    """
    `async with` runs it.

    Args:
        script: What to do with a connection; when it returns, the connection is closed.
        tls: How it speaks TLS; None for plain HTTP.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.script = script
        self.seen: list[Arrival] = []

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/in?a=b%20c"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.script(Peer(self, reader, writer))
