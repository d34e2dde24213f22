"""
Where a dispatcher's lanes run: in the loop of the first call, in a thread of its own, or nowhere.

Always holds: at most one host lives; a loop that was closed under its host has given everything
back; what is pending without a host is kept for the next loop, and for the end of the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sendoff._exit import Leaver, keep_until_exit, release
from sendoff._fork import no_forks
from sendoff._host import Host, Parts
from sendoff._lines import GEVENT
from sendoff._threads import in_thread, start_daemon, under_gevent

if TYPE_CHECKING:
    from sendoff._errands import Errand

__all__ = ["Hosts", "running_loop"]

MAX_REST = 60.0
"""
Seconds, at most, before a call starts another host in place of one that stopped by an error: two
after the first, then twice as many each time.
"""

running_loop = (
    asyncio._get_running_loop
)  # None without a loop; `get_running_loop` would raise and cost 0.4 µs a call


class Hosts:
    """
    The hosts of one dispatcher, one after the other.

    Args:
        leaver: What brings out at the end of the process what is pending; kept alive until then.
        parts: What there is to run.
        blocking: Whether to run in a thread, and not in the caller's loop.
        handle_sigterm: Whether SIGTERM flushes, if nobody else handles it.
        shutdown_timeout: Seconds for the last flush of a loop that ends without `aclose`.
        closed_with: Told of a host that `aclose` ended and that left something.
    """

    def __init__(
        self,
        leaver: Leaver,
        parts: Parts,
        *,
        blocking: bool,
        handle_sigterm: bool,
        shutdown_timeout: float,
        closed_with: Callable[[Host], None],
    ) -> None:
        self._leaver = leaver
        self._parts = parts
        self._blocking = blocking
        self._handle_sigterm = handle_sigterm
        self._shutdown_timeout = shutdown_timeout
        self._closed_with = closed_with
        # All mutable state, changed under the lock.
        self.lock = threading.RLock()
        self.closed = False
        self.loop: object = self  # calls in another loop than this, or without one, ask `elsewhere`
        self.spent = 0.0  # seconds of `shutdown_timeout` that a loop's end has used up
        self._host: Host | None = None
        self._opening = False  # a thread's host is being made
        self._failures = 0  # hosts in a row that stopped by an error
        self._resume_at = -math.inf  # calls start no other one before
        self._left_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None  # it ended by itself

    @property
    def state(self) -> str:
        """
        One word for a repr.
        """
        return "closed" if self.closed else "idle" if self._host is None else "running"

    def elsewhere(self) -> None:
        """
        A call came from where no host is known to be: starts the sending if it stands still and
        can.
        """
        with self.lock:
            if self.living() is not None or self.closed or self._opening:
                return
            if time.monotonic() < self._resume_at:
                return
            loop = running_loop()
            if self._blocking:
                self.in_thread()
            elif loop is None:
                self._keep()
                self.loop = None  # further calls without a loop need not ask again
                if under_gevent():
                    self._parts.log.fault(
                        "gevent",
                        GEVENT,
                        level=logging.ERROR,
                    )
            elif self._left_loop is None or self._left_loop() is not loop:
                # A loop that is being torn down would never run what is started now.
                self.here()

    def living(self, *, turning: bool = False) -> Host | None:
        """
        The host, if its loop is open.

        Args:
            turning: Whether a loop that does not run counts as closed: at the end of a process
                nobody will run it again.
        """
        host = self._host
        if host is not None and (host.loop.is_closed() or (turning and not host.loop.is_running())):
            # Closed under it, without a chance to end: what it had in hand goes back.
            for lane in self._parts.lanes:
                lane.detach()
            host.forsake()
            self._host = host = None
            self.loop = self
        return host

    def set_closed(self, closed: bool) -> None:
        """
        From now on starts nothing, or may start again.
        """
        self.closed = closed
        if not closed:
            self._left_loop = None

    def here(self) -> Host:
        """
        The host; without one, a new one in the running loop, or in a thread if that is asked for.
        """
        return self.in_thread() if self._blocking else self.in_loop()

    def in_loop(self) -> Host:
        """
        The host; without one, a new one in the running loop.
        """
        return self.living() or self._new(asyncio.get_running_loop())

    def in_thread(self) -> Host:
        """
        The host; without one, a new one in a thread of its own.
        """
        host = self.living()
        if host is None:
            # Making a loop writes a log line, whose handler may call and ask for a host.
            self._opening = True
            try:
                loop = asyncio.new_event_loop()
            finally:
                self._opening = False
            host = self._new(loop)
            self.loop = None  # calls without a loop, as a thread's are, need not ask
            if not start_daemon("sendoff", lambda: _turn(loop, host)):
                _close(loop)
                self.living()
        return host

    def _new(self, loop: asyncio.AbstractEventLoop) -> Host:
        host = self._host = Host(
            self._parts,
            loop=loop,
            shutdown_timeout=self._shutdown_timeout,
            ended=self._ended,
        )
        self.loop = loop
        self.spent = 0.0
        self._keep()
        return host

    def _keep(self) -> None:
        keep_until_exit(self._leaver, handle_sigterm=self._handle_sigterm)

    def _ended(self, host: Host) -> None:
        with self.lock:
            if self._host is host:
                for lane in self._parts.lanes:
                    lane.detach()  # once more: ends flushes that began while it was ending
                self._host = None
                self.loop = self
                if host.failed:
                    self._failures += 1
                    self._resume_at = time.monotonic() + min(2.0**self._failures, MAX_REST)
                    self._left_loop = None
                else:
                    self._failures = 0
                    self._resume_at = -math.inf
                    self._left_loop = weakref.ref(host.loop)
                if any(lane.stats().pending for lane in self._parts.lanes):
                    self.spent = host.flushed_for
                else:
                    release(self._leaver)
        if host.given_up or host.kept:
            self._closed_with(host)

    def ring(self, errand: Errand) -> None:
        """
        Notes that there is something to do for an errand.
        """
        host = self._host
        if host is not None:
            host.ring(errand)


def _turn(loop: asyncio.AbstractEventLoop, host: Host) -> None:
    """
    A thread's whole life: turns a loop until its host is over.
    """
    try:
        asyncio.set_event_loop(loop)
        with no_forks():
            loop.run_until_complete(in_thread(int))  # has anyio load what it needs
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(host.task)
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # an interpreter that shuts down starts no thread to wait in
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
