"""
A lean HTTP server in a process of its own: as little work as a receiver can do, so that a sender is
what is measured.

A bare protocol on asyncio: it takes POSTs with a Content-Length, plain or over TLS, counts what
arrives and answers 202 after a set time. It is no sink: it checks nothing and keeps no body. It
gives way to other processes, as a vendor takes no processor from its client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Receiver", "certificate"]

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
MARKS = (b'"type":"server"', b'"$insert_id":')
"""What occurs once in every event, by the vendor."""


class Receiver:
    """
    The server, from `with` to its end.

    Args:
        latency: Seconds from the end of a request to its answer.
        certificate: A PEM file with certificate and key, to speak TLS.
    """

    def __init__(self, *, latency: float = 0.0, certificate: Path | None = None) -> None:
        self._arguments = ["--latency", str(latency)]
        if certificate is not None:
            self._arguments += ["--certificate", str(certificate)]
        self._scheme = "http" if certificate is None else "https"

    def __enter__(self) -> Self:
        """
        Starts it and waits until it listens.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiver", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Ends it.
        """
        self._process.communicate()

    @property
    def url(self) -> str:
        """
        Where it takes requests; any path will do.
        """
        return f"{self._scheme}://localhost:{self._port}/"

    def count(self) -> dict[str, int]:
        """
        Requests, events and bytes of bodies since the last time this was asked.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._process.stdout.readline())
        return counts


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """
    A file for a receiver that speaks TLS, and what a client needs to trust it.
    """
    import trustme

    authority = trustme.CA()
    path = folder / "receiver.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return path, trust


class _Connection(asyncio.Protocol):
    def __init__(self, latency: float, arrived: Callable[[bytes, bool], None]) -> None:
        self._latency = latency
        self._arrived = arrived
        self._data = bytearray()
        self._needed = 0  # bytes of the request under way, its head included; 0 before its head
        self._head = 0
        self._gzip = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._whole():
            self._arrived(bytes(self._data[self._head : self._needed]), self._gzip)
            del self._data[: self._needed]
            self._needed = 0
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._answer)
            else:
                self._answer()

    def _whole(self) -> bool:
        if not self._needed:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._data[:end]).lower()
            self._head = end + 4
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._needed = self._head + int(length)
            self._gzip = b"content-encoding: gzip" in head
        return len(self._data) >= self._needed

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def _serve(latency: float, certificate: str | None) -> None:
    bodies: list[tuple[bytes, bool]] = []
    counts = {"requests": 0, "events": 0, "bytes": 0}

    def arrived(body: bytes, is_gzip: bool) -> None:
        counts["requests"] += 1
        counts["bytes"] += len(body)
        # Unpacked only when it is asked for: the receiver must not be what is waited for.
        if is_gzip:
            bodies.append((body, is_gzip))
        else:
            counts["events"] += sum(body.count(mark) for mark in MARKS)

    def asked() -> None:
        if not sys.stdin.readline():
            ended.set()
            return
        for body, _ in bodies:
            plain = zlib.decompress(body, 31)
            counts["events"] += sum(plain.count(mark) for mark in MARKS)
        bodies.clear()
        print(json.dumps(counts), flush=True)
        counts.update(requests=0, events=0, bytes=0)

    ended = asyncio.Event()
    context: ssl.SSLContext | None = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"ssl": context, "backlog": 1_024}
    server = await loop.create_server(
        lambda: _Connection(latency, arrived), "127.0.0.1", 0, **options
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin, asked)
    await ended.wait()
    server.close()


def main() -> None:
    """
    Serves until standard input ends.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--certificate")
    options = parser.parse_args()
    os.nice(10)
    asyncio.run(_serve(options.latency, options.certificate))


if __name__ == "__main__":
    main()
