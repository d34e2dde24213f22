"""
One stay of the lanes in one event loop: a task that owns the task group, from start to last flush.

Always holds: the task group lives in this one task, so nothing of it shows in the caller's (`async
with` raises what the user's block raised); whoever closes waits for a notice, never for the task.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sendoff._lane import Lane, Spawn
    from sendoff.transports.base import Transport

__all__ = ["Errand", "Host"]

CLOSE_SECONDS = 0.25
"""Seconds for closing connections after the last flush, and for the last calls of the hooks."""

LETTERS_SECONDS = 2.0
"""
Seconds for writing what a last flush left to the dead letters: a queue of 64 MiB takes a second.
"""

logger = logging.getLogger("sendoff")


class Errand(Protocol):
    """
    What is done in a worker thread whenever somebody rings for it.
    """

    @property
    def name(self) -> str:
        """
        For its task's name.
        """

    def deliver(self) -> None:
        """
        Does what there is to do. Never raises.
        """


class LastErrand(Errand, Protocol):
    """
    One that must have an end when the dispatcher closes, because events wait for it.
    """

    def give_up(self) -> None:
        """
        Lets go of what is not begun.
        """


class Host:
    """
    Runs the lanes in the running loop.

    Args:
        lanes: All lanes of the dispatcher.
        transport: What they send with; None for HTTP.
        letters: The way to the dead letters, if there are any.
        hooks: The ways to `on_drop` and `on_outcome`, as far as they are set.
        shutdown_timeout: Seconds for the last flush of a loop that ends without `aclose`.
        ended: Called in the loop when it is over.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        transport: Transport | None,
        letters: LastErrand | None,
        hooks: Sequence[Errand],
        *,
        shutdown_timeout: float,
        ended: Callable[[Host], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._lanes = lanes
        self._transport = transport
        self._letters = letters
        self._hooks = hooks
        self._shutdown_timeout = shutdown_timeout
        self._ended = ended
        # uvloop's own clock stands still within one turn of the loop and counts milliseconds: too
        # coarse for a limit.
        is_uvloop = type(self.loop).__module__.partition(".")[0] == "uvloop"
        self._clock = time.monotonic if is_uvloop else self.loop.time
        # All mutable state.
        self.given_up: dict[str, int] = {}  # by `aclose`, at its deadline
        self._close_asked = asyncio.Event()
        self._close_timeout: float | None = None  # None: the loop ended without `aclose`
        errands = hooks if letters is None else (letters, *hooks)
        self._bells = {errand: asyncio.Event() for errand in errands}
        self._ready: list[Callable[[], None]] = []
        self._done: list[Callable[[], None]] = []
        self._is_ready = False
        self._is_done = False
        # In an empty context, so that no request's context variables live on in it; not by
        # `create_task`, because an eager task factory would run its beginning inside the caller's
        # `track`.
        self._task = asyncio.Task(
            self._run(), loop=self.loop, name="sendoff host", context=Context()
        )

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
        self.call(lambda: notify() if self._is_ready else self._ready.append(notify))

    def close(self, timeout: float, notify: Callable[[], None]) -> None:
        """
        Asks for the last flush and has somebody told, from the loop, when all is over.

        Args:
            timeout: Seconds for the flush; an earlier call's stands.
            notify: Whom to tell.
        """

        def ask() -> None:
            if self._is_done:
                notify()
                return
            self._done.append(notify)
            if self._close_timeout is None:
                self._close_timeout = timeout
            self._close_asked.set()

        self.call(ask)

    # --- in the loop ------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
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
            logger.error(
                "sending has stopped: %s; the next call starts it again", type(exc).__name__
            )
        finally:
            await self._finish()

    async def _open(self) -> None:
        transport = self._transport
        if transport is None:
            # In a worker thread, as it loads aiohttp.
            module = await anyio.to_thread.run_sync(import_module, "sendoff.transports.http")
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
        try:
            async with anyio.create_task_group() as tasks:

                def spawn(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
                    coroutine = work()
                    coroutines.append(coroutine)
                    tasks.start_soon(lambda: coroutine, name=name)

                for lane in self._lanes:
                    lane.start(spawn)
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
        timeout = self._shutdown_timeout if self._close_timeout is None else self._close_timeout
        deadline = self._clock() + timeout
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
        with anyio.move_on_after(timeout, shield=True):
            await done.wait()

    async def _run_errand(self, errand: Errand) -> None:
        """
        Does an errand in a worker thread, whenever there is something to do.
        """
        bell = self._bells[errand]
        while True:
            await anyio.to_thread.run_sync(errand.deliver, abandon_on_cancel=True)
            await bell.wait()
            bell.clear()

    async def _run_last(self, errands: Sequence[Errand], seconds: float) -> None:
        """
        Does errands once more, side by side and within a time.
        """
        with anyio.move_on_after(seconds, shield=True):
            async with anyio.create_task_group() as tasks:
                for errand in errands:
                    tasks.start_soon(
                        partial(anyio.to_thread.run_sync, errand.deliver, abandon_on_cancel=True)
                    )

    async def _finish(self) -> None:
        if self.loop.is_closed():
            return  # closed under us; this is the garbage collector, and the lanes are elsewhere
        for lane in self._lanes:
            if self._close_timeout is not None and (given_up := lane.abandon()):
                self.given_up[lane.name] = given_up
                logger.warning("%s: %d events were given up at shutdown", lane.name, given_up)
            lane.detach()
        if self._transport is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._transport.aclose()
        if self._letters is not None:
            # Before the hooks, which are shown what could not be written.
            await self._run_last((self._letters,), LETTERS_SECONDS)
            if self._close_timeout is not None:
                self._letters.give_up()
        if self._hooks:
            await self._run_last(self._hooks, CLOSE_SECONDS)
        self._is_done = True
        self._ended(self)
        self._tell(self._ready)
        self._tell(self._done)

    @staticmethod
    def _tell(listeners: list[Callable[[], None]]) -> None:
        while listeners:
            listeners.pop()()
