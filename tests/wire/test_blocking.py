"""
The dispatcher in a thread of its own, for programs without an event loop; and calls from places
where nobody expects one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from sendoff import Datadog, Dispatcher, DroppedEvent, Freshpaint, MemoryTransport, _exit
from sendoff.sink import SinkProcess


@pytest.fixture
def sink(sendoff_sink: SinkProcess) -> SinkProcess:
    return sendoff_sink


def make(sink: SinkProcess, *, blocking: bool = True) -> Dispatcher:
    return Dispatcher(
        Datadog(
            api_key="k",
            application_id="a",
            endpoint=sink.datadog_endpoint,
            id_attribute="insert_id",
        ),
        Freshpaint(token="t", endpoint=sink.freshpaint_endpoint),
        blocking=blocking,
    )


def arrived(sink: SinkProcess) -> tuple[int, int, int, int]:
    stats = sink.stats()
    return (
        stats.datadog.unique,
        stats.datadog.accepted,
        stats.freshpaint.unique,
        stats.freshpaint.accepted,
    )


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_threads_give_and_one_of_them_closes(sink: SinkProcess) -> None:
    """Calls of four threads go out in the background, a flush waits, a close ends the thread."""
    dispatcher = make(sink)

    def work() -> None:
        for _ in range(100):
            assert dispatcher.track("x", user_id="u") is not None

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "sendoff" in names()
    assert dispatcher.flush_blocking(timeout=30)
    assert arrived(sink) == (400,) * 4
    dispatcher.track("x", user_id="u")
    report = dispatcher.close()
    assert report, report
    assert arrived(sink) == (401,) * 4
    while "sendoff" in names():
        time.sleep(0.01)


def test_with_opens_again(sink: SinkProcess) -> None:
    """`with` takes events again after a close; each end closes."""
    dispatcher = make(sink)
    for _ in range(3):
        with dispatcher:
            dispatcher.track("x", user_id="u")
        assert dispatcher.track("late", user_id="u") is None
    assert arrived(sink) == (3,) * 4


def test_with_needs_blocking(sink: SinkProcess) -> None:
    """`with` in place of `async with` says so at once."""
    with pytest.raises(TypeError, match="async with"), make(sink, blocking=False):
        pass


def test_a_close_without_events_starts_nothing(sink: SinkProcess) -> None:
    """Nothing was given, so there is no thread."""
    assert make(sink).close()
    assert "sendoff" not in names()


def test_a_close_hears_of_the_end_however_soon_it_comes() -> None:
    """A thread that is over before the caller's next line is not waited for."""
    dispatcher = Dispatcher(Freshpaint(token="t"), blocking=True, transport=MemoryTransport())
    dispatcher.flush_blocking(timeout=5)
    host = dispatcher._hosts.living()
    assert host is not None
    plain = host.call

    def call(callback: Callable[[], None]) -> None:
        plain(callback)
        if callback == host._close_asked.set:
            while not host.loop.is_closed():
                time.sleep(0.001)

    host.call = call  # type: ignore[method-assign]
    assert dispatcher.close(timeout=3).elapsed < 3


def test_a_loop_may_use_it_too(sink: SinkProcess) -> None:
    """Calls, flush and close from a running loop work; the sending stays in the thread."""
    dispatcher = make(sink)

    async def main() -> None:
        async with dispatcher:
            dispatcher.track("x", user_id="u")
            assert await dispatcher.flush(timeout=30)
            dispatcher.track("x", user_id="u")

    asyncio.run(main())
    asyncio.run(main())
    assert arrived(sink) == (4,) * 4


def test_a_plain_close_from_a_thread(sink: SinkProcess) -> None:
    """`close` and `flush_blocking` also end the wait for a loop that runs elsewhere."""
    dispatcher = make(sink, blocking=False)
    reports = []

    def work() -> None:
        reports.append(dispatcher.flush_blocking(timeout=30))
        reports.append(dispatcher.close())

    async def main() -> None:
        dispatcher.track("x", user_id="u")
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert all(reports), reports
    assert len(reports) == 2
    assert arrived(sink) == (1,) * 4


def test_a_plain_wait_in_the_sending_loop_is_refused(sink: SinkProcess) -> None:
    """It would wait for itself."""

    async def main() -> None:
        async with make(sink, blocking=False) as dispatcher:
            dispatcher.track("x", user_id="u")
            with pytest.raises(RuntimeError, match=r"await flush\(\)"):
                dispatcher.flush_blocking()
            with pytest.raises(RuntimeError, match=r"await aclose\(\)"):
                dispatcher.close()
            assert dispatcher.track("x", user_id="u") is not None

    asyncio.run(main())
    assert arrived(sink) == (2,) * 4


class Tracks:
    """
    Gives an event away when it is collected.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.myself = self

    def __del__(self) -> None:
        self.dispatcher.track("finalizer", user_id="u")


@pytest.mark.parametrize("blocking", [True, False])
def test_finalizers_call(sink: SinkProcess, blocking: bool) -> None:
    """Calls from `__del__`, in the middle of anything that allocates, are taken."""
    dispatcher = make(sink, blocking=blocking)

    async def main() -> None:
        for _ in range(200):
            Tracks(dispatcher)
            dispatcher.track("x", user_id="u", properties={"list": [[] for _ in range(50)]})
        gc.collect()
        await dispatcher.aclose()

    asyncio.run(main())
    assert arrived(sink) == (400,) * 4


@pytest.mark.parametrize("blocking", [True, False])
def test_signal_handlers_call(sink: SinkProcess, blocking: bool) -> None:
    """A handler that interrupts a call, again and again, loses nothing and stops nothing."""
    dispatcher = make(sink, blocking=blocking)
    taken = []

    def handler(number: int, frame: object) -> None:
        taken.append(dispatcher.track("signal", user_id="u"))

    async def main() -> None:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            taken.append(dispatcher.track("x", user_id="u"))
            await asyncio.sleep(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Thousands of events, as many as the machine made: a busy one needs more than a close has.
        assert await dispatcher.flush()
        assert await dispatcher.aclose()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        asyncio.run(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert None not in taken
    assert arrived(sink) == (len(taken),) * 4


@pytest.mark.parametrize("blocking", [True, False])
def test_a_root_logging_handler_calls(sink: SinkProcess, blocking: bool) -> None:
    """A handler that tracks every record, our own and asyncio's too, comes to rest."""
    dispatcher = make(sink, blocking=blocking)
    taken = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            taken.append(dispatcher.track(record.name, user_id="u"))

    root, handler = logging.getLogger(), Handler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:

        async def main() -> None:
            dispatcher.track("rejected, and so logged")  # no identity
            logging.getLogger("app").info("hello")
            await dispatcher.aclose()

        asyncio.run(main(), debug=True)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    events = len([one for one in taken if one is not None])
    assert events >= 3  # asyncio's selector, ours, the app's
    assert arrived(sink) == (events,) * 4


@pytest.mark.parametrize("living", [True, False])
def test_the_end_waits_for_on_drop(sink: SinkProcess, living: bool) -> None:
    """Also where nothing is pending any more: what overflowed is shown before the process goes."""
    begun, go_on = threading.Event(), threading.Event()
    shown: list[str] = []

    def on_drop(reason: str, events: Sequence[DroppedEvent]) -> None:
        begun.set()
        go_on.wait(30)
        shown.extend(event.id for event in events)

    dispatcher = Dispatcher(
        Freshpaint(token="t", endpoint=sink.freshpaint_endpoint),
        blocking=living,
        max_queue_events=1,
        on_drop=on_drop,
    )

    def give() -> int:
        return sum(dispatcher.track("x", user_id="u") is None for _ in range(50))

    async def main() -> int:
        return give()

    dropped = give() if living else asyncio.run(main())
    assert begun.wait(30)
    assert dispatcher.flush_blocking(timeout=30) if living else True
    assert dispatcher.stats().destinations["freshpaint"].pending == 0
    threading.Timer(0.05, go_on.set).start()
    _exit.keep_until_exit(dispatcher._life, handle_sigterm=False)
    _exit._leave()
    assert len(shown) == dropped > 0


def test_sigterm_leaves_the_applications_handler_alone() -> None:
    """A handler that was there stays; ours steps in only where the signal would just kill."""
    code = (
        "import signal, os\nfrom sendoff import Datadog, Dispatcher\n"
        "mine = lambda *_: print('mine', flush=True)\n"
        "{first}"
        "d = Dispatcher(Datadog(api_key='k', application_id='a',"
        " endpoint='http://127.0.0.1:9/'), shutdown_timeout=0, {option})\n"
        "d.track('x', user_id='u')\n"
        "print(signal.getsignal(signal.SIGTERM) is {expected}, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    own = "signal.signal(signal.SIGTERM, mine)\n"
    for first, option, expected, status, printed in (
        (own, "", "mine", 0, "True\nmine\n"),
        ("", "handle_sigterm=False", "signal.SIG_DFL", -signal.SIGTERM, "True\n"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "", "signal.SIG_IGN", 0, "True\n"),
    ):
        result = subprocess.run(
            [sys.executable, "-c", code.format(first=first, option=option, expected=expected)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=os.environ,
        )
        assert (result.returncode, result.stdout) == (status, printed), result.stderr


def test_gevent_fails_loudly(sink: SinkProcess) -> None:
    """Where gevent has replaced threads, `blocking` is refused, and waiting for a loop is said."""
    pytest.importorskip("gevent")
    code = (
        "from gevent import monkey\nmonkey.patch_all()\n"
        "from sendoff import Datadog, Dispatcher, OptionError\n"
        f"vendor = Datadog(api_key='k', application_id='a', endpoint={sink.datadog_endpoint!r})\n"
        "try:\n    Dispatcher(vendor, blocking=True)\n"
        "except OptionError as exc:\n    print(exc)\n"
        "Dispatcher(vendor).track('x', user_id='u')\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout == "blocking must be False under gevent: asyncio needs real threads\n"
    assert result.stderr == "gevent leaves no loop to send from: events wait for the end\n"
    assert result.returncode == 0
    assert sink.stats().datadog.accepted == 1


INTERRUPTED = """
import sys, sendoff._hosts
from sendoff import Dispatcher, Freshpaint

def interrupted(name, work):
    sendoff._hosts.start_daemon = start_daemon
    raise KeyboardInterrupt

start_daemon, sendoff._hosts.start_daemon = sendoff._hosts.start_daemon, interrupted
dispatcher = Dispatcher(Freshpaint(token="t", endpoint=sys.argv[1]), blocking=True)
try:
    dispatcher.track("x", user_id="u")
except KeyboardInterrupt:
    pass
"""


def test_a_thread_that_was_not_started_loses_nothing_at_exit(sink: SinkProcess) -> None:
    """A Ctrl-C just as the thread starts: the event goes at the end, when no thread can start."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, sink.freshpaint_endpoint],
        stderr=subprocess.PIPE,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert sink.stats().freshpaint.unique == 1
