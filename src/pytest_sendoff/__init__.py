"""
The fixtures of sendoff, for pytest: thin coats around `sendoff.testing`.

Always holds: importing this costs next to nothing and imports nothing of sendoff, because pytest
imports it in every run of an environment that sendoff is installed in; hence it lies beside the
package and not within it. What a fixture needs is imported when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sendoff.sink import SinkProcess
    from sendoff.testing import CapturedEvents

__all__ = ["sendoff_events", "sendoff_sink"]

ALLOW = "sendoff_allow_rejected"


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Declares what may stand in the configuration.
    """
    parser.addini(
        ALLOW,
        "whether sendoff_events lets tests pass in which an event was rejected",
        type="bool",
        default=False,
    )


@pytest.fixture
def sendoff_events(request: pytest.FixtureRequest) -> Iterator[CapturedEvents]:
    """
    The events that the test gives to any dispatcher, captured in memory; none leaves the process.

    The test fails at its end if an event was rejected: `sendoff_events.allow_rejected()` in a test,
    or `sendoff_allow_rejected = true` in the configuration, say that this is meant.
    """
    from sendoff.testing import capture

    failure = ""
    try:
        with capture(allow_rejected=bool(request.config.getini(ALLOW))) as events:
            yield events
    except AssertionError as error:
        failure = str(error)
    if failure:  # the text alone: there is no line of code to show
        pytest.fail(failure, pytrace=False)


@pytest.fixture(scope="session")
def _sendoff_sink_process() -> Iterator[SinkProcess]:
    """
    One sink for all tests of a run: starting a process takes longer than most tests.
    """
    from sendoff.sink import SinkProcess

    with SinkProcess() as process:
        yield process


@pytest.fixture
def sendoff_sink(_sendoff_sink_process: SinkProcess) -> SinkProcess:
    """
    A local stand-in for both vendors, a real server on 127.0.0.1: empty, and without faults.
    """
    _sendoff_sink_process.faults()
    _sendoff_sink_process.reset()
    return _sendoff_sink_process
