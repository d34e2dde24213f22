"""
How a dispatcher starts, flushes and ends: from any loop, from a thread without one, at exit.

Always holds: a wait ends at its timeout, whatever the loop that does the sending is doing; whoever
closes second waits with the first; what is left is named.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from sendoff._exit import GRACE, Left, listed, release
from sendoff._host import abandon
from sendoff._hosts import Hosts, running_loop
from sendoff._lines import LEFT
from sendoff._log import write
from sendoff.observers import Report
from sendoff.option_checks import check_number

if TYPE_CHECKING:
    from sendoff._host import Host, Parts

__all__ = ["Lifecycle"]


class Lifecycle:
    """
    Starts and ends what one dispatcher does.

    Args:
        parts: What there is to run.
        blocking: Whether to send from a thread, and not from the caller's loop.
        handle_sigterm: Whether a SIGTERM that nobody handles flushes.
        shutdown_timeout: Seconds for the last flush.
        where: Says where events are that a close gives up; for people.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        blocking: bool,
        handle_sigterm: bool,
        shutdown_timeout: float,
        where: Callable[[], str],
    ) -> None:
        self._lanes = parts.lanes
        self._errands = parts.errands
        self._grace = GRACE + parts.errands.seconds
        self._shutdown_timeout = shutdown_timeout
        self._where = where
        self.hosts = Hosts(
            self,
            parts,
            blocking=blocking,
            handle_sigterm=handle_sigterm,
            shutdown_timeout=shutdown_timeout,
            closed_with=self._closed_with,
        )
        # All mutable state, changed under the hosts' lock.
        self._leaving = False  # the process ends, and says itself what is left
        # Of the last flush of the process: what is given up, and what stays in the spool.
        self._left: tuple[Mapping[str, int], Mapping[str, int]] = ({}, {})

    def set_closed(self, closed: bool) -> None:
        """
        From now on rejects events, or takes them again.
        """
        with self.hosts.lock:
            self.hosts.set_closed(closed)
            for lane in self._lanes:
                lane.intake.set_closed(closed)

    async def start(self) -> None:
        """
        Starts sending, and takes events again.
        """
        hosts = self.hosts
        while (host := hosts.living()) is not None and host.closing:
            await _notice(host.when_over, None)  # what closes here closes first
        with hosts.lock:
            self.set_closed(False)
            host = hosts.here()
        await _notice(host.when_ready, None)

    # --- flush ------------------------------------------------------------------------------------

    async def flush(self, timeout: float | None) -> Report:
        """
        Waits in a loop until everything accepted before has its fate.
        """
        begun = _begin(timeout)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in self._lanes]
        with self._settling([_notifier(loop, future) for future in futures]) as targets:
            # Only now: a host that is just ending still ends the waits that began before.
            with self.hosts.lock:
                if not (closed := self.hosts.closed):
                    self.hosts.here()
            if not closed:
                with anyio.move_on_after(timeout):
                    for future in futures:
                        await future
        return self._left_of(targets, begun)

    def flush_blocking(self, timeout: float | None) -> Report:
        """
        Waits in a thread until everything accepted before has its fate.
        """
        begun = _begin(timeout)
        events = [threading.Event() for _ in self._lanes]
        with self._settling([event.set for event in events]) as targets:
            with self.hosts.lock:
                if not (closed := self.hosts.closed):
                    _not_in_loop(self.hosts.in_thread(), "flush")
            if not closed:
                for event in events:
                    left = None if timeout is None else begun + timeout - time.monotonic()
                    event.wait(None if left is None else max(0.0, left))
        return self._left_of(targets, begun)

    @contextmanager
    def _settling(self, notifiers: Sequence[Callable[[], None]]) -> Iterator[list[int]]:
        pairs = list(zip(self._lanes, notifiers, strict=True))
        targets = [lane.when_settled(notify) for lane, notify in pairs]
        try:
            yield targets
        finally:
            for lane, notify in pairs:
                lane.forget(notify)

    def _left_of(self, targets: Sequence[int], begun: float) -> Report:
        left = {
            lane.name: events
            for lane, target in zip(self._lanes, targets, strict=True)
            if (events := lane.left(target))
        }
        return Report(MappingProxyType(left), time.monotonic() - begun)

    # --- close ------------------------------------------------------------------------------------

    async def aclose(self, timeout: float | None) -> Report:
        """
        Takes no more events, flushes and stops; waits in a loop.
        """
        seconds = self._shutdown_timeout if timeout is None else timeout
        begun = _begin(seconds)
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            host = self._closing(self.hosts.here)
            left = max(0.0, end - clock())
            in_time = host is None or await _notice(partial(host.close, left), left + self._grace)
            if not (in_time and self._missed_by(host)):
                return self._report(host, begun, in_time=in_time)

    def close(self, timeout: float | None) -> Report:
        """
        Takes no more events, flushes and stops; waits in a thread.
        """
        seconds = self._shutdown_timeout if timeout is None else timeout
        begun = _begin(seconds)
        _not_in_loop(self.hosts.living(), "aclose")
        while True:
            host = self._closing(self.hosts.in_thread)
            over = threading.Event()
            if host is not None:
                left = max(0.0, begun + seconds - time.monotonic())
                host.close(left, over.set)
                over.wait(left + self._grace)
            in_time = host is None or over.is_set()
            if not (in_time and self._missed_by(host)):
                return self._report(host, begun, in_time=in_time)

    def _closing(self, host_for: Callable[[], Host]) -> Host | None:
        with self.hosts.lock:
            again = self.hosts.closed and self.hosts.living() is None
            self.set_closed(True)
            pending = self._pending()
            # What the last close left in the spool waits for the next start; a loop that was closed
            # in the middle of a close leaves some in memory as well, and that has to go.
            parked = again and pending == self._kept()
            return host_for() if pending and not parked else self.hosts.living()

    def _missed_by(self, host: Host | None) -> bool:
        """
        Whether a host was past giving up when it was asked to close: what it left is the next
        one's.
        """
        with self.hosts.lock:
            if host is None or host.given_up or host.kept or not self.hosts.closed:
                return False
            return self.hosts.living() is None and bool(self._pending())

    def _report(self, host: Host | None, begun: float, *, in_time: bool) -> Report:
        # Of a host whose loop does not turn, or that is about to end. Looked at first: what it
        # gives up in this very moment is in both.
        pending = self._pending()
        if host is None:
            left = self._kept()
        else:
            left = dict(Counter(host.given_up) + Counter(host.kept))
            if not in_time:
                left = pending | left
        if in_time:
            release(self)
        return Report(MappingProxyType(left), time.monotonic() - begun)

    def _kept(self) -> dict[str, int]:
        refills = ((lane.name, lane.refill) for lane in self._lanes)
        return {name: refill.kept for name, refill in refills if refill and refill.kept}

    def _pending(self) -> dict[str, int]:
        return {lane.name: events for lane in self._lanes if (events := lane.stats().pending)}

    def _closed_with(self, host: Host) -> None:
        if not self._leaving:
            left = self._located(host.given_up, host.kept)
            # Undamped: there is one for each end.
            write(LEFT, listed(left), sum(left.values()))

    def _located(self, given_up: Mapping[str, int], kept: Mapping[str, int]) -> Left:
        roots = {lane.name: lane.refill.root for lane in self._lanes if lane.refill is not None}
        where = self._where()
        return {
            **{(name, where): events for name, events in given_up.items()},
            **{(name, f"kept in {roots[name]}"): events for name, events in kept.items()},
        }

    # --- the end of the process, as `_exit` asks for it -------------------------------------------

    def stop_taking(self) -> None:
        """
        Takes no more events; the last flush does the rest.
        """
        for lane in self._lanes:
            lane.intake.set_closed(True)

    def seconds_left(self) -> float | None:
        """
        Seconds that the end may take; None if nothing is pending, and every hook has seen all.
        """
        if not self._pending() and not self._errands.late:
            return None
        return self._flush_seconds() + self._errands.seconds

    def _flush_seconds(self) -> float:
        return max(0.0, self._shutdown_timeout - self.hosts.spent)

    async def leave(self) -> None:
        """
        The last flush.
        """
        seconds = self._flush_seconds()
        with self.hosts.lock:
            self._leaving = True
            host = self.hosts.living(turning=True)
        if host is None and seconds == 0.0:  # a loop's end has used the time up
            self.set_closed(True)
            given_up: dict[str, int] = {}
            kept: dict[str, int] = {}
            for lane in self._lanes:
                abandon(lane, given_up, kept)
            self._left = given_up, kept
            await self._errands.finish(closing=True)
            return
        # Here also with `blocking`: an interpreter that shuts down may start no thread.
        host = self._closing(self.hosts.in_loop)
        if host is None:
            await self._errands.finish(closing=True)
        else:
            self._left = host.given_up, host.kept
            await _notice(partial(host.close, seconds), seconds + self._grace)

    def left(self) -> Left:
        """
        What the last flush left, or has not come to.
        """
        rest = self._pending()  # first, as in `_report`
        given_up, kept = self._left
        for name in (*given_up, *kept):
            rest.pop(name, None)
        if any(lane.refill is not None for lane in self._lanes):
            return self._located(given_up, {**rest, **kept})
        return self._located({**rest, **given_up}, kept)


def _begin(timeout: float | None) -> float:
    if timeout is not None:
        check_number("timeout", timeout, least=0)
    return time.monotonic()


def _not_in_loop(host: Host | None, verb: str) -> None:
    if host is not None and running_loop() is host.loop:
        raise RuntimeError(f"this is the loop that does the sending: await {verb}() here")


def _notifier(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> Callable[[], None]:
    """
    Something that any thread may call to end the wait for a future of a loop's.
    """

    def notify() -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(None))
        except RuntimeError:  # the one who waited is gone
            return

    return notify


async def _notice(register: Callable[[Callable[[], None]], None], timeout: float | None) -> bool:
    """
    Waits for a notice from another loop or thread; whether it came in time.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    register(_notifier(loop, future))
    with anyio.move_on_after(timeout):
        await future
    return future.done() and not future.cancelled()
