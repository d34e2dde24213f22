"""
How a process ends, with the sink in another one: each way out, with a vendor that is slow and with
one that never answers.

The ways run side by side against one sink; each gives its events ids of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from sendoff.sink import SinkProcess

EVENTS = 1_000
AT_ONCE = 4  # processes; more would be late for want of a processor

SCRIPT = """
import asyncio, multiprocessing, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
from sendoff import Datadog, Dispatcher, Freshpaint

def make(**options):
    return Dispatcher(
        Datadog(api_key="k", application_id="a", endpoint={datadog!r}, id_attribute="insert_id"),
        Freshpaint(token="t", endpoint={freshpaint!r}),
        shutdown_timeout={timeout},
        **options,
    )

def burst():
    for number in range({events}):
        dispatcher.track("x", user_id="u", insert_id=f"{way}-{{number}}")

async def briefly():
    burst()
    await asyncio.sleep(0.1)

dispatcher = make()
"""


class Way(NamedTuple):
    """
    One way out of a process.
    """

    code: str
    status: int = 0
    says: str = ""  # on stderr, beside our own line
    doubles: bool = False  # what is in flight when it happens is perhaps sent


WAYS = {
    "aclose": Way(
        "async def main():\n    burst()\n    await dispatcher.aclose()\nasyncio.run(main())"
    ),
    "run-ends": Way("asyncio.run(briefly())"),
    "run-ends-at-once": Way("async def main():\n    burst()\nasyncio.run(main())"),
    "never-started": Way("burst()"),
    "sys-exit": Way("burst()\nsys.exit(3)", status=3),
    "sys-exit-in-run": Way(
        "async def main():\n    await briefly()\n    sys.exit(3)\nasyncio.run(main())", status=3
    ),
    "sys-exit-in-the-first-turn": Way(
        "async def main():\n    burst()\n    sys.exit(3)\nasyncio.run(main())", status=3
    ),
    "exception": Way("burst()\nraise ValueError('mine')", status=1, says="ValueError: mine"),
    "exception-in-run": Way(
        "async def main():\n    await briefly()\n    raise ValueError('mine')\nasyncio.run(main())",
        status=1,
        says="ValueError: mine",
    ),
    "sigterm": Way(
        "burst()\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)", status=-signal.SIGTERM
    ),
    "sigterm-in-run": Way(
        "async def main():\n    await briefly()\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await asyncio.sleep(60)\nasyncio.run(main())",
        status=-signal.SIGTERM,
    ),
    "sigterm-if-only-threads-call": Way(
        "thread = threading.Thread(target=burst)\nthread.start()\nthread.join()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)",
        status=-signal.SIGTERM,
    ),
    "sigint": Way(
        "burst()\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)",
        status=-signal.SIGINT,
        says="KeyboardInterrupt",
    ),
    "sigint-in-run": Way(
        "async def main():\n    await briefly()\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "    await asyncio.sleep(60)\nasyncio.run(main())",
        status=-signal.SIGINT,
        says="KeyboardInterrupt",
    ),
    "thread-that-ends-last": Way(
        "def work():\n    time.sleep(0.3)\n    burst()\nthreading.Thread(target=work).start()"
    ),
    "loop-in-a-daemon-thread": Way(
        "async def main():\n    await briefly()\n    await asyncio.sleep(60)\n"
        "threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()\n"
        "time.sleep(0.5)"
    ),
    "loop-never-closed": Way(
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(briefly())", doubles=True
    ),
    "loop-closed-under-it": Way(
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(briefly())\nloop.close()",
        doubles=True,
    ),
    "blocking": Way("dispatcher = make(blocking=True)\nburst()"),
    "blocking-closed": Way("with make(blocking=True) as dispatcher:\n    burst()"),
    "child-of-multiprocessing": Way(
        "child = multiprocessing.get_context('fork').Process(target=burst)\n"
        "child.start()\nchild.join()"
    ),
}


class Outcome(NamedTuple):
    """
    What became of a process.
    """

    status: int
    stderr: str
    seconds: float


def run(sink: SinkProcess, way: str, timeout: float) -> Outcome:
    code = SCRIPT.format(
        # One by a name, so that the resolver has its part.
        datadog=sink.datadog_endpoint.replace("127.0.0.1", "localhost"),
        freshpaint=sink.freshpaint_endpoint,
        timeout=timeout,
        events=EVENTS,
        way=way,
    )
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code + WAYS[way].code], stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            _, stderr = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:  # the others' outcomes are worth having
            process.kill()
            stderr = process.communicate()[1] + "\nit had to be killed"
    return Outcome(process.returncode, stderr, time.monotonic() - begun)


def run_all(sink: SinkProcess, timeout: float) -> dict[str, Outcome]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {way: pool.submit(run, sink, way, timeout) for way in WAYS}
        return {way: future.result() for way, future in futures.items()}


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


@pytest.fixture(scope="module")
def slow() -> Iterator[tuple[dict[str, Outcome], dict[str, Counter[str]]]]:
    """
    All ways with a vendor that takes 400 ms; and how often each id arrived at each.
    """
    with SinkProcess() as sink:
        sink.faults("latency 400ms")
        outcomes = run_all(sink, timeout=20)
        ids = {vendor: Counter(sink.ids(vendor)) for vendor in ("datadog", "freshpaint")}
        yield outcomes, ids


@pytest.fixture(scope="module")
def dead() -> Iterator[dict[str, Outcome]]:
    """
    All ways with a vendor that never answers.
    """
    with SinkProcess() as sink:
        sink.faults("hang")
        yield run_all(sink, timeout=1)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_delivers(
    slow: tuple[dict[str, Outcome], dict[str, Counter[str]]], way: str
) -> None:
    """All 1,000 events arrive at both vendors, once, and the process ends as it would have."""
    outcomes, ids = slow
    outcome, expected = outcomes[way], WAYS[way]
    assert outcome.status == expected.status, outcome.stderr
    assert "sendoff" not in outcome.stderr.replace("/sendoff/", "")
    assert expected.says in outcome.stderr
    for vendor, counts in ids.items():
        mine = {name: n for name, n in counts.items() if name.startswith(f"{way}-")}
        mine = {name: n for name, n in mine.items() if name.removeprefix(f"{way}-").isdigit()}
        assert len(mine) == EVENTS, vendor
        assert expected.doubles or set(mine.values()) == {1}, vendor


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_ends_in_time_and_says_what_is_left(
    dead: dict[str, Outcome], way: str
) -> None:
    """With a vendor that never answers the end takes `shutdown_timeout`, and one line says it."""
    outcome, expected = dead[way], WAYS[way]
    assert outcome.status == expected.status, outcome.stderr
    lines = [line for line in outcome.stderr.splitlines() if "events are left at the end" in line]
    assert len(lines) == 1, outcome.stderr
    assert "datadog 1,000 (lost), freshpaint 1,000 (lost)" in lines[0]
    # 1 s of flush; the rest is a Python that starts and imports on a busy machine.
    assert 1 <= outcome.seconds < 10


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="3.12 starts no thread at the end of a process"
)
def test_a_resolver_that_hangs_does_not_hold_up_the_end(sink: SinkProcess) -> None:
    """Nor does it swallow the line on stderr."""
    WAYS["resolver-hangs"] = Way(
        "import socket\nsocket.getaddrinfo = lambda *a, **k: time.sleep(60)\nburst()"
    )
    try:
        outcome = run(sink, "resolver-hangs", timeout=1)
    finally:
        del WAYS["resolver-hangs"]
    assert outcome.status == 0
    assert "datadog 1,000 (lost)" in outcome.stderr
    assert outcome.seconds < 10


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"])
def test_what_threads_give_until_the_last_moment_arrives(
    sink: SinkProcess, tmp_path: Path, end: str
) -> None:
    """Every id that a call returned, also while the process was already ending."""
    sink.reset()
    code = SCRIPT.format(
        datadog=sink.datadog_endpoint,
        freshpaint=sink.freshpaint_endpoint,
        timeout=20,
        events=0,
        way="",
    )
    code += f"""
ids = os.open({str(tmp_path / "ids")!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def give():
    while True:
        event_id = dispatcher.track("x", user_id="u")
        if event_id is not None:
            os.write(ids, f"{{event_id}}\\n".encode())
        time.sleep(0.0005)

for _ in range(4):
    threading.Thread(target=give, daemon=True).start()
time.sleep(0.3)
{end}
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    given = (tmp_path / "ids").read_text().split()
    assert len(given) > 100
    for vendor in ("datadog", "freshpaint"):
        assert not set(given) - set(sink.ids(vendor)), vendor
