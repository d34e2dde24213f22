"""
The real transport, on aiohttp's ClientSession; the only place that uses aiohttp's client.

Importing this module loads aiohttp, which takes 0.4 s; a dispatcher does that when it starts.
Always holds: no redirect is followed, no cookie kept, no deadline set here but the one for the rest
of an answer whose status is already known. Failures come in three kinds, told apart in this order:
not sent, perhaps sent, answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
import anyio
from aiohttp.abc import AbstractStreamWriter

from sendoff.errors import TransportError
from sendoff.events import Request, Response

__all__ = ["HttpTransport"]

ANSWER_BYTES = 64 * 1024
"""Bytes of an answer's body that are read; the vendors' own are below 1 KB."""

ANSWER_SECONDS = 5.0
"""
Seconds for the body of an answer whose status is known: the status decides, the body only explains.
"""

KEEPALIVE_SECONDS = 15.0
"""
Seconds that an idle connection is kept: less than the gateways' 60, so that they rarely close it
first.
"""

PIECE = 1 << 18
"""Bytes that are written in one go, so that the loop can breathe during a large body."""


class HttpTransport:
    """
    One ClientSession for the time between `open` and `aclose`.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """
        Makes the session.
        """
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the lanes' workers are the limit
                keepalive_timeout=KEEPALIVE_SECONDS,
                ttl_dns_cache=60,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sendoff", "Accept-Encoding": "identity"},
        )

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One POST.
        """
        if self._session is None:
            raise TransportError("connect", perhaps_sent=False)
        body = _Body(request.body, sent)
        try:
            async with self._session.post(
                request.url,
                data=body,
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                return Response(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _body_of(response),
                )
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _translated(exc) from exc
        except asyncio.CancelledError:
            body.abort()
            raise

    async def aclose(self) -> None:
        """
        Closes the session and its connections.
        """
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


class _Body(aiohttp.Payload):
    """
    A request's body that says when it is written: aiohttp holds the head back until then, and a
    trace of the head alone would be too early by up to 30 ms.
    """

    def __init__(self, body: bytes, sent: Callable[[], None]) -> None:
        super().__init__(body)
        self._body = body
        self._sent = sent
        self._transport: asyncio.WriteTransport | None = None  # once the body is being written

    @property
    def size(self) -> int:
        return len(self._body)

    @property
    def autoclose(self) -> bool:
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        body = self._body
        self._transport = writer.transport
        await writer.write(body[:PIECE])
        self._sent()
        for start in range(PIECE, len(body), PIECE):
            await writer.write(body[start : start + PIECE])

    def abort(self) -> None:
        """
        Cuts the connection at once. To close it, as aiohttp does, first waits for what is still to
        be written: at a vendor that does not read, for ever.
        """
        if self._transport is not None:
            self._transport.abort()

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        await self.write(writer)


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """
    The start of an answer's body, or what came of it: an answer that breaks off is an answer.
    """
    pieces = bytearray()
    with anyio.move_on_after(ANSWER_SECONDS):
        try:
            while len(pieces) < ANSWER_BYTES:
                piece = await response.content.read(ANSWER_BYTES - len(pieces))
                if not piece:
                    return bytes(pieces)
                pieces += piece
        except (aiohttp.ClientError, OSError):
            pass
    response.close()  # the rest is not wanted, and would block the connection
    return bytes(pieces)


def _translated(exc: Exception) -> TransportError:
    """
    Our word for a failure, and whether the vendor may have seen the request.
    """
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return TransportError("resolve", perhaps_sent=False)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return TransportError("tls", perhaps_sent=False)
    if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return TransportError("connect", perhaps_sent=False)
    if isinstance(exc, aiohttp.ServerTimeoutError):
        return TransportError("timeout", perhaps_sent=True)
    if isinstance(exc, aiohttp.ServerDisconnectedError | OSError):
        # Most often a kept-alive connection that the vendor had just closed.
        return TransportError("disconnected", perhaps_sent=True)
    return TransportError("bad_answer", perhaps_sent=True)
