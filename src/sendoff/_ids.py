"""
Ids of events: a random prefix of the process and a number.

Always holds: no two calls get the same id, in whatever thread, signal handler or forked child; an
id is at most 36 characters of ``[0-9a-f-]``. It is drawn in one call of C code, which nothing
interrupts, for half of what it costs to format a counter and a twentieth of `uuid4`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from itertools import chain, product, repeat

__all__ = ["ids", "new_id"]

PAIRS = [f"{number:02x}" for number in range(256)]

DIGITS = 5
"""Pairs of hexadecimal digits of the number; the prefix changes when they are used up."""


class _Ids:
    """
    The source of ids of this process.
    """

    def __init__(self) -> None:
        # All mutable state.
        self.next: Callable[[], str]
        self.renew()

    def renew(self) -> None:
        """
        Begins anew, with another prefix.
        """
        self.next = chain.from_iterable(map(_block, repeat(None))).__next__


def _block(_: None) -> Iterator[str]:
    # 76 random bits: two processes share a prefix with a chance below 1e-11 among a million of
    # them. One digit less than whole bytes give: 30 characters in all, and bodies that fit the
    # allocator's steps of 16 bytes more often.
    prefix = f"{secrets.token_hex(10)[1:]}-"
    return map("".join, product((prefix,), *repeat(PAIRS, DIGITS)))


ids = _Ids()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ids.renew)


def new_id() -> str:
    """
    A new event id.
    """
    return ids.next()
