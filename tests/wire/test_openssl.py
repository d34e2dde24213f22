"""
What OpenSSL's own server can ask of a client in the middle of HTTP, and Python's cannot: to
negotiate anew (TLS 1.2), and to use new keys (TLS 1.3).
"""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from certificates import trusting
from loops import new_uvloop
from rawserver import turns
from sendoff.events import Request, Response
from sendoff.transports.http import HttpTransport
from sendoff.transports.tls import Tls

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

CA = trustme.CA()
LARGE = b"".join(b"%07d;" % number for number in range(1_500_000))
ANSWER = b"HTTP/1.1 202 Accepted\nContent-Length: 4\n\n{}\n"
"""Each end of a line becomes CR and LF on its way, also the one behind the body."""

RENEGOTIATE = b"r\n"
NEW_KEYS = b"k\n"
NEW_KEYS_FOR_BOTH = b"K\n"


class Server:
    """
    `openssl s_server`: what it is sent it prints, and what is typed it sends, but for its commands.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._printed = bytearray()
        self._at = 0  # up to here nobody looks any more
        self._more = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(1 << 16):
            self._printed += data
            self._more.set()

    async def until(self, pattern: bytes) -> re.Match[bytes]:
        """
        Waits until it has printed something.
        """
        wanted = re.compile(pattern)
        while (found := wanted.search(bytes(self._printed[self._at :]))) is None:
            self._at = max(self._at, len(self._printed) - 200)
            self._more.clear()
            await self._more.wait()
        self._at += found.end()
        return found

    def received(self) -> tuple[bytes, int]:
        """
        What came, and how often it has negotiated in between.
        """
        return re.subn(rb"SSL_do_handshake -> 1\n|Read BLOCK\n", b"", bytes(self._printed))

    async def types(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        await self._process.stdin.drain()

    async def aclose(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def talking(folder: Path, version: str) -> AsyncIterator[tuple[Server, Callable[..., Any]]]:
    """
    A server, and what sends it a request.
    """
    certificate = CA.issue_cert("127.0.0.1")
    pem = folder / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    context = trusting(CA)
    command = f"openssl s_server -accept 127.0.0.1:0 -cert {pem} -key {pem} -crlf -{version}"
    process = await asyncio.create_subprocess_exec(
        *command.split(), stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    server = Server(process)
    transport = HttpTransport()
    await transport.open()
    try:
        port = int((await server.until(rb"ACCEPT .*:(\d+)"))[1])

        def send(body: bytes) -> asyncio.Task[Response]:
            request = Request(f"https://127.0.0.1:{port}/", {}, body, context)
            return asyncio.ensure_future(transport.send(request, lambda: None))

        yield server, send
    finally:
        await transport.aclose()
        await server.aclose()
        await turns()


@pytest.fixture(params=[asyncio.new_event_loop, new_uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], None]:
    def run(main: Callable[[], Any]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await main()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run


class Counted:
    """
    How often our layer read something, and had to write something later.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.late_writes = 0
        read, catch_up = Tls.buffer_updated, Tls._catch_up

        def reading(tls: Tls, count: int) -> None:
            self.reads += 1
            read(tls, count)

        def catching_up(tls: Tls) -> None:
            self.late_writes += 1
            catch_up(tls)

        monkeypatch.setattr(Tls, "buffer_updated", reading)
        monkeypatch.setattr(Tls, "_catch_up", catching_up)

    async def next_read(self) -> None:
        before = self.reads
        while self.reads == before:
            await asyncio.sleep(0.001)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.mark.parametrize(
    ("version", "command"),
    [("tls1_2", RENEGOTIATE), ("tls1_3", NEW_KEYS), ("tls1_3", NEW_KEYS_FOR_BOTH)],
    ids=["anew", "new keys", "new keys for both"],
)
def test_negotiating_while_an_answer_is_waited_for(
    version: str, command: bytes, run: Callable[[Any], None], tmp_path: Path, counted: Counted
) -> None:
    """And while the connection is idle; it stays the same connection."""

    async def main() -> None:
        async with talking(tmp_path, version) as (server, send):
            for number in range(4):
                answer = send(b'{"number":%d}' % number)
                await server.until(b'"number":%d' % number)
                # A command is one if it is read on its own, so each is waited for.
                await server.types(command)
                await counted.next_read()
                await server.types(ANSWER)
                assert (await answer).status == 202
                await server.types(command)
                await counted.next_read()
            assert server.received()[1] >= 6  # of eight; it prints some of it later

    run(main)


@pytest.mark.parametrize(
    ("version", "command"), [("tls1_2", RENEGOTIATE), ("tls1_3", NEW_KEYS_FOR_BOTH)]
)
def test_negotiating_while_a_body_is_written(
    version: str, command: bytes, run: Callable[[Any], None], tmp_path: Path, counted: Counted
) -> None:
    """What cannot be written meanwhile follows, in its order, to the last byte."""

    async def main() -> None:
        async with talking(tmp_path, version) as (server, send):
            answer = send(LARGE)
            await server.until(b"0001000;")
            await server.types(command)
            await server.until(b"1499999;")
            received, negotiated = server.received()
            assert LARGE in received
            assert negotiated
            await server.types(ANSWER)
            assert (await answer).status == 202

    run(main)
    if version == "tls1_2":
        assert counted.late_writes
