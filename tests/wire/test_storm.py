"""
A storm at both vendors at once, over real sockets: the ledger and the receiver agree to the event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

from sendoff import Datadog, Dispatcher, Freshpaint, Retry
from sendoff.sink import Settings, SinkProcess

pytestmark = pytest.mark.slow

EVENTS = 6_000
STORM = (
    "503 for 600ms after 300ms",
    "429 for 400ms after 1200ms retry-after 1",
    "hang first 12",
    "401 first 2 on datadog",
    "403 first 2 on freshpaint",
    "html 502 share 0.02",
    "408 share 0.03",
    "reset-before share 0.03",
    "reset share 0.03",
    "truncate share 0.03",
    "close share 0.03",
    "latency 20ms share 0.1",
)
DUPLICATING = {"reset", "truncate"}


@pytest.mark.parametrize("overlap", [True, False], ids=["in a stream", "at once"])
def test_in_a_storm_the_ledger_and_the_receiver_agree(
    overlap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """6,000 events to each vendor: all delivered, each known to the sink, and few log lines."""
    retry = Retry(base=0.05, cap=1.0, attempts=40)
    ids: list[str | None] = []

    async def main(sink: SinkProcess) -> None:
        destinations = (
            Datadog(
                api_key="key",
                application_id="app",
                endpoint=sink.datadog_endpoint,
                id_attribute="insert_id",
                flush_interval=0.02,
                max_batch_events=25,
                timeout=1.0,
                retry=retry,
            ),
            Freshpaint(token="token", endpoint=sink.freshpaint_endpoint, timeout=1.0, retry=retry),
        )
        async with Dispatcher(*destinations) as dispatcher:
            for number in range(EVENTS):
                ids.append(dispatcher.track("x", user_id="u", properties={"n": number}))
                if overlap and number % 20 == 19:
                    await asyncio.sleep(0.005)
            assert await dispatcher.flush(timeout=90)
            for stats in dispatcher.stats().destinations.values():
                assert (stats.delivered, stats.submitted, stats.pending) == (EVENTS, EVENTS, 0)
                assert (stats.pending_bytes, stats.in_flight) == (0, 0)
                assert (dict(stats.dropped), dict(stats.rejections)) == ({}, {})
                assert stats.state == "closed"

    with (
        caplog.at_level(logging.DEBUG),
        SinkProcess(Settings(api_key="key", token="token", faults=STORM)) as sink,
    ):
        asyncio.run(main(sink))
        seen = {"datadog": sink.stats().datadog, "freshpaint": sink.stats().freshpaint}
        arrived = {name: Counter(sink.ids(name)) for name in ("datadog", "freshpaint")}
        strays = sink.stats().strays
    for name, stats in seen.items():
        assert arrived[name].keys() == set(ids), name
        assert (stats.unique, stats.refused, stats.without_id) == (EVENTS, {}, 0), name
        # Twice only what was perhaps sent: requests whose events were processed unseen.
        if name == "freshpaint":
            assert stats.duplicates <= sum(stats.faults.get(kind, 0) for kind in DUPLICATING)
        assert {"status", "hang", "reset-before"} <= stats.faults.keys(), stats.faults
    assert strays == 0
    assert len(caplog.records) <= 40, caplog.messages
