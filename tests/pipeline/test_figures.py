"""
What `stats()` says of requests, of the vendor and of time; on a virtual clock.
"""

from __future__ import annotations

import asyncio

import pytest

from sendoff import Ailment, Retry, TransportError, health_of
from virtual import Vendors, datadog, dispatcher, freshpaint, run


def test_requests_are_counted_with_what_they_carry_and_how_they_end():
    """Events, bytes, seconds and answers of all requests, the retries' too."""

    async def main():
        answers = iter([503, TransportError("disconnected", perhaps_sent=True), 202])

        async def answer():
            await asyncio.sleep(0.25)
            what = next(answers)
            if isinstance(what, Exception):
                raise what
            return what

        vendors = Vendors(lambda *_: answer())
        async with dispatcher(vendors, datadog(retry=Retry(base=0.1))) as d:
            for _ in range(5):
                d.track("e", user_id="u")
            assert await d.flush()
            return d.stats().destinations["datadog"], vendors.requests

    stats, requests = run(main())
    assert dict(stats.answers) == {"503": 1, "disconnected": 1, "202": 1}
    assert (stats.requests, stats.retries, stats.request_events) == (3, 2, 15)
    assert stats.request_bytes == sum(len(request.body) for request in requests)
    assert stats.request_seconds == pytest.approx(0.75)
    assert (stats.fault, stats.held) == ("", False)


def test_a_timeout_and_an_end_are_told_apart():
    """What had no answer in time is counted as that; what was cut off by the end is not."""

    async def main():
        async def never():
            await asyncio.sleep(1_000)

        vendors = Vendors(lambda *_: never())
        d = dispatcher(vendors, datadog(timeout=2.0, retry=Retry(attempts=9)))
        await d.start()
        d.track("e", user_id="u")
        await asyncio.sleep(3.1)
        stats = d.stats().destinations["datadog"]
        assert (dict(stats.answers), stats.requests, stats.fault) == ({"timeout": 1}, 1, "timeout")
        await asyncio.sleep(1.0)
        await d.aclose(timeout=0.1)
        return d.stats().destinations["datadog"]

    stats = run(main())
    assert sum(stats.answers.values()) < stats.requests


def test_a_wrong_key_is_held_and_health_says_so():
    """`held` and the reason while it lasts, the seconds of it, and nothing when it is mended."""

    async def main():
        status = 401
        vendors = Vendors(lambda *_: status)
        async with dispatcher(vendors, datadog()) as d:
            d.track("e", user_id="u")
            await asyncio.sleep(10.0)
            stats = d.stats()
            one = stats.destinations["datadog"]
            assert (one.held, one.fault, one.delivery_age) == (True, "unauthorized", None)
            assert one.held_seconds == pytest.approx(9.0, abs=0.1)  # it waited 1 s to fill
            found = health_of(stats)
            assert [(each.ailment, each.detail) for each in found.complaints] == [
                (Ailment.HELD, "unauthorized")
            ]
            assert found.ready
            status = 202
            assert await d.flush()
            mended = d.stats()
            await asyncio.sleep(7.0)
            later = d.stats().destinations["datadog"]
            assert not health_of(mended).complaints
            assert later.delivery_age == pytest.approx(7.0)
            assert later.held_seconds == mended.destinations["datadog"].held_seconds > 9.0

    run(main())


def test_an_outage_is_not_a_fault_of_configuration():
    """The breaker opens, the reason is shown, `held` is not set."""

    async def main():
        async with dispatcher(Vendors(lambda *_: 503), freshpaint()) as d:
            for _ in range(20):
                d.track("e", user_id="u")
            await asyncio.sleep(5.0)
            found = health_of(d.stats())
            assert [(one.ailment, one.detail) for one in found.complaints] == [
                (Ailment.OUTAGE, "server_error")
            ]
            await d.aclose(timeout=0)

    run(main())


def test_the_age_of_the_oldest_event_grows_while_it_waits():
    """From the first question on; younger events do not hide it, and it ends with its fate."""

    async def main():
        status = 503
        vendors = Vendors(lambda *_: status)
        async with dispatcher(vendors, datadog()) as d:
            ages = []
            for _ in range(6):
                d.track("e", user_id="u")
                ages.append(d.stats().destinations["datadog"].oldest_age)
                await asyncio.sleep(10.0)
            status = 202
            assert await d.flush()
            ages.append(d.stats().destinations["datadog"].oldest_age)
            return ages

    assert run(main()) == pytest.approx([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 0.0])


def test_bounds_and_state_are_shown():
    """The limits beside what they limit; idle, running, closed."""

    async def main():
        d = dispatcher(
            Vendors(), datadog(rate_limit=None), freshpaint(rate_limit=7), max_queue_events=9
        )
        states = [d.stats().state]
        await d.start()
        states.append(d.stats().state)
        d.track("e", user_id="u")
        stats = d.stats().destinations
        await d.aclose()
        states.append(d.stats().state)
        return states, stats

    states, stats = run(main())
    assert states == ["idle", "running", "closed"]
    assert (stats["datadog"].rate_limit, stats["freshpaint"].rate_limit) == (None, 7)
    one = stats["datadog"]
    assert (one.queue_events, one.max_queue_events) == (1, 9)
    assert (one.queue_bytes, one.max_queue_bytes) == (one.pending_bytes, 64 * 2**20)


def test_a_spool_counts_memory_and_disk_apart(tmp_path):
    """`pending` is all, `queue_events` is what is in memory; the spool's bound is the whole's."""

    async def main():
        d = dispatcher(Vendors(), freshpaint(), max_queue_events=3, spool=tmp_path)
        for _ in range(5):
            d.track("e", user_id="u")
        return d.stats()

    stats = run(main())
    one = stats.destinations["freshpaint"]
    assert (one.pending, one.queue_events, one.max_queue_events) == (5, 3, 3)
    assert 0 < one.spool_bytes < stats.max_spool_bytes == 2**30
