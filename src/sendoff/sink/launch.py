"""
Running a sink as a process: its signals, its parent and its first line.

On anything but a terminal the first line is JSON, `{"port": N}`, and nothing follows it. SIGTERM,
SIGINT and, if asked for, the end of stdin stop the sink cleanly. aiohttp is imported only when it
runs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from sendoff.sink.contract import PATHS

if TYPE_CHECKING:
    from sendoff.sink.settings import Settings


def run(settings: Settings, *, as_json: bool = False) -> None:
    """
    Serve until a signal, or the end of stdin where that is asked for.

    Args:
        settings: what the sink listens on, takes and refuses.
        as_json: greet a terminal as a program, too.

    Raises:
        OSError: the port cannot be listened on.
    """
    asyncio.run(_main(settings, as_json))


def cannot_listen(port: int, error: OSError) -> str:
    """
    Why there is no sink on a port, and what to do.

    Args:
        port: the one that was asked for.
        error: what came of it.
    """
    # asyncio's own words hold the address a second time.
    why = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot listen on port {port}: {why}; another --port may be free, 0 takes one that is"


async def _main(settings: Settings, as_json: bool) -> None:
    from sendoff.sink.server import serve

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    try:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
    except NotImplementedError:
        sys.exit("the sink needs a POSIX system, for its signals")
    if settings.with_parent:
        # The parent holds the other end of a pipe; the system closes it even if it is killed.
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, sys.stdin.fileno(), stop)
    # A full collection walks everything that was ever imported, for some 30 ms, in which arrivals
    # would be noted too late and a sender's second would seem fuller than it was.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    await serve(settings, stop, on_ready=lambda port: _greet(settings, port, as_json))


def _stop_at_end(stdin: int, stop: asyncio.Event) -> None:
    if not os.read(stdin, 1_024):
        stop.set()


def _greet(settings: Settings, port: int, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        print(json.dumps({"port": port}), flush=True)
    elif not settings.quiet:
        for path, vendor in PATHS.items():
            print(f"{vendor:<10} http://127.0.0.1:{port}{path}")
        print(f"{'live page':<10} http://127.0.0.1:{port}/   (Ctrl-C stops it)")
