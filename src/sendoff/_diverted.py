"""
The parts of a dispatcher that sends nothing: what a `sendoff.diversion` puts in the place of its
own.

Always holds: events are checked and encoded as ever, and what is accepted counts as delivered at
once; nothing is sent or written to disk, no hook but `before_send` is called, no task and no thread
starts. Everything is noted in the caller's thread, before the call returns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sendoff._before import BeforeSend, Filter
from sendoff._intake import Intake
from sendoff._lane import Lane
from sendoff._log import Log
from sendoff._queue import EventQueue
from sendoff.events import Event
from sendoff.observers import Report
from sendoff.option_checks import check_number

if TYPE_CHECKING:
    from sendoff._assembly import Assembly, Settings
    from sendoff._before import _Taker
    from sendoff._notes import Notes
    from sendoff.destinations.base import Destination
    from sendoff.diversion import Diversion

__all__ = ["Diverted"]


class Diverted:
    """
    In place of an `Assembly`: the parts of a dispatcher that sends nothing.
    """

    def __init__(
        self, settings: Settings, below: Assembly | Diverted, notes: Notes, owner: Diversion
    ) -> None:
        self._settings = settings
        self._notes = notes
        self.below = below
        self.owner = owner
        self.log = Log()
        self.filter = _Filter(settings.before_send, notes)
        self.hooks = ()
        self.intakes = tuple(
            _Intake(one, settings, notes, self.log) for one in settings.destinations
        )
        self.lanes = tuple(map(Lane, self.intakes))
        self.life = _Life(self.intakes)

    def forget(self) -> None:
        """
        In a forked child, as that of an assembly.
        """
        self.below.forget()

    def renewed(self) -> Diverted:
        """
        In a forked child: diverted as in the parent; what is noted there stays there.
        """
        return Diverted(self._settings, self.below.renewed(), self._notes, self.owner)


class _Filter(Filter):
    """
    `before_send`, or nothing in its place: either way every event comes by, in neutral form.
    """

    def __init__(self, callback: BeforeSend | None, notes: Notes) -> None:
        super().__init__((lambda given: given) if callback is None else callback)
        self._notes = notes

    def event(self, event: Event, takers: Iterable[_Taker]) -> Event | None:
        """
        What is to be sent in an event's place, or None.
        """
        changed: Event | None = self._noted(super().event, event, takers)
        return changed

    def payload(
        self, payload: Mapping[str, Any], takers: Iterable[_Taker]
    ) -> Mapping[str, Any] | None:
        """
        What is to be sent in a body's place, or None.
        """
        changed: Mapping[str, Any] | None = self._noted(super().payload, payload, takers)
        return changed

    def _noted(
        self, ask: Callable[[Any, Iterable[_Taker]], Any], source: Any, takers: Iterable[_Taker]
    ) -> Any:
        before = len(self._notes.refusals)
        with self._notes.begun(source) as given:
            changed = ask(source, takers)
        if changed is not None:
            self._notes.changed(given, changed)
        elif not any(one.given is given for one in self._notes.refusals[before:]):
            given.filtered = True
        return changed


class _Intake(Intake):
    """
    Checks and encodes as ever, and notes what comes of it.
    """

    def __init__(
        self, destination: Destination, settings: Settings, notes: Notes, log: Log
    ) -> None:
        queue = EventQueue(  # stays empty; its bound is one for each event, too
            max_events=settings.max_queue_events,
            max_bytes=settings.max_queue_bytes,
            overflow=settings.overflow,
        )
        super().__init__(destination, queue, hooks=None, letters=None, log=log)
        self._notes = notes

    def submit(self, event: Event) -> bool:
        """
        Takes a neutral event. Never raises.
        """
        with self._notes.asked(event, self.name):
            return super().submit(event)

    def submit_payload(self, payload: Mapping[str, Any], event_id: str, now: float) -> str | None:
        """
        Takes a vendor's own body. Never raises.
        """
        with self._notes.asked(payload, self.name):
            return super().submit_payload(payload, event_id, now)

    def accept(self, body: bytes, event_id: str) -> bool:
        """
        Counts an encoded event as delivered, if a real one would take it.
        """
        if len(body) > self._max_event:
            self.reject("too_large", f"{len(body):,} bytes, the limit is {self._max_event:,}")
            return False
        if self.queue.closed:
            self.reject("closed", "the dispatcher is closed")
            return False
        with self.lock:
            self.ledger.delivered += 1
        self._notes.taken(self.name, body, event_id)
        return True

    def reject(self, reason: str, detail: str) -> None:
        """
        Counts an event that was not taken, says so, and notes it.
        """
        super().reject(reason, detail)
        self._notes.refused(self.name, reason, detail)


class _Life:
    """
    In place of a dispatcher's lifecycle and its hosts: opens and closes, and runs nothing.
    """

    def __init__(self, intakes: Iterable[Intake]) -> None:
        self._intakes = tuple(intakes)
        self.hosts = self
        self.loop = self  # no running loop is it, so every call asks `elsewhere`
        # All mutable state.
        self.closed = False

    @property
    def state(self) -> str:
        """
        One word for a repr.
        """
        return "diverted, closed" if self.closed else "diverted"

    def elsewhere(self) -> None:
        """
        A call came; nothing has to be started.
        """

    def set_closed(self, closed: bool) -> None:
        """
        From now on rejects events, or takes them again.
        """
        self.closed = closed
        for intake in self._intakes:
            intake.set_closed(closed)

    async def start(self) -> None:
        """
        Takes events again.
        """
        self.set_closed(False)
        await asyncio.sleep(0)

    async def flush(self, timeout: float | None) -> Report:
        """
        Nothing is ever left.
        """
        report = self.flush_blocking(timeout)
        await asyncio.sleep(0)
        return report

    def flush_blocking(self, timeout: float | None) -> Report:
        """
        As `flush`.
        """
        begun = time.monotonic()
        if timeout is not None:
            check_number("timeout", timeout, least=0)
        return Report(MappingProxyType({}), time.monotonic() - begun)

    async def aclose(self, timeout: float | None) -> Report:
        """
        Takes no more events.
        """
        report = self.close(timeout)
        await asyncio.sleep(0)
        return report

    def close(self, timeout: float | None) -> Report:
        """
        As `aclose`.
        """
        report = self.flush_blocking(timeout)
        self.set_closed(True)
        return report
