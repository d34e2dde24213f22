"""
A long outage in bounded memory, and dispatchers that leave nothing behind; each in a process of its
own, as memory is the process's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sendoff

pytestmark = pytest.mark.slow

BOUND = 16 * 2**20
FACTOR = {"datadog": 3.0, "freshpaint": 2.0}
"""
Resident bytes for each byte of `max_queue_bytes`, as `docs/how-to/choose-limits.md` says for events
of some 270 bytes. Measured: 2.7 and 1.6; a batch is a copy of its events.
"""

COMMON = """
import asyncio, gc, json, logging, os, socket, sys, threading, weakref
logging.disable(logging.CRITICAL)
from sendoff import Datadog, Dispatcher, Freshpaint, MemoryTransport

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""

OUTAGE = """
bound, vendor, fault = int(sys.argv[1]), sys.argv[2], sys.argv[3]
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
if fault == "hang":
    listener.listen(512)  # the kernel accepts, nobody reads
url = "http://127.0.0.1:%d/" % listener.getsockname()[1]
options = dict(endpoint=url, timeout=0.5)
if vendor == "datadog":
    destination = Datadog(api_key="key", application_id="app", **options)
else:
    destination = Freshpaint(token="token", **options)

async def main():
    dispatcher = Dispatcher(
        destination, max_queue_events=10**9, max_queue_bytes=bound, overflow="drop_oldest"
    )
    async with dispatcher:
        dispatcher.track("warm", user_id="u")
        await asyncio.sleep(1)
        gc.collect()
        before, pushed, samples = resident(), 0, []
        while pushed < 10 * bound:
            for number in range(1_000):
                dispatcher.track(
                    "checkout.completed", user_id="u-%d" % number, properties={"text": "x" * 140}
                )
            await asyncio.sleep(0)
            stats = dispatcher.stats().destinations[vendor]
            pushed += 1_000 * stats.pending_bytes / stats.pending
            samples.append((
                resident() - before, descriptors(), threading.active_count(),
                len(asyncio.all_tasks()),
            ))
            assert stats.pending_bytes <= bound
        full = samples[len(samples) // 2:]
        print(json.dumps({
            "growth": max(sample[0] for sample in samples) / bound,
            "late growth": (full[-1][0] - full[0][0]) / bound,
            "descriptors": max(sample[1] for sample in samples),
            "threads": sorted({sample[2] for sample in full}),
            "tasks": sorted({sample[3] for sample in full}),
            "held": stats.pending_bytes / bound,
        }))
        await dispatcher.aclose(timeout=0)

asyncio.run(main())
listener.close()
"""

MANY = """
import atexit
made = []

def destinations(port):
    url = "http://127.0.0.1:%d/" % port
    return (
        Datadog(api_key="key", application_id="app", endpoint=url, flush_interval=0.0),
        Freshpaint(token="token", endpoint=url, workers=2),
    )

async def answer(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\\r\\n")
                          if line.lower().startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 202 Accepted\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except asyncio.IncompleteReadError:
        writer.close()

async def one(number, port):
    kinds = {
        "memory": dict(transport=MemoryTransport()),
        "http": {},
    }["http" if number % 20 == 0 else "memory"]
    dispatcher = Dispatcher(
        *destinations(port), on_drop=(lambda *_: None) if number % 3 == 0 else None, **kinds
    )
    made.append(weakref.ref(dispatcher))
    if number % 7 == 0:
        dispatcher.track("never started", user_id="u")  # starts by itself
    else:
        await dispatcher.start()
    for n in range(5):
        dispatcher.track("x", user_id="u", properties={"n": n})
    if number % 2:
        assert await dispatcher.flush(timeout=10)
    assert await dispatcher.aclose(timeout=10)
    assert all(s.pending == 0 and not s.dropped for s in dispatcher.stats().destinations.values())

def state():
    gc.collect()
    from sendoff import _exit, _fork
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": descriptors(),
        "hooks": atexit._ncallbacks(),
        "watched": len(_fork._watched),
        "kept": len(_fork._kept),
        "leaving": len(_exit._exit.kept),
        "alive": sum(ref() is not None for ref in made),
        "ours": sum(
            str(type(thing).__module__).startswith("sendoff.") for thing in gc.get_objects()
        ),
    }

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    states = []
    for number in range(1_000):
        await one(number, port)
        if number in (99, 999):
            await asyncio.sleep(0.05)  # the server notices that its connections are closed
            states.append(state())
    server.close()
    print(json.dumps(states))

asyncio.run(main())
"""


def outcome(code: str, *arguments: object) -> Any:
    """
    What a script of ours prints, in a process of its own in which warnings are errors.
    """
    source = str(Path(sendoff.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMON + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return json.loads(result.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("fault", ["hang", "refuse"])
@pytest.mark.parametrize("vendor", ["datadog", "freshpaint"])
def test_an_outage_stays_within_the_documented_factor(vendor: str, fault: str) -> None:
    """Ten times what the queue holds: memory grows once, and nothing else grows at all."""
    seen = outcome(OUTAGE, BOUND, vendor, fault)
    assert seen["held"] > 0.99, seen
    assert seen["growth"] <= FACTOR[vendor], seen
    assert seen["late growth"] <= 0.2, seen
    assert len(seen["threads"]) == 1, seen
    assert seen["tasks"][-1] - seen["tasks"][0] <= 2, (
        seen
    )  # a connect attempt is a task for a moment
    assert seen["descriptors"] <= 40, seen


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_thousand_dispatchers_leave_nothing() -> None:
    """Made, started, used, closed: after the last one there is no more of anything than after 100.

    Every twentieth has real connections. None of them is alive.
    """
    early, late = outcome(MANY)
    # anyio keeps idle worker threads for some seconds, one or two as it happens.
    assert late.pop("threads") <= early.pop("threads") + 1
    assert late == early
    assert late["alive"] == late["kept"] == late["leaving"] == 0
    assert late["watched"] == 1  # the process's own
