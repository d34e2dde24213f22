"""
How a process ends, with the sink in another one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from sendoff.sink import SinkProcess

SCRIPT = """
import asyncio, sys, time
from sendoff import Datadog, Dispatcher, Freshpaint

dispatcher = Dispatcher(
    Datadog(api_key="k", application_id="a", endpoint={datadog!r}, id_attribute="insert_id"),
    Freshpaint(token="t", endpoint={freshpaint!r}),
    shutdown_timeout=2,
)

def burst():
    for number in range(50):
        dispatcher.track("x", user_id="u", properties={{"n": number}})

"""


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


def run(sink: SinkProcess, code: str) -> subprocess.CompletedProcess[str]:
    prelude = SCRIPT.format(datadog=sink.datadog_endpoint, freshpaint=sink.freshpaint_endpoint)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "runs"),
    [
        ("async def main():\n    burst()\nasyncio.run(main())", 1),
        ("async def main():\n    burst()\n    await asyncio.sleep(0.05)\nasyncio.run(main())", 1),
        ("async def main():\n    burst()\n    await dispatcher.aclose()\nasyncio.run(main())", 1),
        ("burst()\nasync def main():\n    burst()\nfor _ in range(3): asyncio.run(main())", 4),
        (
            (
                "async def main():\n    burst()\n    await asyncio.sleep(0)\n    sys.exit(3)\n"
                "asyncio.run(main())"
            ),
            1,
        ),
    ],
    ids=["at once", "soon", "closed", "three loops", "sys.exit"],
)
def test_a_run_delivers_before_it_ends(sink: SinkProcess, code: str, runs: int) -> None:
    """`asyncio.run` that ends early has sent what was given to it, and complains of nothing."""
    sink.reset()
    sink.faults("latency 100ms")
    result = run(sink, code)
    assert result.stderr == ""
    stats = sink.stats()
    expected = (50 * runs, 50 * runs)
    assert (stats.datadog.accepted, stats.datadog.unique) == expected
    assert (stats.freshpaint.accepted, stats.freshpaint.unique) == expected


def test_a_run_with_a_dead_vendor_ends_in_bounded_time(sink: SinkProcess) -> None:
    """With a vendor that never answers it ends at `shutdown_timeout`, and knows the rest."""
    sink.reset()
    sink.faults("hang")
    code = (
        "async def main():\n    burst()\n"
        "begun = time.monotonic()\nasyncio.run(main())\n"
        "took = time.monotonic() - begun\n"
        "assert 2 <= took < 4, took\n"
        "print(dispatcher.stats().destinations['freshpaint'].pending)"
    )
    result = run(sink, code)
    assert (result.stderr, result.stdout) == ("", "50\n")
