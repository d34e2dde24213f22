"""
The fast lane: kept-alive connections of our own, prepared heads, answers through a C parser.

Always holds: no task and no timer is made for a request on a kept connection; one that cannot be
served so opens a connection, and nobody waits for another's; a request that is cancelled takes its
connection along and harms no other. What the lane does not know has no head (`heads`), and goes
by the session lane.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aiohappyeyeballs

from sendoff.errors import TransportError
from sendoff.events import Request, Response
from sendoff.transports.connection import READ_BYTES, Connection, Failure
from sendoff.transports.failures import Refusals, named
from sendoff.transports.heads import Origin, head_of
from sendoff.transports.limits import ANSWER_SECONDS, KEEPALIVE_SECONDS, PIECE
from sendoff.transports.resolver import AddressInfo, look_up
from sendoff.transports.shelf import Shelf
from sendoff.transports.tls import Tls

__all__ = ["FastLane"]

NEXT_ADDRESS_SECONDS = 0.25
"""Seconds until a name's next address is tried beside the one that is silent; RFC 8305's."""

ADDRESS_SECONDS = 60.0
"""Seconds that a name's addresses are used before it is looked up again."""

HANDSHAKE_SECONDS = 0.002
"""
Seconds from the beginning of one TLS handshake to that of the next. Each takes some 1.5 ms of our
processor: when a lane widens, a hundred at once would stall the loop that hosts us, and what
is sent behind them would arrive late, in a crowd (5,060 of 5,000 in a second).
"""

MOST_WAYS = 64
"""
Prepared heads that are kept: two for each destination are in use, more come and go with credentials
that change.
"""

VERIFYING = ssl.create_default_context()
"""
How TLS is spoken with the system's certificates. Made where this module is loaded, in a worker
thread: it takes 20 ms.
"""
VERIFYING.set_alpn_protocols(["http/1.1"])


class Way(NamedTuple):
    """
    Everything about a request but its body.

    Attributes:
        headers: What it was made for.
        start: The head, but for the length's figures.
        idle: Connections that can take it.
        origin: Where new ones lead.
        url: The request's URL.
    """

    headers: dict[str, str]
    start: bytes
    idle: Shelf[Connection]
    origin: Origin
    url: str


class FastLane:
    """
    The connections of one loop, from `__init__` to `aclose`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._refusals = Refusals()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._encrypted = memoryview(bytearray(READ_BYTES))
        self._late: Shelf[Connection] = Shelf(
            self._loop, ANSWER_SECONDS, Connection.give_up_the_rest
        )
        # All mutable state.
        self._ways: dict[tuple[str, int, ssl.SSLContext | None], Way] = {}
        self._idle: dict[Origin, Shelf[Connection]] = {}
        self._all: set[Connection] = set()
        self._addresses: dict[tuple[str, int], tuple[float, Sequence[AddressInfo]]] = {}
        self._closed: asyncio.Future[None] | None = None
        self._next_handshake = 0.0  # when it may begin, by the loop's clock

    def way_of(self, request: Request) -> Way | None:
        """
        What `send` needs, or None for a request that this lane does not know how to send.
        """
        headers = request.headers
        # By identity, because a destination's headers are the same object at every request; what
        # they say is compared, because they need not be, and because objects die and others get
        # their place.
        key = (request.url, id(headers), request.ssl)
        known = self._ways.get(key)
        if known is not None and known.headers == headers and request.proxy is None:
            return known
        head = head_of(request)
        if head is None:
            return None
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
            self._idle = {origin: shelf for origin, shelf in self._idle.items() if shelf}
        idle = self._idle.get(head.origin)
        if idle is None:
            idle = self._idle[head.origin] = Shelf(self._loop, KEEPALIVE_SECONDS, Connection.close)
        # A copy: mappings can be changed in place.
        way = self._ways[key] = Way(dict(headers), head.start, idle, head.origin, request.url)
        return way

    async def send(self, way: Way, body: bytes, sent: Callable[[], None]) -> Response:
        """
        One POST, as `Transport.send` wants it.
        """
        connection = way.idle.top()
        while connection is not None and connection.transport.is_closing():
            connection = way.idle.top()
        if connection is None and way.origin.secure:
            connection = await self._kept_meanwhile(way.idle)
        if connection is None:
            connection = await self._connected(way)
        answer = connection.begin()
        try:
            # One write: the head alone would be a packet of its own.
            try:
                connection.transport.write(
                    b"%b%d\r\n\r\n%b" % (way.start, len(body), body[:PIECE])  # no copy, if shorter
                )
            finally:
                sent()
            if len(body) > PIECE:
                await _write_on(connection, body)
            outcome = await answer
        except asyncio.CancelledError:
            if connection.answer is answer:
                connection.abort()
            raise
        except RuntimeError as exc:  # uvloop's, for a connection that is gone
            connection.abort()
            outcome = Failure("disconnected", type(exc).__name__)
        if isinstance(outcome, Failure):
            failure = self._refusals.judged(outcome.word, way.url, way.origin.context)
            raise TransportError(failure, perhaps_sent=True, detail=outcome.detail)
        if self._refusals.known:
            self._refusals.answered(way.url, way.origin.context)
        return outcome

    async def aclose(self) -> None:
        """
        Cuts every connection, and waits until their sockets are closed.
        """
        self._late.close()
        for idle in self._idle.values():
            idle.close()
        self._idle.clear()
        for connection in tuple(self._all):
            connection.abort()
        if self._all:
            self._closed = self._loop.create_future()
            await self._closed

    # --- connections ------------------------------------------------------------------------------

    async def _kept_meanwhile(self, idle: Shelf[Connection]) -> Connection | None:
        """
        Waits until the next handshake may begin.

        Returns:
            A connection that somebody else is done with by then, if there is one.
        """
        now = self._loop.time()
        begin = max(now, self._next_handshake)
        self._next_handshake = begin + HANDSHAKE_SECONDS
        if begin == now:
            return None
        await asyncio.sleep(begin - now)
        connection = idle.top()
        while connection is not None and connection.transport.is_closing():
            connection = idle.top()
        return connection

    async def _connected(self, way: Way) -> Connection:
        """
        A new connection.

        Raises:
            TransportError: There is none to be had.
        """
        origin = way.origin
        connection = Connection(self._loop, self._buffer, way.idle, self._late, self._lost)
        tls = None
        try:
            if origin.secure:
                context = origin.context or VERIFYING
                tls = Tls(
                    self._loop, connection, context, origin.host, self._encrypted, self._buffer
                )
            found = await self._found(origin)
            wire = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, loop=self._loop
            )
            await self._loop.create_connection(lambda: tls or connection, sock=wire)
            if not connection.is_over:
                self._all.add(connection)
            if tls is not None:
                await tls.verified()
        except asyncio.CancelledError:
            if connection in self._all:
                connection.abort()
            raise
        except (OSError, ValueError, RuntimeError) as exc:
            self._addresses.pop((origin.host, origin.port), None)
            failure, detail = named(exc, connecting=True)
        else:
            if not connection.is_over:
                return connection
            failure, detail = named(connection.error, connecting=False)
        raise TransportError(failure, perhaps_sent=False, detail=detail)

    async def _found(self, origin: Origin) -> Sequence[AddressInfo]:
        """
        The addresses of an origin, another one in front each time.
        """
        host, port = origin.host, origin.port
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        until, found = self._addresses.get((host, port), (0.0, []))
        if self._loop.time() >= until:
            found = await look_up(host, port)
            until = self._loop.time() + ADDRESS_SECONDS
        self._addresses[host, port] = until, [*found[1:], found[0]]
        return found

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._closed is not None and not self._all and not self._closed.done():
            self._closed.set_result(None)


async def _write_on(connection: Connection, body: bytes) -> None:
    """
    Writes a large body from its second piece on, as fast as it is read, until there is an answer.
    """
    connection.is_writing = True
    view = memoryview(body)
    for start in range(PIECE, len(body), PIECE):
        if not await connection.room():
            return
        connection.transport.write(view[start : start + PIECE])
    connection.is_writing = False


def _literal(host: str, port: int) -> AddressInfo | None:
    """
    The entry of an address that needs no looking up, or None for a name.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
