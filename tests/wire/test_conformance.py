"""
HTTP as servers speak it, well and badly: one and the same suite for both lanes of the transport.

What Python's `ssl` has no way to ask for, such as a renegotiation, is in `test_openssl`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import aiohttp
import pytest
import trustme

from certificates import serving, trusting
from loops import new_uvloop
from rawserver import Peer, RawServer, turns
from sendoff.errors import TransportError
from sendoff.events import Request, Response
from sendoff.transports import fast, session
from sendoff.transports.http import HttpTransport

AIOHTTP = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])
CA = trustme.CA()
HEADERS = {"Content-Type": "application/json", "X-Key": "käse"}
LARGE = b"x" * 5_000_000
OK = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n"
    b"Content-Type: application/json\r\nRetry-After: 7\r\n\r\n{}"
)
CHUNKED = (
    b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b'5;name=value;other="quoted"\r\nhello\r\n'
    b"6\r\n world\r\n0\r\nX-Sum: 1\r\nRetry-After: 9\r\n\r\n"
)
Send = Callable[..., Coroutine[Any, Any, Response]]


class Way(NamedTuple):
    """
    A lane, a kind of loop, with or without TLS.
    """

    lane: str
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    secure: bool = False

    def run(self, main: Callable[[Way], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await main(self)

        with asyncio.Runner(loop_factory=self.loop) as runner:
            runner.run(bounded())

    def server(self, script: Callable[[Peer], Awaitable[None]]) -> RawServer:
        return RawServer(script, serving(CA) if self.secure else None)


class Client:
    """
    A transport, kept to one of its lanes.
    """

    def __init__(self, way: Way, url: str) -> None:
        self._way = way
        self._url = url
        self._ssl = trusting(CA) if way.secure else None
        self.transport = HttpTransport()
        self.written = 0

    async def __aenter__(self) -> Client:
        await self.transport.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.aclose()
        await turns()

    def request(self, body: bytes = b'{"a":1}', headers: dict[str, str] | None = None) -> Request:
        return Request(self._url, HEADERS if headers is None else headers, body, self._ssl)

    def send(self, body: bytes = b'{"a":1}', **headers: str) -> Coroutine[Any, Any, Response]:
        request = self.request(body, {**HEADERS, **headers} if headers else None)
        if self._way.lane == "fast":
            return self.transport.send(request, self._sent)
        return self.transport._session.send(request, self._sent)

    def _sent(self) -> None:
        self.written += 1

    async def failure(self, *args: Any, **options: Any) -> tuple[str, bool]:
        """
        The word for a failure, and whether the request was perhaps sent.
        """
        with pytest.raises(TransportError) as caught:
            await self.send(*args, **options)
        return caught.value.failure, caught.value.perhaps_sent


WAYS = {
    "fast": Way("fast"),
    "fast, TLS": Way("fast", secure=True),
    "fast, uvloop": Way("fast", new_uvloop),
    "fast, uvloop, TLS": Way("fast", new_uvloop, secure=True),
    "session": Way("session"),
    "session, TLS": Way("session", secure=True),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def always(*pieces: bytes) -> Callable[[Peer], Awaitable[None]]:
    """
    A script that answers every request with the same pieces.
    """

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.write(*pieces)

    return script


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [OK, CHUNKED], ids=["length", "chunked"])
def test_an_answer_may_be_cut_anywhere(way: Way, whole: bytes) -> None:
    """In two at every byte, and into single bytes: the same answer, on one connection."""
    cuts = iter(range(1, len(whole)))

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            cut = next(cuts, None)
            if cut is None:
                await peer.write(*(whole[at : at + 1] for at in range(len(whole))))
            else:
                await peer.write(whole[:cut], whole[cut:])

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            answers = [await client.send() for _ in range(len(whole))]
            assert {answer.status for answer in answers} == {202}
            assert {answer.body for answer in answers} == {b"{}" if whole is OK else b"hello world"}
            # What a trailer says is no header.
            expected = "7" if whole is OK else None
            assert {answer.headers.get("retry-after") for answer in answers} == {expected}
            assert (server.connections, client.written) == (1, len(whole))

    way.run(main)


def ends(answer: bytes) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(answer)

    return script


@pytest.mark.parametrize(
    ("answer", "status", "body", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 200, b"", 1),
        (b"HTTP/1.1 200\r\nX-Empty:\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 1),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, b"", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 202, b"{}", 1),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, 202, b"{}", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + CHUNKED, 202, b"hello world", 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", 2),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
            200,
            b"{}",
            1,
        ),
        (OK.replace(b"Retry-After: 7", b"Connection: close"), 202, b"{}", 2),
        (b"HTTP/1.1 301 Moved\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n", 301, b"", 1),
        (b"HTTP/1.1 307 Moved\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n", 307, b"", 1),
    ],
    ids=[
        "length 0",
        "an empty header, no reason",
        "204",
        "304 with a length",
        "100 before",
        "103 before",
        "five times 100 before",
        "HTTP/1.0",
        "HTTP/1.0 keep-alive",
        "Connection: close",
        "301 not followed",
        "307 not followed",
    ],
)
def test_every_form_of_an_answer(
    way: Way, answer: bytes, status: int, body: bytes, connections: int
) -> None:
    """Read to its end, and the connection used again if and only if the server keeps it."""

    async def main(way: Way) -> None:
        async with way.server(always(answer)) as server, Client(way, server.url) as client:
            for _ in range(2):
                got = await client.send()
                assert (got.status, got.body) == (status, body)
                await turns()
            assert (server.connections, len(server.seen)) == (connections, 2)

    way.run(main)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["no length", "HTTP/1.0, no length", "less than its length", "chunks without an end"],
)
def test_an_answer_that_ends_with_its_connection(way: Way, answer: bytes) -> None:
    """The status is known, so it is an answer, with what came of its body."""

    async def main(way: Way) -> None:
        async with way.server(ends(answer)) as server, Client(way, server.url) as client:
            for _ in range(2):
                got = await client.send()
                assert (got.status, got.body) == (200, b"hello")
            assert server.connections == 2

    way.run(main)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 30_000,
    ],
    ids=["SSH", "no status", "no colon", "no number", "binary", "a long header", "many headers"],
)
def test_what_is_no_answer(way: Way, answer: bytes) -> None:
    """One word for it, never a hang, and the connection is not used again."""
    if way.lane == "session" and answer.count(b"\n") > 1_000 and AIOHTTP < (3, 14):
        pytest.skip("this aiohttp reads any number of headers, until `timeout` ends it")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(answer)
        await peer.request()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for _ in range(2):
                assert await client.failure() == ("bad_answer", True)
            assert server.connections == 2

    way.run(main)


def test_1xx_without_an_end_is_no_answer() -> None:
    """Bounded as any other head is; aiohttp would read on."""

    async def main(way: Way) -> None:
        script = always(b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000)
        async with way.server(script) as server, Client(way, server.url) as client:
            assert await client.failure() == ("bad_answer", True)

    WAYS["fast"].run(main)


@pytest.mark.parametrize("at", range(0, len(OK) - 2, 5))
def test_a_connection_that_ends_in_the_head(way: Way, at: int) -> None:
    """Perhaps sent, and worth another try at once; whether it ends politely or not."""
    ways = iter(range(2))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK[:at])
        if next(ways):
            peer.reset()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for _ in range(2):
                assert await client.failure() == ("disconnected", True)
            assert client.written == 2

    way.run(main)


def test_bytes_behind_an_answer_are_nobodys(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A second answer that nobody asked for never becomes the next request's."""
    bad = OK.replace(b"202", b"500")
    if way.lane == "session":
        pytest.skip("aiohttp decides, not we")

    async def main(way: Way) -> None:
        for more in (bad, b"x", b"HTTP/1.1 5"):
            async with way.server(always(OK + more)) as server, Client(way, server.url) as client:
                answers = [await client.send() for _ in range(3)]
                assert [(got.status, got.body) for got in answers] == [(202, b"{}")] * 3
                assert server.connections == 3
        # The same a moment later, when the connection lies idle.
        async with way.server(always(OK, bad)) as server, Client(way, server.url) as client:
            for _ in range(3):
                assert (await client.send()).status == 202
                await turns(12)
            assert server.connections == 3

    way.run(main)
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["length", "chunked", "until the end", "extensions"])
def test_a_body_is_read_so_far_and_no_further(
    way: Way, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB of it are kept, and the server that goes on for ever is cut off."""
    monkeypatch.setattr(fast, "ANSWER_SECONDS", 60)
    monkeypatch.setattr(session, "ANSWER_SECONDS", 60)
    if kind == "extensions" and way.lane == "session":
        pytest.skip("aiohttp refuses long extensions as a bad answer")
    heads = {
        "length": b"Content-Length: 1000000000\r\n\r\n",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
        "until the end": b"\r\n",
        "extensions": b"Transfer-Encoding: chunked\r\n\r\n",
    }
    piece = b"z" * 16
    if kind == "chunked":
        piece = b"10\r\n" + piece + b"\r\n"
    if kind == "extensions":
        piece = b"10;" + b"e" * 4_000 + b"\r\n" + piece + b"\r\n"

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 500 No\r\n" + heads[kind])
        while True:
            peer.writer.write(piece * 500)
            await peer.writer.drain()
            await turns(1)

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            got = await client.send()
            assert got.status == 500
            assert set(got.body) == {ord("z")}
            assert len(got.body) == 65536 or kind == "extensions"
            while not server.ended:
                await turns()

    way.run(main)


def test_a_body_that_does_not_come_is_not_waited_for(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many seconds from the head on, also if it comes by drops; then what came is the body."""
    monkeypatch.setattr(fast, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.1)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await peer.write(b"z")
            await peer.writer.drain()  # raises once the connection is gone
            await asyncio.sleep(0.005)

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            got = await client.send()
            assert (got.status, set(got.body)) == (503, {ord("z")})
            while not server.ended:
                await asyncio.sleep(0.005)

    way.run(main)


# --- requests -----------------------------------------------------------------------------------


def test_what_is_sent(way: Way) -> None:
    """h11 takes it, and finds in it what was given, with a host and a length."""

    async def main(way: Way) -> None:
        async with way.server(always(OK)) as server, Client(way, server.url) as client:
            bodies = [b"", b"x", b"y" * 100_000, LARGE]
            for body in bodies:
                await client.send(body)
            assert [seen.body for seen in server.seen] == bodies
            for seen in server.seen:
                assert (seen.method, seen.target) == (b"POST", b"/in?a=b%20c")
                headers = dict(seen.headers)
                assert len(headers) == len(seen.headers)
                assert headers == {
                    b"host": server.url.split("/")[2].encode(),
                    b"content-type": b"application/json",
                    b"x-key": "käse".encode(),
                    b"accept": b"*/*",
                    b"accept-encoding": b"identity",
                    b"user-agent": b"sendoff",
                    b"content-length": str(len(seen.body)).encode(),
                }
            assert server.connections == 1

    way.run(main)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\0b"])
def test_a_header_cannot_end_its_line(way: Way, value: str) -> None:
    """Nothing is sent, whichever lane is asked."""

    async def main(way: Way) -> None:
        async with way.server(always(OK)) as server, Client(way, server.url) as client:
            assert await client.failure(X=value) == ("bad_answer", False)
            assert (server.seen, client.written) == ([], 0)

    way.run(main)


@pytest.mark.parametrize("status", [401, 413])
def test_an_early_answer_to_a_large_body(way: Way, status: int) -> None:
    """The answer counts, although the server reads no further; the connection is cut."""

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(OK.replace(b"202", str(status).encode()))
        await asyncio.Event().wait()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for _ in range(2):
                got = await client.send(LARGE * 4)
                assert (got.status, got.body) == (status, b"{}")
            assert server.connections == 2
            if way.lane == "fast":
                await turns(10)
                assert not client.transport._fast._all

    way.run(main)


def test_an_early_answer_before_a_reset(way: Way) -> None:
    """What could be read before the reset counts."""

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(OK.replace(b"202", b"413"))
        await turns(20)
        peer.reset()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            assert (await client.send(LARGE * 4)).status == 413

    way.run(main)


def test_a_server_that_reads_slowly(way: Way) -> None:
    """It gets every byte, and others are served meanwhile."""

    others_are_served = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            arrival = await peer.request(piece=1024)
            if len(arrival.body) > 1_000:
                await others_are_served.wait()
            await peer.write(OK.replace(b"{}", str(len(arrival.body) % 100).encode().zfill(2)))

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            slow = asyncio.create_task(client.send(LARGE[:2_000_042]))
            quick = [(await client.send(b"x" * 17)).body for _ in range(3)]
            others_are_served.set()
            assert (quick, (await slow).body) == ([b"17"] * 3, b"42")
            assert (await client.send(b"x" * 5)).body == b"05"
            assert server.connections == 2

    way.run(main)


def test_what_is_not_read_is_not_written(way: Way) -> None:
    """A server that reads nothing costs no more memory than a piece or two."""
    if way.lane == "session":
        pytest.skip("aiohttp's own flow control")

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            task = asyncio.create_task(client.send(LARGE * 4))
            while not client.written:
                await turns()
            await turns(200)
            (connection,) = client.transport._fast._all
            wire = connection.transport._socket if way.secure else connection.transport
            assert 0 < wire.get_write_buffer_size() < 2_000_000
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    way.run(main)


def test_a_reset_in_the_middle_of_a_body(way: Way) -> None:
    """Perhaps sent; the next request goes on a connection of its own."""

    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(300_000)
        peer.reset()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for _ in range(2):
                assert await client.failure(LARGE * 4) == ("disconnected", True)
            assert server.connections == 2

    way.run(main)


# --- connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("politely", [True, False])
def test_a_connection_that_ends_while_it_lies_idle(way: Way, politely: bool) -> None:
    """It is noticed, and the next request goes on another one: no failure at all."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        if not politely:
            peer.reset()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for number in range(1, 6):
                assert (await client.send()).status == 202
                while server.ended < number:
                    await turns()
                await turns(10)
            assert server.connections == 5

    way.run(main)


def test_a_connection_that_ends_as_the_next_request_comes(way: Way) -> None:
    """A failure that is worth another try at once, and the next try finds a fresh connection."""
    is_first = True

    async def script(peer: Peer) -> None:
        nonlocal is_first
        await peer.request()
        await peer.write(OK)
        await peer.request()
        if not is_first:
            await peer.write(OK)
        is_first = False

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            assert (await client.send()).status == 202
            assert await client.failure() == ("disconnected", True)
            assert [(await client.send()).status for _ in range(2)] == [202, 202]
            assert server.connections == 2

    way.run(main)


def test_a_server_that_closes_its_half(way: Way) -> None:
    """An answer before the end of its half is whole; the connection is not used again."""
    if way.secure:
        pytest.skip("TLS has no halves in asyncio")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        peer.writer.write_eof()
        await peer.reader.read()

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for number in range(1, 4):
                assert (await client.send()).status == 202
                while server.ended < number:
                    await turns()
            assert server.connections == 3

    way.run(main)


def test_many_at_once(way: Way) -> None:
    """As many connections as are needed, each used again, the freshest first."""
    crowd = 20
    waiting: list[asyncio.Event] = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            waiting.append(asyncio.Event())
            if len(waiting) < crowd:
                await waiting[-1].wait()  # nobody is answered before all have asked
            for one in waiting:
                one.set()
            waiting.clear()
            await peer.write(OK)

    async def main(way: Way) -> None:
        nonlocal crowd
        async with way.server(script) as server, Client(way, server.url) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(client.send() for _ in range(crowd)))
                assert {answer.status for answer in answers} == {202}
            assert server.connections == crowd == 20
            crowd = 1
            for _ in range(5):
                await client.send()
            assert (server.connections, len(server.seen)) == (20, 65)

    way.run(main)


@pytest.mark.parametrize("body", [b"{}", LARGE], ids=["small", "large"])
def test_a_request_may_be_cancelled_at_any_moment(way: Way, body: bytes) -> None:
    """Its connection goes with it; the one beside it is answered, and so is the next."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            arrival = await peer.request()
            if len(arrival.body) != 3:
                await release.wait()
            await peer.write(OK)

    async def main(way: Way) -> None:
        async with way.server(script) as server, Client(way, server.url) as client:
            for moment in range(30):
                cut = asyncio.create_task(client.send(body))
                other = asyncio.create_task(client.send(b"abc"))
                await turns(moment)
                cut.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await cut
                assert (await other).status == 202
            assert (await client.send(b"abc")).status == 202
            if way.lane == "fast":
                await turns(20)
                assert len(client.transport._fast._all) == len(client.transport._fast._ways) == 1
            assert {arrival.body for arrival in server.seen} <= {b"abc", body}

    way.run(main)


def test_a_cancellation_meets_an_answer(way: Way) -> None:
    """Cancelled in the very turn in which the answer came: nothing is left or mixed up."""

    async def main(way: Way) -> None:
        async with way.server(always(OK)) as server, Client(way, server.url) as client:
            for moment in range(40):
                task = asyncio.create_task(client.send())
                await turns(moment)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert (await client.send()).status == 202

    way.run(main)
