"""
One stay of the lanes in one event loop: a task that owns the task group, from start to last flush.

Always holds: the task group lives in this one task, so nothing of it shows in the caller's (`async
with` raises what the user's block raised); whoever closes waits for a notice, never for the task.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from sendoff._errands import Errand, Errands
from sendoff._fork import import_in_peace
from sendoff._lines import STOPPED
from sendoff._threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sendoff._lane import Lane, Spawn
    from sendoff._log import Log
    from sendoff.transports.base import Transport

__all__ = ["Host", "Parts", "Tend", "abandon"]

Tend = Callable[[], Coroutine[Any, Any, None]]
"""Looks after the spool until it is cancelled."""

CLOSE_SECONDS = 0.1
"""
Seconds for closing connections after the last flush: a process ends within its deadline and half a
second.
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What a dispatcher is made of, as far as its hosts run it.

    Args:
        lanes: One for each destination.
        transport: What they send with; None for HTTP.
        errands: What is done in worker threads beside.
        tend: Looks after the spool, if there is one.
        log: The dispatcher's lines.
    """

    lanes: Sequence[Lane]
    transport: Transport | None
    errands: Errands
    tend: Tend | None
    log: Log


class Host:
    """
    Runs the lanes in a loop.

    Args:
        parts: What there is to run.
        loop: Where; this thread's running one, or one that runs nowhere yet.
        shutdown_timeout: Seconds for the last flush of a loop that ends without `aclose`.
        ended: Called in the loop when it is over; before those who wait for that are told.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        loop: asyncio.AbstractEventLoop,
        shutdown_timeout: float,
        ended: Callable[[Host], None],
    ) -> None:
        self.loop = loop
        self._lanes = parts.lanes
        self._transport = parts.transport
        self._errands = parts.errands
        self._tend = parts.tend
        self._log = parts.log
        self._shutdown_timeout = shutdown_timeout
        self._ended = ended
        # uvloop's own clock stands still within one turn of the loop and counts milliseconds: too
        # coarse for a limit.
        is_uvloop = type(self.loop).__module__.partition(".")[0] == "uvloop"
        # asyncio's own is this one with a call around it, which every request would pay for.
        plain = getattr(self.loop.time, "__func__", None) is asyncio.BaseEventLoop.time
        self._clock = time.monotonic if is_uvloop or plain else self.loop.time
        # All mutable state.
        self.given_up: dict[str, int] = {}  # by `aclose`, at its deadline
        self.kept: dict[str, int] = {}  # what stays in the spool then
        self.flushed_for = 0.0  # seconds that the last flush took
        self.failed = False  # it was stopped by an error
        self._close_asked = asyncio.Event()
        self._closed = False  # by `aclose`, not by the end of its loop
        self._flush_until = math.inf  # when the last flush ends
        self._bells = {errand: asyncio.Event() for errand in parts.errands.all}
        self._ready: list[Callable[[], None]] = []
        self._done: list[Callable[[], None]] = []
        self._is_ready = False
        self._is_done = False
        # Brought into its `try` at once: a loop that dies in this very turn cancels its tasks
        # before any of them began.
        coroutine = self._run()
        coroutine.send(None)
        # In an empty context, so that no request's context variables live on in it; not by
        # `create_task`, because an eager task factory would run more of it inside the caller's
        # `track`.
        self.task = asyncio.Task(coroutine, loop=loop, name="sendoff host", context=Context())

    @property
    def closing(self) -> bool:
        """
        Whether its last flush has begun.
        """
        return self._close_asked.is_set()

    # --- any thread -------------------------------------------------------------------------------

    def call(self, callback: Callable[[], None]) -> None:
        """
        Has the loop call something soon, if it still can.
        """
        try:
            self.loop.call_soon_threadsafe(callback)
        except RuntimeError:  # closed
            return

    def ring(self, errand: Errand) -> None:
        """
        Notes that there is something to do for an errand.
        """
        self.call(self._bells[errand].set)

    def when_ready(self, notify: Callable[[], None]) -> None:
        """
        Has somebody told, from the loop, when events begin to go.
        """
        self.call(
            lambda: notify() if self._is_ready or self._is_done else self._ready.append(notify)
        )

    def when_over(self, notify: Callable[[], None]) -> None:
        """
        Has somebody told, from the loop, when all is over.
        """
        self.call(lambda: notify() if self._is_done else self._done.append(notify))

    def close(self, timeout: float, notify: Callable[[], None]) -> None:
        """
        Asks for the last flush and has somebody told, from the loop, when all is over.

        Args:
            timeout: Seconds from now for the flush; an earlier call's stands.
            notify: Whom to tell.
        """
        # At once: a host that is stopped by an error before it hears of it gives up what is left,
        # and one that is slow to hear of it, or to open, has no more time than there is.
        if not self._closed:
            self._flush_until = min(self._flush_until, self._clock() + timeout)
            self._closed = True
        # In this order: a thread's loop may be through with all and closed before the next line.
        self.when_over(notify)
        self.call(self._close_asked.set)

    def forsake(self) -> None:
        """
        Its loop will never turn again: asyncio need not complain that its task is pending.
        """
        # What `asyncio.gather` does to the tasks of a dead loop; there is no public way.
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]

    # --- in the loop ------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await _next_turn()
            await self._open()
            await self._serve()
        except asyncio.CancelledError:
            # The loop is going away without `aclose`: one bounded flush, then what is left stays
            # pending.
            self._close_asked.set()
            if not self._is_ready:
                await self._open()
            await self._serve()
            raise
        except Exception as exc:  # noqa: BLE001 a transport is somebody's code; nobody awaits this task
            self.failed = True
            self._log.fault(
                "stopped",
                STOPPED,
                type(exc).__name__,
                level=logging.ERROR,
            )
        finally:
            await self._finish()

    async def _open(self) -> None:
        transport = self._transport
        if transport is None:
            # In a worker thread, as it loads aiohttp.
            module = await in_thread(import_in_peace, "sendoff.transports.http")
            transport = self._transport = module.HttpTransport()
        for lane in self._lanes:
            lane.attach(self.loop, self._clock, transport)
        await transport.open()
        self._is_ready = True
        self._tell(self._ready)

    async def _serve(self) -> None:
        """
        Lets the lanes work until the last flush is over.
        """
        coroutines: list[Coroutine[Any, Any, None]] = []
        context = _own_context()
        try:
            async with anyio.create_task_group() as tasks:

                def spawn(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
                    # anyio cancels again until all tasks of a group are over, and no longer: one
                    # that a late ring starts between the last of them and the group's own end would
                    # never hear of it, and the group never end.
                    if tasks.cancel_scope.cancel_called:
                        return
                    coroutine = work()
                    coroutines.append(coroutine)
                    context.copy().run(partial(tasks.start_soon, lambda: coroutine, name=name))

                for lane in self._lanes:
                    lane.start(spawn)
                if self._tend is not None:
                    spawn(self._tend, "sendoff spool")
                for errand in self._bells:
                    spawn(partial(self._run_errand, errand), f"sendoff {errand.name}")
                await self._close_asked.wait()
                await self._drain(spawn)
                tasks.cancel_scope.cancel()
        finally:
            for coroutine in coroutines:
                # One that a dying loop never began would complain that nobody awaited it.
                coroutine.close()

    async def _drain(self, spawn: Spawn) -> None:
        """
        Gives every lane the same time to become empty.
        """
        begun = self._clock()
        if self._flush_until == math.inf:
            self._flush_until = begun + self._shutdown_timeout
        deadline = self._flush_until
        left = len(self._lanes)
        done = asyncio.Event()

        async def drain(lane: Lane) -> None:
            nonlocal left
            await lane.drain(deadline)
            left -= 1
            if not left:
                done.set()

        for lane in self._lanes:
            spawn(partial(drain, lane), f"sendoff {lane.name} drain")
        with anyio.move_on_after(deadline - begun, shield=True):
            await done.wait()
        self.flushed_for = self._clock() - begun

    async def _run_errand(self, errand: Errand) -> None:
        """
        Does an errand in a worker thread, whenever there is something to do.
        """
        bell = self._bells[errand]
        while True:
            await in_thread(errand.deliver)
            await bell.wait()
            bell.clear()

    async def _finish(self) -> None:
        if self.loop.is_closed():
            return  # closed under us; this is the garbage collector, and the lanes are elsewhere
        for lane in self._lanes:
            if self._closed:
                abandon(lane, self.given_up, self.kept)
            lane.detach()
        if self._transport is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._transport.aclose()
        await self._errands.finish(closing=self._closed)
        self._is_done = True
        self._ended(self)
        self._tell(self._ready)
        self._tell(self._done)

    @staticmethod
    def _tell(listeners: list[Callable[[], None]]) -> None:
        while listeners:
            listeners.pop()()


@types.coroutine
def _next_turn() -> Generator[None, None, None]:
    yield


def _own_context() -> Context:
    """
    Where tasks are started: a context without the variables of whoever rang for a worker, a web
    request for instance.

    A ring is a callback of the loop and no task. Where `sniffio` is installed, anyio asks it which
    library runs, and `sniffio` sees none outside tasks unless it is told.
    """
    context = Context()
    sniffio = sys.modules.get("sniffio")  # anyio has imported it, if it is there
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


def abandon(lane: Lane, given_up: dict[str, int], kept: dict[str, int]) -> None:
    """
    Ends what is pending in a lane: it is given up, or stays in the spool; notes how much of each.
    """
    if events := lane.abandon():
        given_up[lane.name] = events
    if lane.refill is not None and lane.refill.kept:
        kept[lane.name] = lane.refill.kept
