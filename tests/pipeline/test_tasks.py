"""
Who starts the workers: calls from anywhere, with and without `sniffio`; nothing of theirs sticks.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path

import pytest

import sendoff
from sendoff import Dispatcher, Freshpaint, MemoryTransport, Request, Response

VARIABLE: ContextVar[str] = ContextVar("variable", default="")

DELIVER = """
import asyncio, sys

{before}
from sendoff import Dispatcher, Freshpaint, MemoryTransport

async def main():
    async with Dispatcher(Freshpaint(token="t"), transport=MemoryTransport()) as dispatcher:
        await asyncio.sleep(0.01)  # nothing to do yet: a call starts the worker
        dispatcher.track("x", user_id="u")
        assert await dispatcher.flush(5)
    print(dispatcher.stats().destinations["freshpaint"].delivered)

asyncio.run(main())
"""


@pytest.mark.parametrize("before", ["import sniffio", 'sys.modules["sniffio"] = None'])
def test_a_call_starts_a_worker_with_and_without_sniffio(before: str) -> None:
    """A ring is no task; whether or not `sniffio` is there to mind, it starts one."""
    if before == "import sniffio":
        pytest.importorskip("sniffio")
    elif _anyio_needs_sniffio():
        pytest.skip("this anyio does not work without sniffio")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", DELIVER.format(before=before)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(Path(sendoff.__file__).parents[1])},
    )
    assert (result.stdout, result.stderr) == ("1\n", "")


def _anyio_needs_sniffio() -> bool:
    from importlib.metadata import requires

    return any(one.startswith("sniffio") for one in requires("anyio") or ())


def test_a_request_leaves_nothing_in_the_worker_it_wakes(caplog: pytest.LogCaptureFixture) -> None:
    """What a caller's context holds, a trace's span for instance, is not the worker's."""
    seen: list[str] = []

    async def answer(_: Request) -> Response:
        seen.append(VARIABLE.get())
        await asyncio.sleep(0.01)  # so that one worker is not enough
        return Response(200)

    async def main() -> None:
        transport = MemoryTransport(answer)
        async with Dispatcher(Freshpaint(token="t"), transport=transport) as dispatcher:
            VARIABLE.set("a request's")
            for _ in range(20):
                dispatcher.track("x", user_id="u")
            assert await dispatcher.flush(5)

    asyncio.run(main())
    assert seen == [""] * 20
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
