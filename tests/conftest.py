"""
What every test gets: jitter that is the same in every run, and an end without last flushes of the
dispatchers that tests leave behind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from sendoff import _exit


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    _exit._exit.kept.clear()
