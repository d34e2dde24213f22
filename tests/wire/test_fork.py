"""
Forks, in processes of their own: an event enqueued before one is sent once, by the parent.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from sendoff import _fork
from sendoff.sink import SinkProcess

PRELUDE = """
import asyncio, os, signal, sys, threading, time, traceback
from sendoff import Datadog, Dispatcher, Freshpaint

dispatcher = Dispatcher(
    Datadog(api_key="k", application_id="a", endpoint={datadog!r}, id_attribute="insert_id"),
    Freshpaint(token="t", endpoint={freshpaint!r}),
)

def burst(count):
    return [dispatcher.track("x", user_id="u", properties={{"n": n}}) for n in range(count)]

def in_child(work):
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def pending():
    return [stats.pending for stats in dispatcher.stats().destinations.values()]

async def give(count):
    burst(count)
    assert await dispatcher.aclose()

def child():
    assert pending() == [0, 0], pending()
    asyncio.run(give(10))

def joined(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

"""

BEFORE_ANY_LOOP = """
burst(20)
codes = joined([in_child(child) for _ in range(3)])
assert codes == [0, 0, 0], codes
assert pending() == [20, 20], pending()
asyncio.run(give(0))
"""

IN_A_RUNNING_LOOP = """
async def main():
    await dispatcher.start()
    burst(20)
    await asyncio.sleep(0.05)  # requests are under way
    children = [in_child(child) for _ in range(3)]
    burst(5)
    assert await dispatcher.flush()
    assert joined(children) == [0, 0, 0]
    burst(5)
    assert await dispatcher.aclose()

asyncio.run(main())
"""

WITH_EVERY_LOCK_HELD = """
locks = [dispatcher._hosts.lock, *(intake.lock for intake in dispatcher._intakes)]
held, done = threading.Event(), threading.Event()

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
codes = joined([in_child(child)])
done.set()
thread.join()
assert codes == [0], codes
"""

WHILE_AIOHTTP_IS_BEING_LOADED = """
async def main():
    burst(20)
    await asyncio.sleep(0.02)
    assert not hasattr(sys.modules.get("sendoff.transports.http"), "HttpTransport")
    children = [in_child(child) for _ in range(3)]
    assert joined(children) == [0, 0, 0]
    assert await dispatcher.aclose()

asyncio.run(main())
"""

WITH_A_THREAD_OF_ITS_OWN = """
dispatcher = Dispatcher(*dispatcher._settings.destinations, blocking=True)

def blocking_child():
    assert pending() == [0, 0], pending()
    burst(10)
    assert dispatcher.close()

burst(20)
time.sleep(0.7)  # requests are under way
codes = joined([in_child(blocking_child) for _ in range(3)])
assert codes == [0, 0, 0], codes
burst(5)
assert dispatcher.flush_blocking()
assert dispatcher.close()
"""

IN_A_CHILD_THAT_IS_TERMINATED = """
burst(10)
assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
child = os.fork()
if not child:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    burst(10)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
codes = joined([child])
assert codes == [-signal.SIGTERM], codes
"""


@pytest.fixture
def sink(sendoff_sink: SinkProcess) -> SinkProcess:
    return sendoff_sink


@pytest.mark.parametrize(
    ("code", "events"),
    [
        (BEFORE_ANY_LOOP, 50),
        (IN_A_RUNNING_LOOP, 60),
        (WITH_EVERY_LOCK_HELD, 10),
        (WHILE_AIOHTTP_IS_BEING_LOADED, 50),
        (WITH_A_THREAD_OF_ITS_OWN, 55),
        (IN_A_CHILD_THAT_IS_TERMINATED, 20),
    ],
    ids=[
        "before any loop",
        "in a running loop",
        "with every lock held",
        "while aiohttp is being loaded",
        "with a thread of its own",
        "in a child that is terminated",
    ],
)
def test_a_fork_doubles_nothing_and_loses_nothing(
    sink: SinkProcess, code: str, events: int
) -> None:
    """Children start empty, with ids and locks of their own; the parent goes on as if alone."""
    sink.reset()
    sink.faults("latency 200ms")
    prelude = PRELUDE.format(datadog=sink.datadog_endpoint, freshpaint=sink.freshpaint_endpoint)
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", prelude + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    for seen in (sink.stats().datadog, sink.stats().freshpaint):
        assert (seen.accepted, seen.unique, seen.duplicates) == (events, events, 0)


def test_a_fork_that_waited_for_an_import_waits_a_moment_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it is made while the thread that imported is still in the middle of something."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    slept: list[float] = []
    clock = Clock()
    monkeypatch.setattr(_fork, "time", clock)
    with _fork.no_forks():
        pass
    for waited in ([_fork.QUIET_SECONDS], []):
        slept.clear()
        _fork._before()
        _fork._in_parent()
        assert slept == waited
        clock.now += 1.0
