"""
The real transport, on aiohttp's ClientSession; the only place that uses aiohttp's client, imported
when it opens.

Always holds: no redirect is followed, no cookie kept, no deadline set here but the one for the rest
of an answer whose status is already known. Failures come in three kinds, told apart in this order:
not sent, perhaps sent, answered.
"""

from __future__ import annotations

import io
import ssl
import sys
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from sendoff.errors import TransportError
from sendoff.events import Request, Response

if TYPE_CHECKING:
    import aiohttp

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

LARGE_BODY = 1 << 16
"""Bytes above which a body is written in pieces, so that the loop can breathe."""


class HttpTransport:
    """
    One ClientSession for the time between `open` and `aclose`.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """
        Makes the session; aiohttp itself is loaded in a worker thread, as that takes 0.4 s.
        """
        if "aiohttp" not in sys.modules:
            await anyio.to_thread.run_sync(import_module, "aiohttp")
        import aiohttp

        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_headers_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the lanes' workers are the limit
                keepalive_timeout=KEEPALIVE_SECONDS,
                ttl_dns_cache=60,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sendoff", "Accept-Encoding": "identity"},
            trace_configs=[tracing],
        )

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One POST.
        """
        if self._session is None:
            raise TransportError("connect", perhaps_sent=False)
        import aiohttp

        body: bytes | io.BytesIO = request.body
        if len(request.body) > LARGE_BODY:
            body = io.BytesIO(request.body)
        try:
            async with self._session.post(
                request.url,
                data=body,
                headers=request.headers,
                allow_redirects=False,
                trace_request_ctx=sent,
            ) as response:
                return Response(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _body_of(response),
                )
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _translated(exc) from exc

    async def aclose(self) -> None:
        """
        Closes the session and its connections.
        """
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


async def _headers_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: Any
) -> None:
    context.trace_request_ctx()


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """
    The start of an answer's body, or what came of it: an answer that breaks off is an answer.
    """
    import aiohttp

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
    import aiohttp

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
