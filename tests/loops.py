"""
The kinds of loops that tests run on.
"""

from __future__ import annotations

import asyncio

import pytest

__all__ = ["new_uvloop"]


def new_uvloop() -> asyncio.AbstractEventLoop:
    """
    A loop of uvloop's; skips the test where that is not installed.
    """
    return pytest.importorskip("uvloop").new_event_loop()
