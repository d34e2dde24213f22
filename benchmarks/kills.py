"""
The promise of the spool, measured: a process is killed with SIGKILL again and again, and every
event it was told is accepted must arrive.

A producer gives events away from two threads and a loop, and reports each accepted id by one write
to a pipe right after `track` has returned. It is killed after a random number of reports, at a
sink that is slow and fails now and then; the next one goes on in the same spool. At the end one run
sends what is left. Every reported id must have arrived, with the body it was given, however often.

Exits with 1 if an event is lost or differs. ``--no-spool`` shows that the measurement bites.
`tests/wire/test_spool.py` does the same with few kills.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import Any

from sendoff.sink import Settings, SinkProcess

PRODUCER = """
import asyncio, os, random, sys, threading
from sendoff import Datadog, Dispatcher, Freshpaint, Retry

{before}
random.seed({seed})
dispatcher = Dispatcher(
    Datadog(api_key="k", application_id="a", endpoint={datadog!r}, id_attribute="insert_id",
            flush_interval=0.05, retry=Retry(base=0.05)),
    Freshpaint(token="t", endpoint={freshpaint!r}, retry=Retry(base=0.05)),
    max_queue_events={memory},
    spool={spool},
)

def give(number):
    text = "x" * random.choice((0, 50, 2_000))
    event_id = dispatcher.track("e", user_id="u", properties={{"n": number, "text": text}})
    os.write(1, f"{{event_id}} {{number}}\\n".encode())

def in_thread(start):
    for number in range(start, start + 100_000):
        give(number)
        if random.random() < 0.5:
            threading.Event().wait(0.003)

async def main():
    for start in (1_000_000, 2_000_000):
        threading.Thread(target=in_thread, args=(start,), daemon=True).start()
    number = 0
    while True:
        give(number := number + 1)
        await asyncio.sleep(random.choice((0, 0.001, 0.005)))

asyncio.run(main())
"""

DRAIN = """
import asyncio, os, sys
from sendoff import Datadog, Dispatcher, Freshpaint, Retry

path = {path!r}

async def main():
    async with Dispatcher(
        Datadog(api_key="k", application_id="a", endpoint={datadog!r}, id_attribute="insert_id"),
        Freshpaint(token="t", endpoint={freshpaint!r}),
        spool=path, shutdown_timeout=60,
    ) as dispatcher:
        while os.listdir(path):
            await dispatcher.flush()
            await asyncio.sleep(0.02)
    stats = dispatcher.stats().destinations.values()
    assert not any(one.spool_faults + one.pending for one in stats), stats

asyncio.run(main())
"""


def produce(code: str, reports: int) -> dict[str, int]:
    """
    Runs a producer and kills it after so many reports; what it reported, id to number.
    """
    lines = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if len(lines) == reports:
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    found = (line.split() for line in lines if line.endswith(b"\n"))
    return {event_id.decode(): int(number) for event_id, number in found}


def numbers(events: list[Any], event_id: str) -> list[tuple[str, int]]:
    """
    Id and number of each event that arrived.
    """
    found = []
    for event in events:
        properties = event.get("properties", event)
        found.append((properties[event_id], properties["n"]))
    return found


def measure(kills: int, seed: int, *, spool: bool) -> dict[str, object]:
    """
    Kills so often, sends the rest, and compares.
    """
    chance = random.Random(seed)
    accepted: dict[str, int] = {}
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as path,
        SinkProcess(Settings(keep_events=10**7)) as sink,
    ):
        ends = {"datadog": sink.datadog_endpoint, "freshpaint": sink.freshpaint_endpoint}
        for _ in range(kills):
            sink.faults(*chance.choice(((), ("latency 20ms",), ("503 for 100ms",), ("503",))))
            code = PRODUCER.format(
                before="",
                seed=chance.random(),
                spool=repr(path) if spool else None,
                memory=chance.choice((20, 100_000)),
                **ends,
            )
            # Soon, when files are made and taken over, or later, with much in hand.
            accepted |= produce(code, chance.choice((1, 2, chance.randrange(1, 100), 1_500)))
        sink.faults()
        subprocess.run([sys.executable, "-c", DRAIN.format(path=path, **ends)], check=True)
        arrived = {
            "datadog": numbers(sink.events("datadog"), "insert_id"),
            "freshpaint": numbers(sink.events("freshpaint"), "$insert_id"),
        }
    counts = {name: Counter(event_id for event_id, _ in found) for name, found in arrived.items()}
    differing = sum(
        accepted.get(event_id, number) != number
        for found in arrived.values()
        for event_id, number in found
    )
    return {
        "kills": kills,
        "accepted": {name: len(accepted) for name in arrived},
        "delivered": {
            name: sum(one in count for one in accepted) for name, count in counts.items()
        },
        "lost": {name: sum(one not in count for one in accepted) for name, count in counts.items()},
        "duplicated": {name: count.total() - len(count) for name, count in counts.items()},
        "differing": differing,
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> int:
    """
    Measures; the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-spool", action="store_true")
    options = parser.parse_args()
    result = measure(options.kills, options.seed, spool=not options.no_spool)
    print(json.dumps(result))
    lost: Any = result["lost"]
    return 1 if any(lost.values()) or result["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
