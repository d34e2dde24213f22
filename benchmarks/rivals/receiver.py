"""
What all of them post to: a process of its own that answers every request with 200 and keeps bodies.

Nothing is taken apart while requests come in: what a body holds is asked for afterwards, and a
peer's own adapter reads it. So the receiver costs the measured process as little as can be, the
same for all.

Run as ``python -m benchmarks.rivals.receiver [--silent]``: it prints its port, and answers each
line on stdin, the name of a peer, with what has come, in the peer's form.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmarks.rivals.peers import peer_of

__all__ = ["Arrived", "Receiver"]

ANSWER = json.dumps(
    {
        "code": 200,  # Amplitude reads its status here
        "status": 1,  # Mixpanel's success, and PostHog's
        "error": None,
        "success": True,
        "id": "0" * 32,  # Sentry's
    }
).encode()
"""What each peer looks for in an answer, all in one. OTLP is answered with an empty message."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """
    What came.

    Attributes:
        requests: POSTs.
        bytes: Of all bodies, as they came over the wire.
        events: Events in them.
        unique: Different events among these.
    """

    requests: int
    bytes: int
    events: int
    unique: int


class Connection(asyncio.Protocol):
    """
    One connection: takes requests apart, keeps bodies, answers each.

    Args:
        keep: Called with each POST's body, decompressed only afterwards, and its encoding.
        silent: Whether nothing is answered.
    """

    def __init__(self, keep: Callable[[bytes, str], None], *, silent: bool) -> None:
        self._keep = keep
        self._silent = silent
        # All mutable state: what has come of requests that are not complete.
        self._buffer = bytearray()
        self._head: tuple[int, str, bool, bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Notes where answers go.
        """
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Answers every request that is complete now.
        """
        self._buffer += data
        while True:
            if self._head is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                self._head = self._parse(bytes(self._buffer[:end]))
                del self._buffer[: end + 4]
            length, encoding, is_post, is_protobuf = self._head
            if len(self._buffer) < length:
                return
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._head = None
            if is_post:
                self._keep(body, encoding)
            if not self._silent:
                self._answer(is_protobuf=is_protobuf)

    def _parse(self, head: bytes) -> tuple[int, str, bool, bool]:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "transfer-encoding" in headers or "expect" in headers:
            # No peer does so; a count that is wrong in silence would be worse than an end.
            self._transport.abort()
            raise ValueError(f"a form of request that is not read here: {first}")
        return (
            int(headers.get("content-length", 0)),
            headers.get("content-encoding", ""),
            first.startswith("POST "),
            "protobuf" in headers.get("content-type", ""),
        )

    def _answer(self, *, is_protobuf: bool) -> None:
        kind, body = ("x-protobuf", b"") if is_protobuf else ("json", ANSWER)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/{kind}\r\nContent-Length: {len(body)}"
        self._transport.write(head.encode() + b"\r\n\r\n" + body)


def plain(body: bytes, encoding: str) -> bytes:
    """
    A body without its compression.
    """
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def count(name: str, bodies: list[tuple[bytes, str]]) -> Arrived:
    """
    What a peer's bodies hold.
    """
    peer = peer_of(name)
    ids = [one for body, encoding in bodies for one in peer.ids(plain(body, encoding))]
    size = sum(len(body) for body, _ in bodies)
    return Arrived(len(bodies), size, len(ids), len(set(ids)))


async def serve(*, silent: bool) -> None:
    """
    Serves until stdin ends.
    """
    bodies: list[tuple[bytes, str]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(lambda *one: bodies.append(one), silent=silent), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        arrived = await asyncio.to_thread(count, line.strip(), list(bodies))
        print(
            json.dumps([arrived.requests, arrived.bytes, arrived.events, arrived.unique]),
            flush=True,
        )


class Receiver:
    """
    The process, from outside; a context manager.

    Args:
        silent: Whether it reads requests and never answers.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *(["--silent"] if silent else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{int(self._read())}"

    def __enter__(self) -> Self:
        """
        Itself.
        """
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Ends the process.
        """
        self._process.kill()
        self._process.communicate()

    def arrived(self, name: str) -> Arrived:
        """
        What has come so far, read in the form of a peer.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return Arrived(*json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the receiver has died; what it wrote to stderr says why")
        return line


if __name__ == "__main__":
    asyncio.run(serve(silent="--silent" in sys.argv))
