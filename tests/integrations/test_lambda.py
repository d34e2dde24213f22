"""
AWS Lambda: what is flushed before the answer and for how long, what a call binds, and the example
in a process that is frozen between its calls.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from integrations.live_sync import Memory, a_sink, arrived_once, environment, in_memory
from sendoff import Dispatcher, Freshpaint, MemoryTransport, OptionError, Report
from sendoff.integrations.aws_lambda import dispatcher_of, install
from sendoff.sink import SinkProcess

memory = pytest.fixture(in_memory)
sink = pytest.fixture(scope="module")(a_sink)


class Context:
    """
    What Lambda gives beside the event.
    """

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class Flushes(Dispatcher):
    """
    A dispatcher that notes for how long it was asked to flush, and does not.
    """

    def __init__(self) -> None:
        super().__init__(Freshpaint(token="t"), blocking=True, transport=MemoryTransport())
        self.asked: list[float | None] = []

    def flush_blocking(self, timeout: float | None = None) -> Report:
        self.asked.append(timeout)
        return Report({}, 0.0)


def test_an_answer_waits_for_its_events(memory: Memory) -> None:
    """What the handler gave is at the vendor when it has answered, or raised."""

    def work(event: Any, context: Any) -> str:
        memory.dispatcher.track("worked", device_id="d")
        return f"{event} {context._milliseconds}"

    def fail(event: Any, context: Any) -> str:
        memory.dispatcher.track("failed", device_id="d")
        raise ZeroDivisionError

    assert install(work, memory.dispatcher)("go", Context(3_000)) == "go 3000"
    assert [event["event"] for event in memory.sent] == ["worked"]
    with pytest.raises(ZeroDivisionError):
        install(fail, memory.dispatcher)("go", Context(3_000))
    assert [event["event"] for event in memory.sent] == ["worked", "failed"]


@pytest.mark.parametrize(
    ("context", "options", "seconds"),
    [
        (Context(60_000), {}, 2.0),
        (Context(60_000), {"flush_timeout": 5.0}, 5.0),
        (Context(1_000), {}, 0.75),
        (Context(1_000), {"margin": 0.5}, 0.5),
        (Context(100), {}, 0.0),
        (None, {}, 2.0),
    ],
)
def test_a_flush_leaves_the_call_its_time(
    context: Context | None, options: dict[str, float], seconds: float
) -> None:
    """It ends at its own bound, or at the margin before the end of the call; never below 0."""
    dispatcher = Flushes()
    install(lambda event, context: None, dispatcher, **options)({}, context)
    dispatcher.close()
    assert dispatcher.asked == [seconds]


def test_what_a_start_loads_is_loaded_before_the_first_call(memory: Memory) -> None:
    """`install` returns when events can go."""
    install(lambda event, context: None, memory.dispatcher)
    assert memory.transport.opened == 1


def test_what_a_call_binds_is_in_its_events_and_no_others(memory: Memory) -> None:
    """Also when the handler raises."""

    def work(event: dict[str, Any], context: Any) -> None:
        memory.dispatcher.track(event["name"], device_id="d")
        if event["name"] == "boom":
            raise ZeroDivisionError

    handler = install(work, memory.dispatcher, context=lambda event: {"user_id": event["user"]})
    handler({"name": "seen", "user": "u-1"}, None)
    with pytest.raises(ZeroDivisionError):
        handler({"name": "boom", "user": "u-2"}, None)
    handler({"name": "nobody"}, None)
    memory.dispatcher.track("outside", device_id="d")
    users = [(event["event"], event["distinct_id"]) for event in memory.events]
    assert users == [("seen", "u-1"), ("boom", "u-2"), ("nobody", "d"), ("outside", "d")]


@pytest.mark.parametrize(
    ("event", "address"),
    [
        ({"requestContext": {"http": {"sourceIp": "192.0.2.9"}}}, "192.0.2.9"),
        ({"requestContext": {"identity": {"sourceIp": "192.0.2.8"}}}, "192.0.2.8"),
        ({"requestContext": {"elb": {}}, "headers": {"x-forwarded-for": "192.0.2.7"}}, None),
        ({"Records": []}, None),
        (["anything"], None),
        (None, None),
    ],
)
def test_the_address_is_what_the_gateway_says(
    memory: Memory, event: Any, address: str | None
) -> None:
    """Of both forms of API Gateway's events, if it is asked for; no header is believed."""

    def work(event: Any, context: Any) -> None:
        memory.dispatcher.track("seen", device_id="d")

    install(work, memory.dispatcher, client_address=True)(event, None)
    install(work, memory.dispatcher)(event, None)
    assert [event.get("$ip") for event in memory.events] == [address, None]


def test_what_cannot_work_is_refused(memory: Memory) -> None:
    """A dispatcher that needs a loop, numbers beyond their limits, a second dispatcher."""

    def handler(event: Any, context: Any) -> None: ...

    with pytest.raises(OptionError, match="blocking must be True for AWS Lambda"):
        install(handler, Dispatcher(Freshpaint(token="t")))
    with pytest.raises(OptionError, match="flush_timeout must be"):
        install(handler, memory.dispatcher, flush_timeout=0)
    with pytest.raises(OptionError, match="margin must be"):
        install(handler, memory.dispatcher, margin=-1)
    with pytest.raises(LookupError, match="no dispatcher here"):
        dispatcher_of(handler)
    installed = install(handler, memory.dispatcher)
    assert dispatcher_of(installed) is memory.dispatcher
    assert installed.__name__ == "handler"
    with pytest.raises(RuntimeError, match="already"):
        install(installed, memory.dispatcher)


# --- the example, frozen between its calls --------------------------------------------------------

RUNTIME = """
import json, sys
from lambda_app import handler

class Context:
    get_remaining_time_in_millis = staticmethod(lambda: 3_000)

for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), Context())), flush=True)
"""


def test_the_example_loses_nothing_to_a_freeze(sink: SinkProcess, tmp_path: Path) -> None:
    """Each call's event is there before the process is frozen, and after a thaw as well."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME],
        cwd=tmp_path,
        env=environment(sink),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders = set()
    try:
        for number in range(5):
            event = {"headers": {"x-user": f"u-{number}"}, "body": '{"amount": 9.5}'}
            process.stdin.write(json.dumps(event) + "\n")
            answer = json.loads(process.stdout.readline())
            os.kill(process.pid, signal.SIGSTOP)
            orders.add(json.loads(answer["body"])["order"])
            arrived_once(sink, orders)
            if number == 2:
                time.sleep(0.2)
            os.kill(process.pid, signal.SIGCONT)
    finally:
        process.kill()
        process.communicate()
    assert [one["usr"]["id"] for one in sink.events("datadog")] == [f"u-{n}" for n in range(5)]
