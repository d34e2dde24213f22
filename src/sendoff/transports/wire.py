"""
What lies between a connection and the network: the loop's transport of a socket, or TLS above it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol, cast

__all__ = ["Wire", "read_last"]


class Wire(Protocol):
    """
    What a connection is written to.
    """

    def write(self, data: bytes | memoryview, /) -> None:
        """
        Sends bytes, after those before.
        """

    def is_closing(self) -> bool:
        """
        Whether nothing can be written any more.
        """

    def close(self) -> None:
        """
        Ends it once everything is written.
        """

    def abort(self) -> None:
        """
        Ends it at once.
        """


def read_last(wire: object, buffer: memoryview) -> int:
    """
    Reads once more after a write has failed: in front of the reset may lie an answer, or an alert.

    Returns:
        How many bytes came.
    """
    # Of asyncio's own transports, whose socket is still open in `connection_lost`.
    if not type(wire).__module__.startswith("asyncio.selector"):
        return 0
    try:
        return os.readv(cast(asyncio.Transport, wire).get_extra_info("socket").fileno(), [buffer])
    except OSError:
        return 0
