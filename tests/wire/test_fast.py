"""
What the fast lane alone does: which requests it takes, whom it asks, what it keeps for how long.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import trustme

from certificates import serving, trusting
from neighbours import Neighbour, Proxy
from rawserver import turns
from sendoff import Dispatcher, Freshpaint, MemoryTransport
from sendoff.errors import TransportError
from sendoff.events import Request
from sendoff.transports import fast
from sendoff.transports.connection import Connection
from sendoff.transports.http import HttpTransport
from virtual import now, run

HEADERS = {"Content-Type": "application/json"}


async def send(transport: HttpTransport, url: str, **headers: str) -> int:
    response = await transport.send(Request(url, headers or HEADERS, b"{}"), lambda: None)
    return response.status


async def lane(server: Neighbour, transport: Any = None, **options: Any) -> tuple[str, str]:
    """
    What a dispatcher says of its lane, before its first event and after.
    """
    there = Freshpaint(token="token", endpoint=f"{server.url()}/track", **options)
    async with Dispatcher(there, transport=transport) as dispatcher:
        before = dispatcher.stats().destinations["freshpaint"].lane
        dispatcher.track("x", user_id="u")
        assert await dispatcher.flush(timeout=5)
        return before, dispatcher.stats().destinations["freshpaint"].lane


def test_statistics_show_the_lane() -> None:
    """The fast one for everything usual; the session for proxies and sessions; a class's name."""

    async def main() -> None:
        async with Neighbour() as there, Proxy() as proxy, aiohttp.ClientSession() as session:
            assert await lane(there) == ("", "fast")
            assert await lane(there, proxy=proxy.url()) == ("", "session")
            assert await lane(there, HttpTransport(session=session)) == ("", "session")
            assert await lane(there, MemoryTransport()) == ("", "MemoryTransport")
            assert (len(there.seen), len(proxy.seen)) == (3, 1)

    asyncio.run(main())


def test_what_the_fast_lane_does_not_know_goes_all_the_same() -> None:
    """An unusual URL or header goes by the session, and arrives."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        async with Neighbour() as there:
            assert await send(transport, f"{there.url()}/ä") == 202
            assert await send(transport, there.url(), TE="trailers") == 202
            assert [seen.target for seen in there.seen] == ["/%C3%A4", "/"]
            assert not transport._fast._all
            await transport.aclose()

    asyncio.run(main())


def test_headers_that_change_in_place_are_seen() -> None:
    """A prepared head is used only for what it was made for, and not too many are kept."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        async with Neighbour() as there:
            headers = dict(HEADERS)
            for number in range(3):
                headers["x-number"] = str(number)
                await transport.send(Request(there.url(), headers, b"{}"), lambda: None)
            assert [seen.headers["x-number"] for seen in there.seen] == ["0", "1", "2"]
            kept = [{"x-number": str(number)} for number in range(fast.MOST_WAYS + 5)]
            for own in kept:
                await transport.send(Request(there.url(), own, b"{}"), lambda: None)
            assert [seen.headers["x-number"] for seen in there.seen[3:]] == [
                own["x-number"] for own in kept
            ]
            assert len(transport._fast._ways) <= fast.MOST_WAYS
            assert there.connections == 1
            await transport.aclose()

    asyncio.run(main())


def test_an_idle_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One timer closes those that have lain too long, and no other."""
    monkeypatch.setattr(fast, "KEEPALIVE_SECONDS", 0.1)

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        async with Neighbour() as there:
            await asyncio.gather(*(send(transport, there.url()) for _ in range(3)))
            end = asyncio.get_running_loop().time() + 0.25
            while asyncio.get_running_loop().time() < end:
                assert await send(transport, there.url()) == 202  # always the freshest
                await asyncio.sleep(0.01)
            assert (there.connections, len(transport._fast._all)) == (3, 1)
            await asyncio.sleep(0.15)
            assert not transport._fast._all
            await transport.aclose()

    asyncio.run(main())


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses is passed over; where all refuse, the name is looked up again."""
    lookups: list[str] = []
    dead = socket.create_server(("127.0.0.1", 0))
    nobody = dead.getsockname()
    dead.close()
    addresses: list[Any] = [nobody]

    async def look_up(host: str, port: int, family: int = 0) -> Any:
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in addresses]

    monkeypatch.setattr(fast, "look_up", look_up)

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        async with Neighbour() as there:
            url = there.url("intake.example")
            with pytest.raises(TransportError, match="connect: Connection refused") as caught:
                await send(transport, url)
            assert caught.value.perhaps_sent is False
            addresses.append(("127.0.0.1", there.port))
            answers = await asyncio.gather(*(send(transport, url) for _ in range(4)))
            assert answers == [202] * 4
            assert len(lookups) in (2, 5)  # known, once the first has come back
            known = len(lookups)
            await asyncio.gather(*(send(transport, url) for _ in range(8)))
            assert (there.connections, len(lookups)) == (8, known)
            await transport.aclose()

    asyncio.run(main())


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not sent, and said by its own word; also for what can be no name."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        for host in ("nobody.invalid", "x" * 70):
            with pytest.raises(TransportError, match="resolve") as caught:
                await send(transport, f"http://{host}/")
            assert caught.value.perhaps_sent is False
        await transport.aclose()

    asyncio.run(main())


def test_the_end_leaves_nothing_behind() -> None:
    """Requests under way fail, every connection is closed, and the transport opens again."""

    async def main() -> None:
        transport = HttpTransport()
        async with Neighbour() as there, Neighbour(respond=lambda _: None) as silent:
            for _ in range(2):
                await transport.open()
                await send(transport, there.url())
                waiting = asyncio.create_task(send(transport, silent.url()))
                while not silent.seen:
                    await turns()
                lane = transport._fast
                await transport.aclose()
                assert not lane._all
                with pytest.raises(TransportError, match="disconnected"):
                    await waiting
                silent.seen.clear()
            with pytest.raises(TransportError, match="connect"):
                await send(transport, there.url())

    asyncio.run(main())


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_the_end_in_the_middle_of_a_handshake(is_cancelled: bool) -> None:
    """The socket is closed, though the server says nothing; and what was asked for says so."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            task = asyncio.create_task(send(transport, url))
            lane = transport._fast
            async with asyncio.timeout(10):
                while not lane._all:
                    await asyncio.sleep(0.001)
            if is_cancelled:
                task.cancel()
                await turns()
                assert not lane._all
            await transport.aclose()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            assert isinstance(outcome, asyncio.CancelledError if is_cancelled else TransportError)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(10)
                with suppress(ConnectionResetError):
                    while peer.recv(10_000):
                        pass

    asyncio.run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_is_over_at_once(secure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent on it, and the end does not wait for it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        create = loop.create_connection

        async def cut(*args: Any, **options: Any) -> Any:
            made = await create(*args, **options)
            made[0].abort()
            await turns()
            return made

        monkeypatch.setattr(loop, "create_connection", cut)
        transport = HttpTransport()
        await transport.open()
        ca = trustme.CA()
        async with Neighbour(serving(ca) if secure else None) as there:
            request = Request(there.url(), HEADERS, b"{}", trusting(ca) if secure else None)
            with pytest.raises(TransportError, match="connect") as caught:
                await transport.send(request, lambda: None)
            assert caught.value.perhaps_sent is False
            assert not transport._fast._all
        async with asyncio.timeout(10):
            await transport.aclose()

    asyncio.run(main())


def test_who_is_not_verified_was_sent_nothing() -> None:
    """Which says that the request may go again, whatever it is."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        written = []
        async with Neighbour(serving(trustme.CA())) as there:
            request = Request(there.url(), HEADERS, b"{}", trusting(trustme.CA()))
            with pytest.raises(TransportError, match="tls") as caught:
                await transport.send(request, lambda: written.append(1))
            assert (caught.value.perhaps_sent, written, there.seen) == (False, [], [])
        await transport.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_an_answer_in_front_of_a_reset_is_read_though_a_write_fails_first(secure: bool) -> None:
    """Otherwise a body that is too large would be sent again as it is, and not in halves."""
    answered = threading.Event()
    ca = trustme.CA()
    context = serving(ca)

    def refuse(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) if secure else accepted as peer:
            peer.recv(1_000)
            peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        answered.set()

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=refuse, args=(listener,))
            server.start()
            url = f"{'https' if secure else 'http'}://127.0.0.1:{listener.getsockname()[1]}/"
            request = Request(url, HEADERS, b"x" * 2**21, trusting(ca) if secure else None)

            def sent() -> None:
                # The loop stands still until the reset is there: its first notice is a write.
                answered.wait(10)

            response = await transport.send(request, sent)
            server.join()
        assert (response.status, response.body) == (413, b"no")
        await transport.aclose()

    asyncio.run(main())


# --- handshakes -----------------------------------------------------------------------------------


class Opening(fast.FastLane):
    """
    A lane that notes when it would open a connection, and gets none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    async def _connected(self, way: fast.Way) -> Connection:
        self.times.append(now())
        raise TransportError("connect", perhaps_sent=False)

    async def sent(self, url: str, count: int) -> list[Any]:
        way = self.way_of(Request(url, HEADERS, b"{}"))
        assert way is not None
        sends = (self.send(way, b"{}", lambda: None) for _ in range(count))
        return await asyncio.gather(*sends, return_exceptions=True)


def test_handshakes_begin_one_after_the_other() -> None:
    """Each costs both ends; a connection without TLS waits for nothing, nor does the first."""

    async def main() -> None:
        lane = Opening()
        await lane.sent("http://127.0.0.1:9", 4)
        assert lane.times == [0.0] * 4
        outcomes = await lane.sent("https://127.0.0.1:9", 4)
        gap = fast.HANDSHAKE_SECONDS
        assert lane.times[4:] == pytest.approx([0.0, gap, 2 * gap, 3 * gap])
        assert all(isinstance(one, TransportError) for one in outcomes)
        await asyncio.sleep(1.0)
        await lane.sent("https://127.0.0.1:9", 1)
        assert lane.times[-1] == pytest.approx(1.0 + 3 * gap)
        await lane.aclose()

    run(main())


def test_whoever_waits_for_a_handshake_takes_what_others_are_done_with() -> None:
    """And opens no connection of its own."""

    async def main() -> None:
        transport = HttpTransport()
        await transport.open()
        ca = trustme.CA()
        async with Neighbour(serving(ca)) as there:
            request = Request(there.url(), HEADERS, b"{}", trusting(ca))
            answers = await asyncio.gather(
                *(transport.send(request, lambda: None) for _ in range(200))
            )
            assert [answer.status for answer in answers] == [202] * 200
            assert there.connections < 200
            await transport.aclose()

    asyncio.run(main())
