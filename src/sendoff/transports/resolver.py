"""
Names to addresses, also in the last moments of a process.

When the interpreter ends, executors take no work and no thread can be started, so aiohttp's own
resolvers fail. Whoever still runs a loop then (an `atexit` callback) has it for itself, so it may
be blocked.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Resolver", "look_up"]

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, type, protocol, canonical name and address: one entry of `socket.getaddrinfo`."""

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


async def look_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> Sequence[AddressInfo]:
    """
    The addresses of a name, as `socket.getaddrinfo` gives them. Cancelling it loses nothing.

    Raises:
        OSError: The name has none.
        UnicodeError: It can be no name.
    """
    # `type` makes one entry of an address, the flag leaves out what this machine cannot reach.
    asked: dict[str, Any] = {
        "family": family,
        "type": socket.SOCK_STREAM,
        "flags": socket.AI_ADDRCONFIG,
    }
    # The main thread is over once executors are closed. To ask the loop then would leave it
    # with an executor that it could not shut down.
    if threading.main_thread().is_alive():
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, **asked)
        except RuntimeError:  # closed, or no thread can be started
            found = socket.getaddrinfo(host, port, **asked)
    else:
        found = socket.getaddrinfo(host, port, **asked)
    return found


class Resolver(AbstractResolver):
    """
    The system's resolver: in the loop's executor, or in place where there is none any more.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        The addresses of a name. Cancelling it loses nothing.

        Raises:
            OSError: The name has none.
        """
        found = await look_up(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=_address(sockaddr),
                port=port,
                family=kind,
                proto=proto,
                flags=NUMERIC,
            )
            for kind, _, proto, _, sockaddr in found
        ]

    async def close(self) -> None:
        """
        Nothing to close.
        """


def _address(sockaddr: tuple[Any, ...]) -> str:
    """
    An address as text; a link-local one of IPv6 keeps its zone, without which it leads nowhere.
    """
    host = str(sockaddr[0])
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        return f"{host}%{sockaddr[3]}"
    return host
