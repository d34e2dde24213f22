"""
The promise on the limit, measured at the receiver: 5,000 events at ``rate_limit=1000``.

Two figures for each case, both from the arrival times that a sink in a process of its own noted:

* the fullest second: most requests in any sliding second; must be at most the limit;
* the budget used: over all runs of `limit` consecutive requests, the limit times their number by
  the time they took; 100 % is a request that leaves the very moment a second is over. Runs that the
  outage falls into are left out of it, and the outage is said beside it.

Exits with 1 if the limit is passed, less than 97 % of it is used, or an event is not accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from sendoff import Dispatcher, Freshpaint
from sendoff.sink import SinkProcess

CASES = {
    "plain": (),
    "latency 20 ms": ("latency 20ms",),
    "outage 0.7 s (503)": ("503 for 700ms after {at}",),
    "outage 0.7 s (reset)": ("reset-before for 700ms after {at}",),
}
OUTAGE_AT = 1.6
LEAST_USED = 0.97


async def send(endpoint: str, limit: int, events: int) -> tuple[int, float]:
    """
    Sends events as Freshpaint's; the number delivered and the seconds it took.
    """
    destination = Freshpaint(token="t", endpoint=endpoint, rate_limit=limit)
    async with Dispatcher(destination, max_queue_events=events) as dispatcher:
        begun = time.perf_counter()
        for number in range(events):
            dispatcher.track("Purchase", user_id="u", properties={"n": number})
        await dispatcher.flush()
        took = time.perf_counter() - begun
        return dispatcher.stats().destinations["freshpaint"].delivered, took


def budget_used(times: list[float], limit: int, outage: tuple[float, float]) -> float:
    """
    The share of the limit that was used while there was something to send.
    """
    spans = [
        later - earlier
        for earlier, later in zip(times, times[limit:], strict=False)
        if later < outage[0] or earlier > outage[1]
    ]
    return len(spans) / sum(spans)


def measure(name: str, limit: int, events: int) -> dict[str, object]:
    """
    One case.
    """
    with SinkProcess() as sink:
        sink.faults(*(line.format(at=OUTAGE_AT) for line in CASES[name]))
        installed = time.monotonic()
        delivered, took = asyncio.run(send(sink.freshpaint_endpoint, limit, events))
        seen, times = sink.stats().freshpaint, sink.arrivals("freshpaint")
    outage = (installed + OUTAGE_AT, installed + OUTAGE_AT + 0.7) if "outage" in name else (1e18, 0)
    back = [moment for moment in times if moment > outage[1]] if "outage" in name else []
    # Runs that begin after the outage begin with the burst that made it good.
    used = budget_used(times, limit, outage)
    return {
        "case": name,
        "limit": limit,
        "events": events,
        "delivered": delivered,
        "unique at the receiver": seen.unique,
        "requests": seen.requests,
        "fullest second": seen.fullest_second,
        "budget used": round(used, 4),
        "seconds": round(took, 2),
        "back after the outage (s)": round(back[0] - outage[1], 2) if back else None,
        "ok": delivered == seen.unique == events
        and seen.fullest_second <= limit
        and used >= LEAST_USED,
    }


def main() -> int:
    """
    Measures every case; the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--limit", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(name, options.limit, options.events) for name in CASES]
    for row in rows:
        print(json.dumps(row) if options.json else "  ".join(f"{k}: {v}" for k, v in row.items()))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
