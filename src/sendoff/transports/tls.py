"""
TLS between a connection and its socket: OpenSSL by `ssl.SSLObject`, with a buffer in memory on
either side of it.

Always holds: until the server is verified nothing but the handshake is written; what OpenSSL wants
sent is passed on in the call in which it came up; the connection above is told once that it is
over, and why, in OpenSSL's words where it has any.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from sendoff.transports.connection import Connection
from sendoff.transports.wire import read_last

__all__ = ["Tls"]


class Tls(asyncio.BufferedProtocol):
    """
    To the socket's transport a protocol, to the connection above a transport.

    asyncio has such a layer, too, for any protocol and any use of it, with a buffer of 256 KiB for
    each connection. What it adds to a request is nearly twice what this one adds, most of
    which is OpenSSL's own.

    Args:
        loop: The loop.
        connection: What is above.
        context: How TLS is spoken.
        host: Whose certificate the server must have.
        buffer: Where reads go, encrypted. It may be shared: a read is used up before the next one.
        plain: Where they go decrypted: the buffer of the connection, no smaller than a TLS record.

    Raises:
        ValueError: No certificate can have that host.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        context: ssl.SSLContext,
        host: str,
        buffer: memoryview,
        plain: memoryview,
    ) -> None:
        self._connection = connection
        self._buffer = buffer
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # Methods that every request needs.
        self._came = self._incoming.write
        self._decrypted = cast(Callable[[int, memoryview], int], self._tls.read)
        self._encrypt, self._encrypted = self._tls.write, self._outgoing.read
        # All mutable state.
        self._socket: asyncio.Transport
        self._verified: asyncio.Future[Exception | None] = loop.create_future()
        self._is_verified = False
        self._unsent: deque[bytes | memoryview] = deque()  # while the server negotiates anew
        self._error: Exception | None = None  # OpenSSL's
        self._is_closing = False

    async def verified(self) -> None:
        """
        Waits until the server is known to be who it should be.

        Raises:
            OSError: It is not, or it did not say.
        """
        error = await self._verified
        if error is not None:
            raise error

    # --- called by the connection -----------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """
        Sends bytes, encrypted.
        """
        if self._is_closing:
            return
        if self._unsent:
            self._unsent.append(data)
            return
        try:
            written = self._encrypt(data)
        except ssl.SSLWantReadError:
            self._unsent.append(data)
            self._connection.pause_writing()
            return
        except OSError as exc:
            self._fail(exc)
            return
        # Without a mode that Python does not set, OpenSSL writes all or nothing.
        assert written == len(data)
        self._socket.write(self._encrypted())

    def is_closing(self) -> bool:
        """
        Whether nothing can be written any more.
        """
        return self._socket.is_closing()

    def close(self) -> None:
        """
        Says goodbye, and waits for none: what was asked is answered.
        """
        self._is_closing = True
        with suppress(OSError):  # its goodbye is not there, or there was no handshake
            self._tls.unwrap()
        self._send_on()
        self._socket.close()

    def abort(self) -> None:
        """
        Cuts the connection at once, with what is still to be written.
        """
        self._is_closing = True
        self._socket.abort()

    # --- called by the loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        The socket stands; the handshake begins.
        """
        self._socket = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._connection.transport = self
        self._shake_hands()

    def get_buffer(self, sizehint: int) -> memoryview:
        """
        Where the next read goes.
        """
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """
        Bytes came.
        """
        self._came(self._buffer[:nbytes])
        if not self._is_verified:
            self._shake_hands()
            if not self._is_verified:
                return
        incoming = self._incoming
        # A record at a time. When OpenSSL has taken all that came, it has nothing left either, as
        # what it returns has room for a whole record; to ask it would cost an exception each time.
        while incoming.pending and not self._is_closing:
            try:
                count = self._decrypted(len(self._plain), self._plain)
            except ssl.SSLWantReadError:
                break  # a part of a record, or one that is TLS's own
            except OSError as exc:
                self._fail(exc)
                return
            if not count:
                self._connection.eof_received()
                self.close()
                return
            self._connection.buffer_updated(count)
        if self._unsent:
            self._catch_up()
        if self._outgoing.pending:
            self._send_on()

    def eof_received(self) -> None:
        """
        The server sends no more; the transport then closes itself.
        """
        if self._is_verified:
            self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """
        It is over, whoever ended it.
        """
        if exc is not None and not self._is_closing:
            # A write has failed: in front of the reset may lie the server's last words, such as
            # which alert made it hang up.
            came = read_last(self._socket, self._buffer)
            if came:
                self.buffer_updated(came)
        self._is_closing = True
        error = self._error or exc
        self._settle(error or ConnectionResetError())
        connection = self._connection
        del self._connection  # undo the circle
        connection.connection_lost(error)

    def pause_writing(self) -> None:
        """
        The server reads slowly.
        """
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """
        It has caught up.
        """
        self._connection.resume_writing()

    # --- OpenSSL ----------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_on()
        except OSError as exc:
            self._fail(exc)
        else:
            self._is_verified = True
            self._settle(None)

    def _catch_up(self) -> None:
        """
        Writes what could not be written while the server negotiated.
        """
        while self._unsent and not self._is_closing:
            try:
                self._encrypt(self._unsent[0])
            except ssl.SSLWantReadError:
                return
            except OSError as exc:
                self._fail(exc)
                return
            self._unsent.popleft()
        self._connection.resume_writing()

    def _send_on(self) -> None:
        if self._outgoing.pending and not self._socket.is_closing():
            self._socket.write(self._encrypted())

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._send_on()  # the alert that says why
        self._settle(error)
        self.abort() if self._is_verified else self._socket.close()

    def _settle(self, error: Exception | None) -> None:
        if not self._verified.done():
            self._verified.set_result(error)
