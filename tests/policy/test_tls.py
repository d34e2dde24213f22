"""
Our layer of TLS against OpenSSL's server side, in memory: a socket's transport that is a list of
bytes, and pieces as the test cuts them.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import serving, trusting
from sendoff.events import Response
from sendoff.transports import tls
from sendoff.transports.connection import Connection, Failure
from sendoff.transports.shelf import Shelf
from sendoff.transports.tls import Tls

CA = trustme.CA()
SERVER = serving(CA, "vendor.example")
CLIENT, OLDER = trusting(CA), trusting(CA)
OLDER.maximum_version = ssl.TLSVersion.TLSv1_2


class Socket:
    """
    What asyncio would make of a socket.
    """

    def __init__(self) -> None:
        self.sent = bytearray()
        self.end = ""

    def write(self, data: bytes) -> None:
        assert not self.end
        self.sent += data

    def is_closing(self) -> bool:
        return bool(self.end)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Ends:
    """
    Both ends of a connection: ours, and a server's.
    """

    def __init__(
        self, context: ssl.SSLContext = CLIENT, host: str = "vendor.example", size: int = 65_536
    ) -> None:
        loop = asyncio.get_running_loop()
        plain = memoryview(bytearray(size))
        self.buffer = memoryview(bytearray(size))
        self.idle: Shelf[Connection] = Shelf(loop, 1_000.0, Connection.close)
        self.late: Shelf[Connection] = Shelf(loop, 1_000.0, Connection.give_up_the_rest)
        self.lost: list[Connection] = []
        self.connection = Connection(loop, plain, self.idle, self.late, self.lost.append)
        self.tls = Tls(loop, self.connection, context, host, self.buffer, plain)
        self.socket = Socket()
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = SERVER.wrap_bio(self._come, self._go, server_side=True)

    def begin(self) -> None:
        self.tls.connection_made(self.socket)  # type: ignore[arg-type]

    def from_server(self) -> bytes:
        """
        What the server has written since the last time.
        """
        return self._go.read()

    def to_server(self) -> None:
        """
        Hands on what we have written.
        """
        self._come.write(bytes(self.socket.sent))
        self.socket.sent.clear()

    def to_us(self, data: bytes, cuts: Iterable[int] = ()) -> None:
        """
        Bytes come in pieces of so many; the rest in one, or as many as there is room for.
        """
        sizes = iter(cuts)
        while data and not self.socket.end:
            piece = data[: next(sizes, len(self.buffer))]
            self.buffer[: len(piece)] = piece
            self.tls.buffer_updated(len(piece))
            data = data[len(piece) :]

    def shake_hands(self, cuts: Callable[[], Iterable[int]] = tuple) -> None:
        self.begin()
        is_over = False
        while not is_over:
            self.to_server()
            try:
                self.server.do_handshake()
                is_over = True
            except ssl.SSLWantReadError:
                pass
            self.to_us(self.from_server(), cuts())

    def asked(self, request: bytes) -> asyncio.Future[Response | Failure]:
        """
        Asks, and has the server read it.
        """
        answer = self.connection.begin()
        self.connection.transport.write(request)
        self.to_server()
        assert self.server.read(1 << 16) == request
        return answer

    def close(self) -> None:
        self.idle.close()
        self.late.close()


def answer_of(body: bytes) -> bytes:
    return b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def running(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


sizes = st.lists(st.integers(1, 3_000), max_size=40)
bodies = st.lists(st.binary(max_size=400) | st.just(b"x" * 40_000), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(bodies=bodies, cuts=sizes, older=st.booleans())
def test_however_the_bytes_are_cut_the_answers_are_the_same(
    bodies: list[bytes], cuts: list[int], older: bool
) -> None:
    """From the handshake on; an answer may take several records, and a record several reads."""

    async def main() -> None:
        ends = Ends(OLDER if older else CLIENT)
        ends.shake_hands(lambda: iter(cuts))
        await ends.tls.verified()
        for number, body in enumerate(bodies):
            answer = ends.asked(b"request %d" % number)
            ends.server.write(answer_of(body))
            ends.to_us(ends.from_server(), cuts)
            got = answer.result()
            assert isinstance(got, Response)
            assert (got.status, got.body) == (202, body)
            assert len(ends.idle) == 1
            assert ends.idle.top() is ends.connection
        ends.close()

    running(main)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), flipped=st.integers(1, 255))
def test_what_was_changed_on_its_way_is_no_answer(at: int, flipped: int) -> None:
    """One changed byte anywhere, and the request fails or waits; it is never answered."""

    async def main() -> None:
        ends = Ends()
        ends.shake_hands()
        answer = ends.asked(b"request")
        ends.server.write(answer_of(b"{}"))
        came = bytearray(ends.from_server())
        came[at % len(came)] ^= flipped
        ends.to_us(bytes(came))
        if ends.socket.end:
            ends.tls.connection_lost(None)
        if answer.done():
            failure = answer.result()
            assert isinstance(failure, Failure)
            assert failure.word in {"disconnected", "tls"}
            assert ends.socket.end == "aborted"
        ends.close()

    running(main)


@pytest.mark.parametrize(
    ("context", "host", "words"),
    [
        (ssl.create_default_context(), "vendor.example", "self.signed|local issuer"),
        (CLIENT, "other.example", "Hostname mismatch"),
        (CLIENT, "192.0.2.1", "IP address mismatch"),
    ],
)
def test_who_is_not_verified_gets_an_alert_and_nothing_else(
    context: ssl.SSLContext, host: str, words: str
) -> None:
    """The alert tells the server why; the socket is closed once it is written."""

    async def main() -> None:
        ends = Ends(context, host)
        with pytest.raises(ssl.SSLError, match="ALERT"):  # the server's, which reads it
            ends.shake_hands()
        assert ends.socket.end == "closed"
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            await ends.tls.verified()
        ends.tls.connection_lost(None)
        assert ends.lost == [ends.connection]
        assert isinstance(ends.connection.error, ssl.SSLCertVerificationError)

    running(main)


def test_a_name_that_nobody_can_have() -> None:
    """Is said before there is a socket."""

    async def main() -> None:
        with pytest.raises(ValueError, match="label"):
            Ends(CLIENT, "x" * 70)

    running(main)


@pytest.mark.parametrize("how", ["eof", "lost", "reset"])
def test_a_server_that_ends_before_the_handshake_does(how: str) -> None:
    """Is said with the socket's own words, if there are any."""

    async def main() -> None:
        ends = Ends()
        ends.begin()
        if how == "eof":
            assert ends.tls.eof_received() is None  # so the loop closes it
        ends.tls.connection_lost(BrokenPipeError() if how == "reset" else None)
        with pytest.raises(BrokenPipeError if how == "reset" else ConnectionResetError):
            await ends.tls.verified()
        assert ends.lost == [ends.connection]

    running(main)


def test_an_end_is_polite_or_at_once() -> None:
    """TLS's goodbye goes out before the socket closes, and not when it is cut."""

    async def main() -> None:
        for end, goodbye in (("close", True), ("abort", False)):
            ends = Ends()
            ends.shake_hands()
            ends.to_server()
            assert not ends.tls.is_closing()
            for _ in range(2):
                getattr(ends.connection, end)()
            assert ends.socket.end == ("closed" if goodbye else "aborted")
            assert ends.tls.is_closing()
            ends.tls.write(b"late")
            ends.to_server()
            if goodbye:
                assert ends.server.read() == b""
            else:
                with pytest.raises(ssl.SSLWantReadError):
                    ends.server.read()

    running(main)


def test_the_servers_goodbye() -> None:
    """It ends the connection, whatever comes behind it; an answer in front of it counts."""

    async def main() -> None:
        ends = Ends()
        ends.shake_hands()
        answer = ends.asked(b"request")
        ends.server.write(b"HTTP/1.1 202 Accepted\r\n\r\nuntil the end")
        with pytest.raises(ssl.SSLWantReadError):
            ends.server.unwrap()
        ends.to_us(ends.from_server() + b"behind it")
        got = answer.result()
        assert isinstance(got, Response)
        assert got.body == b"until the end"
        assert (ends.socket.end, len(ends.idle)) == ("aborted", 0)

        ends = Ends()
        ends.shake_hands()
        ends.asked(b"request")
        ends.server.write(answer_of(b""))
        ends.to_us(ends.from_server())
        assert len(ends.idle) == 1
        with pytest.raises(ssl.SSLWantReadError):
            ends.server.unwrap()
        ends.to_us(ends.from_server())
        assert (ends.socket.end, len(ends.idle)) == ("closed", 0)

    running(main)


def test_an_end_without_a_goodbye() -> None:
    """Settles the request at once, though there may be something to write still."""

    async def main() -> None:
        ends = Ends()
        ends.shake_hands()
        answer = ends.asked(b"request")
        assert ends.tls.eof_received() is None  # so the loop closes it
        assert answer.result() == Failure("disconnected", "")

    running(main)


def test_what_comes_behind_a_last_answer_is_not_looked_at() -> None:
    """A server that closes after its answer gets a goodbye, whatever else it has sent."""

    async def main() -> None:
        ends = Ends()
        ends.shake_hands()
        answer = ends.asked(b"request")
        ends.server.write(b"HTTP/1.1 202 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        for _ in range(3):
            ends.server.write(b"HTTP/1.1 500 Oops\r\n\r\n")
        ends.to_us(ends.from_server())
        got = answer.result()
        assert isinstance(got, Response)
        assert (got.status, ends.socket.end) == (202, "closed")

    running(main)


def test_an_alert_in_front_of_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the server is verified: OpenSSL's word says more than the socket's."""

    async def main() -> None:
        ends = Ends()
        ends.begin()
        ends.to_server()
        alert = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal: handshake failure

        def came(wire: object, buffer: memoryview) -> int:
            buffer[: len(alert)] = alert
            return len(alert)

        monkeypatch.setattr(tls, "read_last", came)
        ends.socket.end = "reset"
        ends.tls.connection_lost(BrokenPipeError())
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            await ends.tls.verified()

    running(main)


@pytest.mark.parametrize("ours", [False, True])
def test_last_words_in_front_of_a_reset(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read once more after a write has failed; not after an end of our own."""

    async def main() -> None:
        ends = Ends()
        ends.shake_hands()
        answer = ends.asked(b"request")
        ends.server.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        words = ends.from_server()

        def came(wire: object, buffer: memoryview) -> int:
            assert wire is ends.socket
            buffer[: len(words)] = words
            return len(words)

        monkeypatch.setattr(tls, "read_last", came)
        if ours:
            ends.tls.abort()
        ends.socket.end = ends.socket.end or "reset"
        ends.tls.connection_lost(BrokenPipeError())
        got = answer.result()
        assert isinstance(got, Failure if ours else Response)
        assert ours or got.status == 413
        assert ends.lost == [ends.connection]

    running(main)


def test_an_end_leaves_nothing_behind() -> None:
    """No circle for the garbage collector; and what is written then goes nowhere."""

    async def main() -> None:
        ends = Ends()
        ends.connection._lost = lambda _: None
        ends.shake_hands()
        ends.socket.end = "reset"
        ends.tls.connection_lost(BrokenPipeError())
        ends.tls.write(b"late")
        known = weakref.ref(ends.connection), weakref.ref(ends.tls)
        del ends
        assert [one() for one in known] == [None, None]

    gc.disable()
    try:
        running(main)
    finally:
        gc.enable()


class Negotiating:
    """
    OpenSSL's side while the server negotiates anew: nothing can be written.
    """

    def __init__(self, outgoing: ssl.MemoryBIO) -> None:
        self.is_ready = True
        self.written: list[bytes] = []
        self.fault: Exception | None = None
        self._outgoing = outgoing

    def do_handshake(self) -> None:
        pass

    def read(self, size: int, buffer: memoryview) -> int:
        raise ssl.SSLWantReadError

    def write(self, data: bytes) -> int:
        if self.fault is not None:
            raise self.fault
        if not self.is_ready:
            raise ssl.SSLWantReadError
        self.written.append(bytes(data))
        return self._outgoing.write(data)


class Context:
    """
    Where one comes from.
    """

    def wrap_bio(self, incoming: Any, outgoing: Any, server_hostname: str) -> Negotiating:
        self.made = Negotiating(outgoing)
        return self.made


def test_what_cannot_be_written_yet_follows_in_its_order() -> None:
    """And whoever writes in pieces waits meanwhile."""

    async def main() -> None:
        context = Context()
        ends = Ends(context)  # type: ignore[arg-type]
        ends.begin()
        ends.connection.begin()
        context.made.is_ready = False
        ends.tls.write(b"1")
        ends.tls.write(b"2")
        room = asyncio.ensure_future(ends.connection.room())
        await asyncio.sleep(0)
        ends.to_us(b"still negotiating")
        await asyncio.sleep(0)
        assert (context.made.written, room.done()) == ([], False)
        context.made.is_ready = True
        ends.tls.write(b"3")
        assert context.made.written == []  # not in front of the others
        ends.to_us(b"done")
        assert context.made.written == [b"1", b"2", b"3"]
        assert bytes(ends.socket.sent) == b"123"
        assert await room
        ends.tls.write(b"4")
        assert bytes(ends.socket.sent) == b"1234"

    running(main)


@pytest.mark.parametrize("waits", [False, True])
def test_a_write_that_fails_ends_the_connection(waits: bool) -> None:
    """With OpenSSL's words, also when it had to wait."""

    async def main() -> None:
        fault = ssl.SSLError(1, "[SSL: BAD_LENGTH] bad length")
        fault.reason = "BAD_LENGTH"
        context = Context()
        ends = Ends(context)  # type: ignore[arg-type]
        ends.begin()
        answer = ends.connection.begin()
        context.made.is_ready = not waits
        if not waits:
            context.made.fault = fault
        ends.tls.write(b"1")
        if waits:
            context.made.fault = fault
            ends.to_us(b"more")
        assert ends.socket.end == "aborted"
        ends.tls.connection_lost(None)
        assert answer.result() == Failure("disconnected", "BAD_LENGTH")
        assert ends.connection.error is context.made.fault

    running(main)
