"""
A server that costs little: a bare Protocol in a process of its own, which takes POSTs, counts them
at their arrival, and answers each a fixed time later.

It reads no more of HTTP than the length of a body, and is for measurements on loopback only.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import ssl
import time
from array import array
from bisect import bisect_left
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from sendoff._throttle import GUARD

__all__ = ["FullestSeconds", "Server", "fullest"]

ANSWER = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Date: Sun, 22 Nov 2026 11:00:00 GMT\r\n\r\n{}"
)


class _Requests(asyncio.Protocol):
    """
    One connection of the server's.
    """

    def __init__(self, seen: array[float], due: deque[tuple[float, asyncio.Transport]]) -> None:
        self._seen = seen
        self._due = due
        self._rest = b""
        self._owed = 0  # bytes of a body that are still to come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        while data:
            if self._owed:
                taken = min(self._owed, len(data))
                self._owed -= taken
                data = data[taken:]
            else:
                at = data.find(b"\r\n\r\n")
                if at < 0:
                    self._rest = data
                    return
                head = data[:at].lower()
                start = head.index(b"content-length:") + 15
                end = head.find(b"\r\n", start)
                self._owed = int(head[start : end if end > 0 else None])
                data = data[at + 4 :]
                if self._owed > len(data):
                    continue
                data = data[self._owed :]
                self._owed = 0
            if not self._owed:
                now = time.monotonic()
                self._seen.append(now)
                self._due.append((now, self._transport))


def _serve(pipe: Connection, latency: float, pems: tuple[str, str] | None) -> None:
    asyncio.run(_main(pipe, latency, pems))


async def _main(pipe: Connection, latency: float, pems: tuple[str, str] | None) -> None:
    loop = asyncio.get_running_loop()
    seen = array("d")
    due: deque[tuple[float, asyncio.Transport]] = deque()
    tls = None
    if pems is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*pems)
    server = await loop.create_server(lambda: _Requests(seen, due), "127.0.0.1", 0, ssl=tls)
    pipe.send(server.sockets[0].getsockname()[1])
    stopped = asyncio.Event()
    longest = 0.0
    # To free hundreds of TLS connections takes 30 ms, which must not fall into a run: what arrives
    # meanwhile would be noted later, in a crowd.
    gc.disable()

    def ask() -> None:
        nonlocal longest
        word = pipe.recv()
        if word == "reset":
            gc.collect()
            del seen[:]
            longest = 0.0
            pipe.send(None)
        elif word == "stood still":
            pipe.send(longest)
        elif word == "seen":
            pipe.send(seen.tobytes())
        else:
            stopped.set()

    loop.add_reader(pipe.fileno(), ask)

    async def answer() -> None:
        # One timer for all, as all wait equally long.
        nonlocal longest
        pause = 0.001 if latency else 0
        last, last_run = time.monotonic(), time.process_time()
        while True:
            now, run = time.monotonic(), time.process_time()
            longest = max(longest, now - last - (run - last_run) - pause)
            last, last_run = now, run
            while due and now - due[0][0] >= latency:
                transport = due.popleft()[1]
                if not transport.is_closing():
                    transport.write(ANSWER)
            await asyncio.sleep(pause)

    answering = loop.create_task(answer())
    await stopped.wait()
    answering.cancel()


class Server:
    """
    Runs it; `with` starts and ends it.

    Args:
        latency: Seconds from a request's arrival to its answer.
        folder: Where certificates are written; None for plain HTTP.
    """

    def __init__(self, latency: float = 0.02, folder: str | None = None) -> None:
        self.context: ssl.SSLContext | None = None
        pems = None
        if folder is not None:
            ca = trustme.CA()
            own = ca.issue_cert("127.0.0.1")
            pems = (f"{folder}/key.pem", f"{folder}/chain.pem")
            own.private_key_pem.write_to_path(pems[0])
            Path(pems[1]).write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
            pems = (pems[1], pems[0])
            self.context = ssl.create_default_context()
            ca.configure_trust(self.context)
        there = multiprocessing.get_context("spawn")
        self._pipe, child = there.Pipe()
        self._process = there.Process(target=_serve, args=(child, latency, pems), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.port: int = self._pipe.recv()
        self.url = f"http{'s' if self.context else ''}://127.0.0.1:{self.port}/track"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.send("stop")
        self._process.join(5)
        self._process.kill()

    def reset(self) -> None:
        """
        Forgets what it has seen, and collects its garbage: during a run it does not.
        """
        self._pipe.send("reset")
        self._pipe.recv()

    def stood_still(self) -> float:
        """
        The longest time in seconds, since the last `reset`, that this process neither ran nor meant
        to sleep: the machine had given its processor to others. What arrived then was noted later,
        in a crowd.
        """
        self._pipe.send("stood still")
        longest: float = self._pipe.recv()
        return longest

    def seen(self) -> array[float]:
        """
        When requests arrived.
        """
        self._pipe.send("seen")
        times = array("d")
        times.frombytes(self._pipe.recv())
        return times


def fullest(times: array[float]) -> int:
    """
    Most requests in any sliding second.
    """
    return max((bisect_left(times, at + 1.0) - n for n, at in enumerate(times)), default=0)


class FullestSeconds:
    """
    Those of several runs. A run in which the machine kept the receiver's process from running for
    longer than the throttle's guard says nothing of the sender: it is left out, and said.
    """

    def __init__(self) -> None:
        # All mutable state.
        self._counted: list[int] = []
        self._left_out: list[tuple[int, float]] = []  # and how long the receiver stood still

    def note(self, server: Server) -> array[float]:
        """
        A run has ended.

        Returns:
            When requests arrived.
        """
        times, still = server.seen(), server.stood_still()
        if still > GUARD:
            self._left_out.append((fullest(times), still))
        else:
            self._counted.append(fullest(times))
        return times

    @property
    def samples(self) -> tuple[int, ...]:
        """
        Of the runs that count; of all, if none does.
        """
        return tuple(self._counted) or tuple(most for most, _ in self._left_out)

    @property
    def detail(self) -> str:
        """
        What was left out; empty if nothing was.
        """
        return "".join(
            f"; a run with {most:,} left out: the receiver did not run for {still * 1e3:.0f} ms"
            for most, still in self._left_out
        )
