"""
The session lane: aiohttp's ClientSession, for what the fast lane does not know; the only place that
uses aiohttp's client.

No error carries one of aiohttp's, whose reprs show headers.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable

import aiohttp
import anyio
from aiohttp.abc import AbstractStreamWriter

from sendoff.errors import OptionError, TransportError
from sendoff.events import Request, Response
from sendoff.transports.failures import Refusals, named
from sendoff.transports.limits import ANSWER_BYTES, ANSWER_SECONDS, KEEPALIVE_SECONDS, PIECE
from sendoff.transports.resolver import Resolver

__all__ = ["SessionLane"]

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)


class SessionLane:
    """
    One ClientSession for the time between `open` and `aclose`, or one that was given.

    Args:
        session: As `HttpTransport` takes it.

    Raises:
        OptionError: The session is something else.
    """

    def __init__(self, session: aiohttp.ClientSession | None) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise OptionError(
                f"session must be an aiohttp.ClientSession, not {type(session).__name__}"
            )
        self._given = session
        self._refusals = Refusals()
        # All mutable state.
        self._session: aiohttp.ClientSession | None = None
        self._parents: list[aiohttp.ClientSession] = []  # a forked child must not finalize them

    def open(self, *, is_child: bool) -> None:
        """
        Makes the session, if none was given.

        Args:
            is_child: Whether what there is so far belongs to the process that this one was forked
                from.
        """
        if is_child:
            self._parents += [one for one in (self._given, self._session) if one is not None]
            if self._given is not None:
                self._session = None  # its connections are the parent's
                return
        if self._given is not None:
            self._session = self._given
            return
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the lanes' workers are the limit
                keepalive_timeout=KEEPALIVE_SECONDS,
                ttl_dns_cache=60,
                resolver=Resolver(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sendoff", "Accept-Encoding": "identity"},
        )
        # What OpenTelemetry, Sentry and others put into every new session: our requests are none of
        # the app's spans, and their headers nothing for a vendor. A session that was given keeps
        # its own.
        self._session.trace_configs.clear()

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One POST.
        """
        session = self._session
        if session is None or session.closed:
            failure = "connect" if self._given is None else "session"
            raise TransportError(failure, perhaps_sent=False)
        if any("\0" in text for header in request.headers.items() for text in header):
            raise TransportError("bad_answer", perhaps_sent=False)  # aiohttp up to 3.13 sends it
        body = _Body(request.body, sent)
        try:
            async with session.post(
                request.url,
                data=body,
                headers=request.headers,
                allow_redirects=False,
                raise_for_status=False,
                timeout=NO_TIMEOUT,
                ssl=request.ssl or True,  # True: the session's own way, which is to verify
                proxy=request.proxy,
            ) as response:
                self._refusals.answered(request.url, request.ssl)
                return Response(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _body_of(response),
                )
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            failure, detail = _named(exc)
        except RuntimeError as exc:
            # Of another loop; or no thread can be started any more.
            failure = "connect" if self._given is None else "session"
            detail = type(exc).__name__
        except asyncio.CancelledError:
            body.abort()
            raise
        if body.is_begun:
            failure = self._refusals.judged(failure, request.url, request.ssl)
        elif request.proxy is not None and failure in IN_A_TUNNEL:
            failure = "proxy"
        # Out here, so that it does not carry aiohttp's.
        raise TransportError(failure, perhaps_sent=body.is_begun, detail=detail)

    async def aclose(self) -> None:
        """
        Closes the session and its connections; one that was given stays open.
        """
        session, self._session = self._session, None
        if session is not None and session is not self._given:
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
        self.is_begun = False
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
        self.is_begun = True
        self._transport = writer.transport
        try:
            await writer.write(body[:PIECE])
        finally:
            self._sent()  # also if it was cut off: a part may have left
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


IN_A_TUNNEL = ("disconnected", "bad_answer")
"""Failures that are the proxy's as long as nothing was written to the vendor."""

REFUSALS = (401, 403, 405, 407)
"""Answers of a proxy to CONNECT that no later try will change."""


def _named(exc: Exception) -> tuple[str, str]:
    """
    Our word for a failure, and what else may be said of it: words of OpenSSL's and of the system's,
    never aiohttp's, which may show a URL with credentials.
    """
    error = _cause(exc)
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        refused = exc.status in REFUSALS
        return ("proxy_refused" if refused else "proxy"), f"it answered {exc.status}"
    if isinstance(error, ssl.SSLError):
        return named(error, connecting=isinstance(exc, aiohttp.ClientConnectorError))
    if isinstance(exc, ssl.CertificateError | aiohttp.ServerFingerprintMismatch):
        return "tls", type(exc).__name__
    detail = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return "resolve", ""  # the resolver's numbers are no system's
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return "proxy", detail
    if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return "connect", detail
    if isinstance(exc, aiohttp.ServerTimeoutError):
        return "timeout", ""
    if isinstance(exc, aiohttp.ServerDisconnectedError | OSError):
        # Most often a kept-alive connection that the vendor had just closed.
        return "disconnected", detail
    return "bad_answer", type(exc).__name__


def _cause(exc: Exception) -> BaseException:
    """
    What aiohttp has wrapped.
    """
    inner = getattr(exc, "certificate_error", None) or getattr(exc, "os_error", None)
    if isinstance(inner, BaseException):
        return inner
    return exc.__cause__ if isinstance(exc.__cause__, OSError) else exc
