"""
Whether sniffio is installed must make no difference: many libraries bring it, and anyio then asks
it where it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sendoff

# As the real one: outside of a task it knows of no library.
SNIFFIO = """
import asyncio, contextvars, threading

class AsyncLibraryNotFoundError(RuntimeError):
    pass

class _ThreadLocal(threading.local):
    name = None

thread_local = _ThreadLocal()
current_async_library_cvar = contextvars.ContextVar("library", default=None)

def current_async_library():
    value = thread_local.name or current_async_library_cvar.get()
    if value is None:
        try:
            value = asyncio.current_task() and "asyncio"
        except RuntimeError:
            pass
    if value is None:
        raise AsyncLibraryNotFoundError
    return value
"""

DELIVER = """
import asyncio, sys

if with_it:
    import sniffio
    assert sniffio.__file__ == path, sniffio
else:
    sys.modules["sniffio"] = None

from sendoff import Dispatcher, Freshpaint, MemoryTransport

async def main():
    async with Dispatcher(Freshpaint(token="t"), transport=MemoryTransport()) as dispatcher:
        await asyncio.sleep(0.01)  # everything sleeps: what comes now is begun by a callback
        for number in range(20):
            dispatcher.track("x", user_id="u")
        assert await dispatcher.flush(10), dispatcher.stats()

asyncio.run(main())
if with_it:
    assert sniffio.thread_local.name is None
"""


@pytest.mark.parametrize("with_it", [True, False])
def test_it_makes_no_difference(tmp_path: Path, with_it: bool) -> None:
    """Workers that a loop's callback starts work, and leave no trace in sniffio."""
    path = tmp_path / "sniffio.py"
    path.write_text(SNIFFIO)
    start = f"with_it, path = {with_it}, {str(path)!r}\n"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", start + DELIVER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(Path(sendoff.__file__).parents[1]))),
        },
    )
    assert (result.returncode, result.stderr) == (0, "")
