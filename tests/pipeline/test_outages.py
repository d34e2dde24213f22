"""
Vendors that are down or refuse the key: how few requests they see, and how their clients return.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import Any

import pytest

from sendoff import Dispatcher, Request, Response, Retry, TransportError
from sendoff._retry import Backoff
from virtual import Vendors, datadog, dispatcher, fates, freshpaint, now, run

pytestmark = pytest.mark.slow

CLIENTS = 200
OUTAGE = 60.0
WINDOW = 0.1


def fill(d: Dispatcher, count: int) -> None:
    for n in range(count):
        assert d.track("x", user_id="u", properties={"n": n}) is not None


# --- a fault of configuration ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("latency", [0.0, 0.05, 0.4])
def test_a_wrong_key_for_three_seconds_costs_few_requests_and_no_event(
    status: int, latency: float, caplog: pytest.LogCaptureFixture
) -> None:
    """From the start, both vendors together: at most 12 requests; mended, it recovers by itself."""

    async def answer() -> int:
        wrong = now() < 3.0
        await asyncio.sleep(latency)
        return status if wrong else 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(), datadog(flush_interval=0.2)) as d:
            for _ in range(30):
                fill(d, 100)
                await asyncio.sleep(0.1)
            assert sum(moment < 3.0 for moment in vendors.times) <= 12
            assert await d.flush()
            for host in ("perfalytics", "datadoghq"):
                asked = [
                    t for t, r in zip(vendors.times, vendors.requests, strict=True) if host in r.url
                ]
                back = min(moment for moment in asked if moment >= 3.0)
                # A pause is at most 1, 2, 4 s, so the one over the end is 4 s at most.
                assert back <= 3.0 + 4.0 + latency
            assert fates(d, "freshpaint") == fates(d, "datadog") == {"delivered": 3_000}

    with caplog.at_level(logging.WARNING):
        run(main())
    assert len(caplog.records) == 2  # one for each vendor


def test_a_key_that_turns_wrong_costs_what_was_under_way() -> None:
    """In the middle of full traffic: the 128 that were under way, and few more; nothing is lost."""
    wrong = False

    async def answer() -> int:
        await asyncio.sleep(0.1)
        return 401 if wrong else 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        nonlocal wrong
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 6_000)
            await asyncio.sleep(2.05)
            assert fates(d, "freshpaint")["delivered"] > 1_000
            wrong = True
            before, turned = len(vendors.times), now()
            await asyncio.sleep(3.0)
            # 128 were under way already, and have been answered; nobody followed them.
            assert len(vendors.times) - before <= 4
            wrong = False
            assert await d.flush()
            assert now() - turned < 3.0 * 3 + 6
            assert fates(d, "freshpaint") == {"delivered": 6_000}

    run(main())


def test_a_wrong_key_that_stays_is_asked_about_rarely() -> None:
    """An hour costs some 160 probes at the default interval, and every one goes alone."""
    vendors = Vendors(lambda request, events: 401)

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 1_000)
            await asyncio.sleep(3_600)
            # Pauses of 15 to 30 s, after seven that grow.
            assert 3_600 / 30 <= len(vendors.times) <= 3_600 / 15 + 8
            assert fates(d, "freshpaint") == {"pending": 1_000}
            begun = now()
            await d.aclose(timeout=20)
            assert now() - begun < 1  # nobody mends a key within the last flush

    run(main())


# --- slow start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["503", "connect"])
def test_a_vendor_that_is_dead_from_the_start_sees_few_requests(failure: str) -> None:
    """128 workers with 10,000 events: five failures and then single probes."""

    async def answer() -> int:
        await asyncio.sleep(0.05)
        if failure == "connect":
            raise TransportError("connect", perhaps_sent=False)
        return 503

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 10_000)
            await asyncio.sleep(10)
            assert len(vendors.times) <= 25
            assert fates(d, "freshpaint") == {"pending": 10_000}
            await d.aclose(timeout=0)

    run(main())


def test_a_vendor_that_comes_back_sees_no_herd() -> None:
    """After the probe two go, then four: never more than twice the last round trip's."""
    down = True
    under_way = 0
    seen: list[tuple[float, int]] = []  # moments after the outage, and requests under way then

    async def answer() -> int:
        nonlocal under_way
        under_way += 1
        if not down:
            seen.append((now(), under_way))
        await asyncio.sleep(0.1)
        under_way -= 1
        return 503 if down else 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        nonlocal down
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 3_000)
            await asyncio.sleep(30)
            down = False
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 3_000}

    run(main())
    back = seen[0][0]
    widest: Counter[int] = Counter()
    for moment, width in seen:
        trip = int((moment - back) / 0.1 + 1e-6)
        widest[trip] = max(widest[trip], width)
    # The probe alone, then 3 (its own success made room for the third), then twice as many.
    for trip in range(1, 8):
        assert widest[trip] <= 3 * 2 ** (trip - 1) + 1, widest
    assert max(widest.values()) == 128


def test_requests_that_hang_do_not_stop_those_that_are_answered() -> None:
    """The first 20 hang until their timeout of 30 s; 2,000 others arrive long before it."""
    hanging = iter(range(20))

    async def answer() -> int:
        if next(hanging, None) is not None:
            await asyncio.sleep(10_000)
        await asyncio.sleep(0.02)
        return 202

    vendors = Vendors(lambda request, events: answer())

    async def main() -> None:
        async with dispatcher(vendors, freshpaint()) as d:
            fill(d, 2_000)
            await asyncio.sleep(15)
            assert fates(d, "freshpaint") == {"delivered": 1_980, "pending": 20}
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 2_000}

    run(main())


def test_a_single_worker_is_never_stuck() -> None:
    """The smallest window, with every kind of failure in turn."""
    script = iter([503, "hang", 401, "unsent", 503, 503, 503, 503, 503, "hang", 429])

    async def hang() -> int:
        await asyncio.sleep(10_000)
        return 202

    def answer(request: Request, events: Any) -> Any:
        step = next(script, 202)
        if step == "unsent":
            raise TransportError("connect", perhaps_sent=False)
        return hang() if step == "hang" else step

    vendors = Vendors(answer)

    async def main() -> None:
        async with dispatcher(
            vendors, freshpaint(workers=1, timeout=1.0, retry=Retry(attempts=20))
        ) as d:
            fill(d, 50)
            assert await d.flush(timeout=120)
            assert fates(d, "freshpaint") == {"delivered": 50}

    run(main())


# --- two hundred clients --------------------------------------------------------------------------


def most_within(moments: list[float], span: float) -> int:
    moments = sorted(moments)
    start = most = 0
    for end, moment in enumerate(moments):
        while moments[start] <= moment - span:
            start += 1
        most = max(most, end - start + 1)
    return most


def returns(kind: str) -> list[float]:
    """
    When each of 200 clients first asks after an outage of 60 s that began at the same moment.
    """
    firsts: list[float] = []

    async def client() -> None:
        first: list[float] = []

        def answer(request: Request, events: Any) -> Any:
            moment = now()
            if moment >= OUTAGE:
                first.append(moment)
                return 202
            if kind == "connect":
                raise TransportError("connect", perhaps_sent=False)
            if kind == "429":
                return Response(429, {"retry-after": "8"})
            return int(kind)

        vendors = Vendors(answer)
        async with dispatcher(vendors, freshpaint(workers=8)) as d:
            fill(d, 10)
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 10}
        firsts.append(first[0])

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(client())

    run(main())
    assert len(firsts) == CLIENTS
    return firsts


@pytest.mark.parametrize(
    ("kind", "share"),
    # Whoever is told to wait 8 s comes back within 0.8 s after them.
    [("503", 0.05), ("connect", 0.05), ("401", 0.05), ("429", 0.125)],
)
def test_two_hundred_clients_do_not_return_together(kind: str, share: float) -> None:
    """No tenth of a second sees the first requests of more than a small share of the clients.

    The vendor is down for 60 s and refuses all of them from the same moment on.
    """
    firsts = returns(kind)
    assert most_within(firsts, WINDOW) <= CLIENTS * share
    # A pause is at most half of the outage, or the slow probe's interval.
    assert max(firsts) <= OUTAGE + 31


@pytest.mark.parametrize("kind", ["503", "401", "429"])
def test_without_jitter_they_would(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure bites: with the same ceilings and no jitter all of them come at once."""
    without = partial(Backoff, jitter=lambda ceiling: ceiling)
    for module in ("_delivery", "_outage"):
        monkeypatch.setattr(f"sendoff.{module}.Backoff", without)
    assert most_within(returns(kind), WINDOW) == CLIENTS
