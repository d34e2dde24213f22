"""
What every test gets: jitter that is the same in every run, and an end without last flushes of the
dispatchers that tests leave behind. And a sink for those that ask.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from sendoff import _exit
from sendoff.sink import SinkProcess


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    _exit._exit.kept.clear()


@pytest.fixture(scope="module")
def process() -> Iterator[SinkProcess]:
    """
    One sink for a file, as a start takes long; a file with other settings has its own.
    """
    with SinkProcess() as sink:
        yield sink


@pytest.fixture
def sink(process: SinkProcess) -> SinkProcess:
    """
    The file's sink, without counts and faults.
    """
    process.faults()
    process.reset()
    return process
