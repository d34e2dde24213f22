"""
What stands on the way to a vendor, real and on loopback: an intake that speaks TLS, and a proxy.

They keep what reaches them and answer as told. Both run in the test's own loop, but for
`BlockingNeighbour`, which lives in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from loopserver import LoopServer

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class Seen(NamedTuple):
    """
    One request as it came over the socket.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """
    An answer's bytes.
    """
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read(reader: asyncio.StreamReader) -> tuple[Seen, bytes]:
    """
    The next request, and its bytes.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in filter(None, lines):
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, target, headers, body), head + body


class Neighbour(LoopServer):
    """
    A server on 127.0.0.1; `async with` runs it.

    Args:
        tls: How it speaks TLS; None for plain HTTP.
        respond: Bytes to answer a request with; None from it means to hang, empty to hang up.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        respond: Callable[[Seen], bytes | None] = lambda _: OK,
    ) -> None:
        super().__init__(tls)
        self.respond = respond
        self.seen: list[Seen] = []

    def url(self, host: str = "127.0.0.1", user: str = "") -> str:
        return f"http{'s' if self._tls else ''}://{user}{host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen, _ = await read(reader)
            self.seen.append(seen)
            said = self.respond(seen)
            if said is None:
                await asyncio.Event().wait()
            if not said:
                return
            writer.write(said)
            await writer.drain()


class Proxy(Neighbour):
    """
    A proxy: tunnels what CONNECT asks for and passes on what comes with a whole URL.

    Args:
        credentials: ``user:password`` that it wants, or None.
        tls: How it speaks TLS itself.
        refuse: Bytes to answer CONNECT with in the place of a tunnel, None from it for a tunnel.
    """

    def __init__(
        self,
        credentials: str | None = None,
        tls: ssl.SSLContext | None = None,
        refuse: Callable[[Seen], bytes | None] = lambda _: None,
    ) -> None:
        super().__init__(tls)
        self._credentials = credentials
        self.refuse = refuse

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen, raw = await read(reader)
        self.seen.append(seen)
        refusal = self.refuse(seen)
        if self._credentials is not None:
            wanted = "Basic " + base64.b64encode(self._credentials.encode("latin-1")).decode()
            if seen.headers.get("proxy-authorization") != wanted:
                refusal = answer(407)
        if refusal is not None:
            writer.write(refusal)
            await writer.drain()
            return
        host, _, port = seen.target.removeprefix("http://").partition("/")[0].rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        try:
            if seen.method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                back.write(raw)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


class BlockingNeighbour:
    """
    An intake in a thread, on OpenSSL's own sockets: a handshake that it refuses ends with an alert,
    as that of any server in the field. asyncio's servers hang up without one.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self.seen: list[bytes] = []

    def url(self, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self._listener.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                with plain, self._tls.wrap_socket(plain, server_side=True) as there:
                    said = there.recv(1 << 16)
                    while said and b"}" not in said:  # one small JSON object
                        said += there.recv(1 << 16)
                    if said:
                        self.seen.append(said)
                        there.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            except OSError:  # a refused handshake among them
                continue
