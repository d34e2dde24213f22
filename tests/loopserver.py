"""
A server in a test's own loop, on loopback: what the raw server and the neighbours have in common.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from types import TracebackType
from typing import Self

__all__ = ["LoopServer", "turns"]


async def turns(count: int = 4) -> None:
    """
    Lets both sides read what the other has written.
    """
    for _ in range(count):
        await asyncio.sleep(0)


class LoopServer:
    """
    `async with` runs it. Its end cuts all connections, and raises what serving one has raised.

    Args:
        tls: How it speaks TLS; None for plain HTTP.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.connections = 0
        self.ended = 0  # connections that are served no longer
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[Exception] = []
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Serves one connection, which is closed when this returns.
        """
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 16
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if isinstance(self._server, asyncio.Server) and sys.version_info >= (3, 13):
            self._server.abort_clients()  # in the middle of a handshake
        # Turns alone are not enough for the client of older versions of aiohttp: what it has closed
        # is over when the selector has been asked once more.
        await asyncio.sleep(0.01)
        if error is None and self._faults:
            raise self._faults[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.serve(reader, writer)
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        except Exception as exc:
            self._faults.append(exc)
        finally:
            self.ended += 1
            self._tasks.discard(task)
            writer.close()
