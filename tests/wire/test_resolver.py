"""
Names to addresses, while a loop can ask its executor and when nothing can be asked any more.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from typing import Any

import pytest

from neighbours import Neighbour
from sendoff.transports.resolver import Resolver


class Loop(asyncio.SelectorEventLoop):
    """
    A loop whose executor takes no work.
    """

    asked = 0

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        self.asked += 1
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def resolve(host: str, loop: asyncio.AbstractEventLoop, **options: Any) -> Any:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(Resolver().resolve(host, 443, **options))


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, Loop], ids=["works", "refuses"])
def test_a_name_is_found_with_and_without_an_executor(loop: type[Any]) -> None:
    """The same answer, in the form that aiohttp wants, whichever way it came."""
    assert {
        "hostname": "localhost",
        "host": "127.0.0.1",
        "port": 443,
        "family": socket.AF_INET,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    } in resolve("localhost", loop())


def test_at_the_end_the_loop_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be left with an executor that it could not shut down."""

    class Over:
        def is_alive(self) -> bool:
            return False

    monkeypatch.setattr(threading, "main_thread", Over)
    loop = Loop()
    assert resolve("localhost", loop)
    assert loop.asked == 0


def test_a_name_without_an_address_raises_as_the_system_does() -> None:
    """aiohttp takes that for a failure of the name's."""
    with pytest.raises(OSError, match=r"."):
        resolve("nobody.invalid", Loop())


def test_a_link_local_address_keeps_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the address leads nowhere."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 443, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    (entry,) = resolve("printer.local", Loop(), family=socket.AF_UNSPEC)
    assert entry["host"] == "fe80::1%3"


# --- the end of the interpreter -------------------------------------------------------------------

LAST_WORDS = """
import asyncio, atexit, sys
import concurrent.futures.thread  # as in any application; without it executors fail more kindly
from sendoff import Dispatcher, Freshpaint
from sendoff.transports.http import HttpTransport  # at the end no thread can load it

dispatcher = Dispatcher(
    Freshpaint(token="token", endpoint=sys.argv[1]), transport=HttpTransport()
)

async def send():
    async with dispatcher:
        pass
    print(dispatcher.stats().destinations["freshpaint"].delivered)

dispatcher.track("x", user_id="u")
atexit.register(lambda: asyncio.run(send()))
"""


def test_a_name_is_resolved_while_the_interpreter_ends() -> None:
    """No thread can be started and no executor takes work: `localhost` is found all the same."""

    async def main() -> None:
        async with Neighbour() as there:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-W", "error", "-c", LAST_WORDS, f"{there.url('localhost')}/track"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 30)
            assert (out, err, process.returncode) == (b"1\n", b"", 0)
            assert len(there.seen) == 1

    asyncio.run(main())
