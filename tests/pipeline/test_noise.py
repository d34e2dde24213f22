"""
What an outage writes to the log at 1,000 failing events a second: little, and the first at once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sendoff import Dispatcher, Freshpaint, Request, Retry, TransportError
from virtual import Vendors, datadog, dispatcher, fates, freshpaint, now, run

pytestmark = pytest.mark.slow

MINUTES = 2
MOST = 10
"""Lines in any minute, over all loggers and both destinations."""


class Lines(logging.Handler):
    """
    When each line of any logger was written, by the loop's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((now(), record.getMessage()))

    def most_in_a_minute(self) -> int:
        moments = [moment for moment, _ in self.lines]
        return max(sum(start <= moment < start + 60 for moment in moments) for start in moments)


@pytest.fixture
def lines() -> Any:
    handler, root = Lines(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


async def pour(d: Dispatcher, seconds: float, *, bad: bool = False) -> None:
    """
    1,000 events a second; bad ones are of five kinds, which no vendor would take.
    """
    d._log.clock = now
    kinds: list[dict[str, Any]] = [
        {"user_id": "u", "properties": []},
        {"user_id": object()},
        {},
        {"user_id": "u", "time": -1},
        {"user_id": "u", "insert_id": "ä"},
    ]
    for _ in range(int(seconds * 10)):
        for number in range(100):
            if bad:
                d.track("x", **kinds[number % 5])
            else:
                d.track("x", user_id="u")
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("failure", ["connect", "503"])
def test_a_total_outage_is_at_most_ten_lines_a_minute(failure: str, lines: Lines) -> None:
    """Both vendors down and the queues full; retries run out, too. The first line comes at once."""

    def answer(request: Request, events: Any) -> int:
        if failure == "connect":
            raise TransportError("connect", perhaps_sent=False)
        return int(failure)

    async def main() -> None:
        retry = Retry(attempts=3, max_elapsed=20)
        d = dispatcher(
            Vendors(answer),
            datadog(retry=retry, flush_interval=0.1),
            freshpaint(retry=retry),
            max_queue_events=2_000,
        )
        async with d:
            await pour(d, MINUTES * 60)
            assert fates(d, "freshpaint")["dropped"]["overflow"] > 100_000
            await d.aclose(timeout=0)

    run(main())
    assert lines.lines[0][0] < 0.2
    assert {"datadog", "freshpaint"} == {
        text.partition(":")[0] for moment, text in lines.lines if moment < 0.5
    }
    assert lines.most_in_a_minute() <= MOST
    assert len(lines.lines) > MINUTES  # it goes on saying so


def test_bad_calls_are_at_most_ten_lines_a_minute(lines: Lines) -> None:
    """1,000 rejected events a second, of five kinds for each vendor, while both are down."""

    async def main() -> None:
        async with dispatcher(Vendors(lambda request, events: 503), datadog(), freshpaint()) as d:
            await asyncio.gather(pour(d, MINUTES * 60, bad=True), pour(d, 10))
            await d.aclose(timeout=0)

    run(main())
    assert lines.most_in_a_minute() <= MOST
    assert lines.lines[0][0] == 0.0
    # Three a minute, and those that did not fit into the first have had their turn in the second.
    assert len({text.partition(" (")[0] for _, text in lines.lines if "rejected" in text}) == 6


def test_refused_events_are_at_most_ten_lines_a_minute(lines: Lines) -> None:
    """The vendors answer 400 to every event, at 1,000 events a second."""

    async def main() -> None:
        async with dispatcher(Vendors(lambda request, events: 400), datadog(), freshpaint()) as d:
            await pour(d, 8)
            assert fates(d, "freshpaint")["dropped"]["refused"] > 7_000
            await d.aclose(timeout=0)

    run(main())
    assert lines.most_in_a_minute() <= MOST


def test_a_transport_that_cannot_open_is_a_line_a_minute(lines: Lines) -> None:
    """Every `flush` starts the sending again, and none may say so again."""

    class Broken:
        async def open(self) -> None:
            raise OSError

        async def send(self, request: Any, sent: Any) -> Any:
            raise AssertionError

        async def aclose(self) -> None:
            return

    async def main() -> None:
        d = Dispatcher(Freshpaint(token="t"), transport=Broken())
        for _ in range(90):
            await pour(d, 1)
            assert not await d.flush(timeout=0.1)
        assert fates(d, "freshpaint") == {"pending": 90_000}

    run(main())
    assert [text.partition(";")[0] for _, text in lines.lines] == [
        "sending has stopped: OSError"
    ] * 2
