"""
Proxies, redirects and sessions of one's own, over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import trustme

from certificates import serving, trusting
from neighbours import OK, Neighbour, Proxy, Seen, answer
from sendoff import Datadog, Dispatcher, Freshpaint, OptionError, Retry
from sendoff.transports.http import HttpTransport

QUICK = Retry(attempts=1_000, base=0.02, cap=0.05, hold_interval=0.05)
OURS = trustme.CA()


def freshpaint(server: Neighbour, **options: Any) -> Freshpaint:
    return Freshpaint(
        token="t0ken", endpoint=f"{server.url()}/track", **{"retry": QUICK, **options}
    )


async def send(destination: Any, *, events: int = 3, timeout: float = 5.0, **options: Any) -> Any:
    """
    Gives some events to a destination; its statistics after a flush.
    """
    async with Dispatcher(destination, shutdown_timeout=0.0, **options) as dispatcher:
        for number in range(events):
            dispatcher.track("x", user_id="u", properties={"n": number})
        await dispatcher.flush(timeout=timeout)
        return dispatcher.stats().destinations[destination.name]


def numbers(server: Neighbour) -> list[int]:
    return sorted(json.loads(seen.body)["properties"]["n"] for seen in server.seen)


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure_proxy", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_everything_goes_through_the_proxy(secure: bool, secure_proxy: bool) -> None:
    """Plain requests as a whole URL, TLS through CONNECT; with the credentials of the URL."""

    async def main() -> None:
        tls = serving(OURS) if secure else None
        proxy_tls = serving(OURS) if secure_proxy else None
        async with Neighbour(tls) as there, Proxy("ünal:p@ss/w", tls=proxy_tls) as proxy:
            url = proxy.url(user="%C3%BCnal:p%40ss%2Fw@")
            destination = freshpaint(there, proxy=url, ssl=trusting(OURS), workers=2)
            assert (await send(destination)).delivered == 3
            assert numbers(there) == [0, 1, 2]
            assert {seen.method for seen in proxy.seen} == {"CONNECT" if secure else "POST"}
            assert all("proxy-authorization" in seen.headers for seen in proxy.seen)
            if secure:  # what the proxy can see of it
                assert "t0ken" not in repr(proxy.seen)
                assert "proxy-authorization" not in repr(there.seen)

    asyncio.run(main())


def test_each_destination_has_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One goes through the proxy, the other straight, and the environment's proxy is not asked."""

    async def main() -> None:
        async with Neighbour() as there, Proxy() as proxy, Proxy() as environment:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, environment.url())
            through = freshpaint(there, proxy=proxy.url())
            straight = freshpaint(there, name="straight")
            async with Dispatcher(through, straight) as dispatcher:
                dispatcher.track("x", user_id="u", properties={"n": 1})
                assert await dispatcher.flush(timeout=5)
            assert (len(there.seen), len(proxy.seen), len(environment.seen)) == (2, 1, 0)

    asyncio.run(main())


@pytest.mark.parametrize("status", [407, 403, 502, 503])
def test_a_proxy_that_refuses_costs_nothing(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The events wait or are tried again; when the proxy lets them through they all arrive."""

    async def main() -> None:
        left = 4

        def refuse(_: Seen) -> bytes | None:
            nonlocal left
            left -= 1
            return answer(status) if left >= 0 else None

        async with Neighbour(serving(OURS)) as there, Proxy(refuse=refuse) as proxy:
            destination = freshpaint(
                there, proxy=proxy.url(user="user:s3cr3t@"), ssl=trusting(OURS), workers=1
            )
            stats = await send(destination)
            assert (stats.delivered, stats.submitted) == (3, 3)
            assert numbers(there) == [0, 1, 2]
            assert len(proxy.seen) >= 5

    asyncio.run(main())
    word = "proxy_refused" if status in (407, 403) else "proxy"
    assert f"freshpaint: {word} (" in caplog.text
    assert f"it answered {status}" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert "czNjcjN0" not in caplog.text  # the same in base64


@pytest.mark.parametrize("said", [b"", b"what?\r\n\r\n"], ids=["hangs up", "no HTTP"])
def test_a_proxy_that_says_nothing_of_use(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails before the tunnel stands is the proxy's, and was not sent."""

    async def main() -> None:
        async with Neighbour(serving(OURS)) as there, Proxy(refuse=lambda _: said) as proxy:
            stats = await send(
                freshpaint(there, proxy=proxy.url(), ssl=trusting(OURS)), timeout=0.3
            )
            assert (stats.delivered, stats.pending, there.seen) == (0, 3, [])

    asyncio.run(main())
    assert "freshpaint: proxy (" in caplog.text


def test_a_proxy_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """The attempt's time-out ends it; nothing was sent, and the next try may find a tunnel."""

    async def main() -> None:
        hung = asyncio.Event()

        class Hanging(Proxy):
            async def serve(self, reader: Any, writer: Any) -> None:
                if not hung.is_set():
                    hung.set()
                    await asyncio.Event().wait()
                await super().serve(reader, writer)

        async with Neighbour(serving(OURS)) as there, Hanging() as proxy:
            destination = freshpaint(
                there, proxy=proxy.url(), ssl=trusting(OURS), timeout=0.5, workers=1
            )
            assert (await send(destination)).delivered == 3
            assert numbers(there) == [0, 1, 2]

    asyncio.run(main())
    assert "freshpaint: connect_timeout (no connection in time; not sent)" in caplog.text


def test_a_proxy_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing goes straight to the vendor instead."""

    async def main() -> None:
        async with Neighbour() as there:
            stats = await send(freshpaint(there, proxy="http://127.0.0.1:9"), timeout=0.2)
            assert (stats.pending, there.seen) == (3, [])

    asyncio.run(main())
    assert "freshpaint: proxy (" in caplog.text
    assert "Connection refused" in caplog.text


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """The other server gets nothing: no header, no body, no connection."""

    async def main() -> None:
        async with Neighbour() as elsewhere, Neighbour() as there:
            there.respond = lambda _: answer(status, Location=f"{elsewhere.url()}/track")
            datadog = Datadog(
                api_key="key",
                application_id="app",
                endpoint=there.url(),
                flush_interval=0.0,
                retry=QUICK,
            )
            for destination in (datadog, freshpaint(there)):
                stats = await send(destination, timeout=0.3)
                assert (stats.delivered, stats.pending) == (0, 3)
            assert len(there.seen) >= 4
            assert (elsewhere.seen, elsewhere.connections) == ([], 0)

    asyncio.run(main())


# --- a session of one's own -----------------------------------------------------------------------


def test_a_session_of_ones_own_is_used_and_left_open() -> None:
    """Its headers go along, its time-out and `raise_for_status` do not, and it is never closed."""

    async def main() -> None:
        answers = iter([answer(503)])
        async with (
            Neighbour(respond=lambda _: next(answers, OK)) as there,
            aiohttp.ClientSession(
                headers={"X-Mine": "yes"},
                raise_for_status=True,
                timeout=aiohttp.ClientTimeout(total=1e-6),
            ) as session,
        ):
            stats = await send(freshpaint(there), transport=HttpTransport(session=session))
            assert (stats.delivered, stats.retries >= 1) == (3, True)
            assert all(seen.headers["X-Mine".lower()] == "yes" for seen in there.seen)
            assert not session.closed

    asyncio.run(main())


def test_a_session_that_is_closed_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The lane holds, and the log says whose fault it is."""

    async def main() -> None:
        async with Neighbour() as there:
            session = aiohttp.ClientSession()
            await session.close()
            transport = HttpTransport(session=session)
            stats = await send(freshpaint(there), timeout=0.2, transport=transport)
            assert (stats.pending, there.seen) == (3, [])

    asyncio.run(main())
    assert "freshpaint: session (the session you gave is closed" in caplog.text


def test_a_session_of_another_loop_loses_nothing() -> None:
    """aiohttp would raise something odd from deep within; here the lane holds."""
    kept: list[aiohttp.ClientSession] = []

    async def make() -> None:
        kept.append(aiohttp.ClientSession())

    async def main() -> None:
        async with Neighbour() as there:
            transport = HttpTransport(session=kept[0])
            stats = await send(freshpaint(there), timeout=0.3, transport=transport)
            assert (stats.delivered, stats.pending) == (0, 3)

    asyncio.run(make())
    asyncio.run(main())
    asyncio.run(kept[0].close())


def test_a_child_does_not_use_its_parents_session() -> None:
    """Its connections are the parent's: to send on them would mix two processes' requests."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            transport = HttpTransport(session=session)
            transport._pid = os.getppid()  # as it is in a child
            await transport.open()
            with pytest.raises(Exception, match="session") as caught:
                await transport.send(None, lambda: None)  # type: ignore[arg-type]
            assert caught.value.perhaps_sent is False
            await transport.aclose()
            assert not session.closed

    asyncio.run(main())


@pytest.mark.parametrize("session", [aiohttp.ClientSession, object(), "session", False])
def test_a_wrong_session_is_refused(session: Any) -> None:
    """At construction, naming the option."""
    with pytest.raises(OptionError, match=r"session must be an aiohttp\.ClientSession, not"):
        HttpTransport(session=session)


# --- a proxy that others wrote --------------------------------------------------------------------


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    The address of a proxy from the package index, which asks for a password.
    """
    port_file = tmp_path_factory.mktemp("proxy") / "port"
    command = "--hostname 127.0.0.1 --port 0 --basic-auth user:pass --threaded --num-workers 1"
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", *command.split(), "--port-file", str(port_file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not (port_file.exists() and port_file.read_text().strip()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"127.0.0.1:{port_file.read_text().split()[0]}"
        finally:
            process.terminate()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_packaged_proxy(packaged: str, secure: bool) -> None:
    """With its password everything arrives, plain and through CONNECT; without it nothing does."""

    async def main() -> None:
        async with Neighbour(serving(OURS) if secure else None) as there:
            options: Any = {"ssl": trusting(OURS), "workers": 2}
            without = freshpaint(there, proxy=f"http://{packaged}", **options)
            stats = await send(without, timeout=0.5)
            assert (stats.delivered, stats.pending, there.seen) == (0, 3, [])
            wanted = freshpaint(there, proxy=f"http://user:pass@{packaged}", **options)
            assert (await send(wanted, timeout=30)).delivered == 3
            assert numbers(there) == [0, 1, 2]

    asyncio.run(main())
