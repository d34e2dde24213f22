"""
A connection of the sink, and the ways in which it misbehaves below HTTP.

After `misbehave` the connection is closed or closing, and aiohttp silently drops whatever answer
its handler still returns.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from sendoff.sink.faults import Kind

if TYPE_CHECKING:
    from sendoff.sink.contract import Verdict

# Above either vendor's limit, so that what is cut off here is refused there all the same.
MAX_WIRE_BYTES = 12_000_000

# SO_LINGER with no time makes closing a socket send RST where it would send FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(web.RequestHandler):
    """
    A connection that knows when its last bytes came in and when its client has gone.
    """

    __slots__ = ("arrived", "gone")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin with a client that is there and has sent nothing.
        """
        self.arrived: float = 0.0
        self.gone: asyncio.Event = asyncio.Event()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """
        Note the moment: under load, handlers run well after their requests came in.
        """
        self.arrived = time.monotonic()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        Wake who waits for the client to go.
        """
        self.gone.set()
        super().connection_lost(exc)


async def read_body(request: web.BaseRequest) -> tuple[bytes, int]:
    """
    The body, cut off at `MAX_WIRE_BYTES`, and how many bytes it had in truth.

    Args:
        request: its body has not been read.

    Raises:
        ConnectionError: the client went away before its end.
        aiohttp.web.RequestPayloadError: it is not framed as HTTP asks.
    """
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size - len(chunk) < MAX_WIRE_BYTES:
            chunks.append(chunk)
    return b"".join(chunks), size


async def misbehave(connection: Connection, kind: Kind, verdict: Verdict | None) -> None:
    """
    Do to a connection what a fault below HTTP does.

    Args:
        connection: its request has been read.
        kind: one that does not answer by itself.
        verdict: what the vendor would answer, for those kinds that let some of it through.
    """
    if kind is Kind.HANG:
        await connection.gone.wait()
    transport = connection.transport
    if transport is None:
        return
    if kind in (Kind.RESET, Kind.RESET_BEFORE):
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        transport.abort()
    elif verdict is not None:
        transport.write(_raw(verdict, missing=kind is Kind.TRUNCATE))
        transport.close()


def _raw(verdict: Verdict, *, missing: bool) -> bytes:
    body = verdict.body[:-1] if missing else verdict.body
    lines = [
        f"HTTP/1.1 {verdict.status} {HTTPStatus(verdict.status).phrase}",
        *(f"{name}: {value}" for name, value in verdict.headers),
        f"Content-Length: {len(verdict.body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
