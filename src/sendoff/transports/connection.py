"""
One kept-alive connection: writes a request, reads its answer through a C parser, and says how it
ended.

Always holds: there is at most one request at a time; its future is settled exactly once, with the
answer or with a failure, unless it was cancelled; a connection goes back to the others only if the
request was written to its end, the answer was read to its end, nothing came behind it, and the
server keeps it open. What is kept of an answer is bounded, whatever the server sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sendoff.events import Response, response_of
from sendoff.transports.failures import named
from sendoff.transports.headers import Headers
from sendoff.transports.limits import ANSWER_BYTES
from sendoff.transports.wire import Wire, read_last

if TYPE_CHECKING:
    from sendoff.transports.shelf import Shelf

__all__ = ["Connection", "Failure"]

HEAD_BYTES = 64 * 1024
"""
Bytes of an answer before its body, 1xx answers included; more is no answer. Precedents: 64 KiB
nginx and Node (16 KiB), 8 KiB for a line in aiohttp.
"""

READ_BYTES = 64 * 1024
"""Bytes that are read in one go, into one buffer that all connections of a loop share."""

FRAMED_BYTES = HEAD_BYTES + 4 * ANSWER_BYTES
"""Bytes of an answer in all: also what stands around the body's chunks has an end."""


class Failure(NamedTuple):
    """
    Why there is no answer.

    Attributes:
        word: A key of `FAILURES` in `sendoff.destinations.verdicts`.
        detail: What else is known.
    """

    word: str
    detail: str = ""


Outcome = asyncio.Future[Response | Failure]


class Connection(asyncio.BufferedProtocol):
    """
    The protocol of one connection, which the lane gives requests.

    Args:
        loop: The loop.
        buffer: Where reads go. It may be shared: a read is used up before the next one.
        idle: Where it waits for the next request.
        late: Where it waits for the rest of an answer whose status is known.
        lost: Called once when it is over, its socket about to be closed.
    """

    # A BufferedProtocol, because for a Protocol every read allocates 256 KiB and cuts it.

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        idle: Shelf[Connection],
        late: Shelf[Connection],
        lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._buffer = buffer
        self._idle = idle
        self._late = late
        self._lost = lost
        # All mutable state.
        self.transport: Wire
        self.answer: Outcome | None = None  # of the request under way
        self.is_writing = False  # its body is not written to its end
        self.is_over: bool = False
        self.error: BaseException | None = None  # why it is over
        self._is_paused = False
        self._room: asyncio.Future[None] | None = None  # somebody waits to write on
        self._raw: dict[bytes, bytes] = {}  # headers as they come
        self._headers = Headers({})
        self._more: list[bytes] = []  # of the body, behind its first piece
        self.on_header: Callable[[bytes, bytes], None] = self._raw.__setitem__
        self._is_late = False  # it lies on that shelf
        self._forget()
        parser = HttpResponseParser(self)
        self._feed = parser.feed_data
        self._status_of = parser.get_status_code
        self._keeps_alive = parser.should_keep_alive

    def _forget(self) -> None:
        self._status: int | None = None  # once the final head is read
        self._body = b""  # its first piece
        self._size = 0  # of all pieces
        self._fed = 0  # bytes of the answer so far
        self._is_whole = False
        self._is_kept = False

    # --- the request ------------------------------------------------------------------------------

    def begin(self) -> Outcome:
        """
        Expects an answer from now on; the caller writes the request.
        """
        if self._fed:
            self._forget()
        self.answer = answer = self._loop.create_future()
        return answer

    async def room(self) -> bool:
        """
        Waits until the next piece of a body may be written, and at least for one turn of the loop.

        Cancelling it loses nothing.

        Returns:
            Whether there is somebody to write it for: not after an early answer, nor after the end.
        """
        if self.answer is not None:
            if self._is_paused:
                self._room = self._loop.create_future()
                await self._room
            else:
                await asyncio.sleep(0)
        return self.answer is not None

    def abort(self) -> None:
        """
        Cuts the connection at once, with what is still to be written.
        """
        self._idle.discard(self)
        self._late.discard(self)
        answer, self.answer = self.answer, None
        if answer is not None and not answer.done():
            answer.set_result(Failure("disconnected"))
        self._wake()
        self.transport.abort()

    def close(self) -> None:
        """
        Ends the connection as is polite.
        """
        self._idle.discard(self)
        self.transport.close()

    # --- called by the loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        It stands; not called where TLS lies in between.
        """
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def get_buffer(self, sizehint: int) -> memoryview:
        """
        Where the next read goes.
        """
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """
        Bytes came.
        """
        if self.answer is None:
            self.abort()  # nobody has asked: whatever it is, it must not become the next answer
            return
        self._fed += nbytes
        try:
            self._feed(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as exc:
            self._is_kept = False
            if self._status is None:
                self._settle(Failure("bad_answer", type(exc).__name__))
            else:
                self._settle(self._response())
            return
        if self._is_whole:
            self._settle(self._response())
        elif self._status is None:
            if self._fed > HEAD_BYTES:
                self._settle(Failure("bad_answer", "too long a head"))
        elif self._size >= ANSWER_BYTES or self._fed > FRAMED_BYTES:
            self.give_up_the_rest()
        elif not self._is_late:
            self._is_late = True
            self._late.put(self)

    def give_up_the_rest(self) -> None:
        """
        Takes what came of the answer for all of it.
        """
        self._settle(self._response())

    def eof_received(self) -> None:
        """
        The server sends no more; the transport then closes itself.
        """
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """
        It is over, whoever ended it.
        """
        if exc is not None and self.answer is not None and self._status is None:
            # Such as a 413 from a server that did not want to read all of it.
            came = read_last(self.transport, self._buffer)
            if came:
                self.buffer_updated(came)
        self._end(exc)
        self.is_over = True
        self.error = exc
        # Undo the circle with the parser, whose callbacks are this object's.
        del self._feed, self._status_of, self._keeps_alive, self.on_header
        self._lost(self)

    def pause_writing(self) -> None:
        """
        The server reads slowly.
        """
        self._is_paused = True

    def resume_writing(self) -> None:
        """
        It has caught up.
        """
        self._is_paused = False
        self._wake()

    # --- called by the parser ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """
        An answer begins: the first, one after a 1xx, or one that nobody asked for.
        """
        self._raw.clear()
        self._is_kept = False

    def on_headers_complete(self) -> None:
        """
        A head is read to its end.
        """
        status = self._status_of()
        if self._status is None and (status >= 200 or status < 100 or status == 101):
            self._status = status
            self._headers = Headers(self._raw.copy())

    def on_body(self, piece: bytes) -> None:
        """
        A part of the body, without what stands around chunks.
        """
        if self._is_whole:
            return  # of an answer that nobody asked for
        if not self._size:
            self._body = piece
        elif self._size < ANSWER_BYTES:
            self._more.append(piece)
        self._size += len(piece)

    def on_message_complete(self) -> None:
        """
        An answer is read to its end.
        """
        if self._status is not None and not self._is_whole:
            self._is_whole = True
            self._is_kept = self._keeps_alive()

    # --- the end ----------------------------------------------------------------------------------

    def _response(self) -> Response:
        assert self._status is not None
        body = self._body
        if self._more:
            body = b"".join((body, *self._more))
            self._more.clear()
        return response_of(self._status, self._headers, body[:ANSWER_BYTES])

    def _end(self, error: BaseException | None) -> None:
        if self.answer is None:
            self._idle.discard(self)
        elif self._status is not None:
            # An answer that breaks off is an answer; and one without a length ends like this.
            self._is_kept = False
            self._settle(self._response())
        else:
            self._settle(Failure(*named(error, connecting=False)))

    def _settle(self, outcome: Response | Failure) -> None:
        answer, self.answer = self.answer, None
        assert answer is not None
        if self._is_late:
            self._is_late = False
            self._late.discard(self)
        if answer.cancelled() or self.is_writing or not self._is_whole:
            self.transport.abort()
        elif self._is_kept and not self.transport.is_closing():
            self._idle.put(self)
        else:
            self.transport.close()
        if not answer.done():
            answer.set_result(outcome)
        if self._room is not None:
            self._wake()

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
