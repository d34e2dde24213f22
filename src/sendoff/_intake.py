"""
The caller's half of a lane: encodes, queues, rings; and keeps the ledger of its destination.

Everything that the caller's thread and the loop share is here, and is changed under one short lock,
which nobody holds while encoding, logging or waiting; most events come in without it (see
`EventQueue`). It is re-entrant, for calls from signal handlers and finalizers. Always holds: every
accepted event is queued, in a worker's hand or counted under one fate.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sendoff._bell import Bell
from sendoff._encode import Encoder
from sendoff._late import squeeze, withdraw
from sendoff._ledger import Ledger
from sendoff._lines import DEAD_LETTERS, OVERFLOW, REJECTED, Line
from sendoff._log import Log, type_name
from sendoff._queue import LIGHT, NEVER, EventQueue, Evicted
from sendoff.dead_letters import Parcel
from sendoff.destinations.base import Destination
from sendoff.destinations.checks import object_of
from sendoff.errors import EventRejected
from sendoff.events import DropReason, Event
from sendoff.observers import DestinationStats

if TYPE_CHECKING:
    from sendoff._batcher import Batch
    from sendoff._hook import Hooks
    from sendoff._letters import LetterBox
    from sendoff._refill import Refill

__all__ = ["Intake"]

NO_TROUBLE = (None, "")


class Intake:
    """
    Takes events for one destination, from any thread.

    Args:
        destination: The adapter.
        queue: Holds them, empty; its `max_bytes` bound each event, too.
        hooks: Who is told of fates, if the user wants to see them.
        letters: Where events go that are given up, instead of being dropped.
        log: The dispatcher's lines.
    """

    def __init__(
        self,
        destination: Destination,
        queue: EventQueue,
        *,
        hooks: Hooks | None,
        letters: LetterBox | None,
        log: Log,
    ) -> None:
        self.name = destination.name
        self.destination = destination
        self._encode = destination.encode
        self._max_event = min(destination.tuning.max_batch_bytes, queue.max_bytes)
        self._light = min(LIGHT, self._max_event)
        self._hooks = hooks
        self._letters = letters
        self._log = log
        # All mutable state, changed under the lock.
        self.lock = threading.RLock()
        self.queue = queue
        self.ledger = Ledger()
        self._encoder = Encoder()
        self._dumps = self._encoder.dumps
        self.bell = Bell()
        self.writing: dict[Batch, None] = {}  # handed to the dead letters, without a fate yet
        # Status and detail of the last answer or failure, if nothing was delivered since.
        self.trouble: tuple[int | None, str] = NO_TROUBLE

    # --- events -------------------------------------------------------------------------------

    def submit(self, event: Event) -> bool:
        """
        Takes a neutral event. Never raises.

        Returns:
            Whether it was accepted.
        """
        try:
            body = self._encode(event, self._dumps)
        except EventRejected as exc:
            self.reject(exc.reason, exc.detail)
            return False
        except Exception as exc:  # noqa: BLE001 a destination is somebody's code, a mapping anybody's
            self.reject("unencodable", type_name(exc))
            return False
        return body is not None and self.accept(body, event.id)

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a vendor's own body has this destination's shape. Never raises.
        """
        try:
            return isinstance(payload, Mapping) and self.destination.recognizes(payload)
        except Exception:  # noqa: BLE001 a mapping is anybody's code
            return False

    def submit_payload(self, payload: Mapping[str, Any], event_id: str, now: float) -> str | None:
        """
        Takes a vendor's own body. Never raises.

        Returns:
            The event's id, or None if it was not accepted.
        """
        try:
            if payload is None:
                raise EventRejected("invalid_payload", "a mapping is needed, not NoneType")
            body, event_id = self.destination.encode_payload(
                object_of("payload", payload), event_id=event_id, time=now, dumps=self._dumps
            )
        except EventRejected as exc:
            self.reject(exc.reason, exc.detail)
            return None
        except Exception as exc:  # noqa: BLE001 as above
            self.reject("unencodable", type_name(exc))
            return None
        return event_id if self.accept(body, event_id) else None

    def accept(self, body: bytes, event_id: str) -> bool:
        """
        Takes an encoded event. Never raises.

        Returns:
            Whether it was accepted.
        """
        queue = self.queue
        items = queue.items
        if len(items) >= queue.light or len(body) > self._light:
            return self._accept_locked(body, event_id)
        # The lock, the counts and the doorbell are had once in a stretch of events.
        items += (body, event_id)
        # Looked at again: whoever takes the permission back looks at the queue after that, so
        # one of the two sees the event.
        return queue.light > 0 or self._accept_late(body, event_id)

    def _accept_locked(self, body: bytes, event_id: str) -> bool:
        if len(body) > self._max_event:
            self.reject("too_large", f"{len(body):,} bytes, the limit is {self._max_event:,}")
            return False
        queue = self.queue
        with self.lock:
            # Under the lock: once it is closed, nothing slips in behind the last flush.
            closed = queue.closed
            evicted = () if closed else queue.push(body, event_id)
            if evicted is None:
                self.ledger.dropped[DropReason.OVERFLOW] += 1  # those evicted the queue counts
            ring = not closed and queue.rings()
            queue.lighten()
        if closed:
            self.reject("closed", "the dispatcher is closed")
            return False
        if ring:
            self.bell.ring()
        if evicted == ():
            return True
        self._overflowed(((body, event_id),) if evicted is None else evicted)
        return evicted is not None

    def _accept_late(self, body: bytes, event_id: str) -> bool:
        """
        Sees to an event that was put in without the lock just as that was no longer allowed.

        Returns:
            Whether it was accepted.
        """
        queue = self.queue
        evicted: Evicted = ()
        with self.lock:
            queue.weigh()
            late = withdraw(queue, event_id)
            if not queue.closed:
                evicted = squeeze(queue, body, event_id)
            ring = not queue.closed and queue.rings()
        if late:
            self.reject("closed", "the dispatcher is closed")
        if ring:
            self.bell.ring()
        if evicted:
            self._overflowed(evicted)
        return not late and all(one is not event_id for _, one in evicted)

    def _overflowed(self, lost: Evicted) -> None:
        self.log("overflow", OVERFLOW, self.queue.overflow)
        if self._hooks is not None:
            bodies, ids = zip(*lost, strict=True)
            self._hooks.given_up(self.name, DropReason.OVERFLOW, bodies, ids)

    def reject(self, reason: str, detail: str) -> None:
        """
        Counts an event that was not taken, and says so: once a minute for each reason, a few
        reasons a minute.
        """
        with self.lock:
            self.ledger.rejections[reason] += 1
        self._log.call(f"{self.name} {reason}", REJECTED, self.name, reason, detail)

    def filtered(self) -> None:
        """
        Counts an event that `before_send` took back.
        """
        with self.lock:
            self.ledger.dropped[DropReason.FILTERED] += 1

    def set_closed(self, closed: bool) -> None:
        """
        From now on rejects events, or takes them again.
        """
        with self.lock:
            self.queue.close(closed=closed)

    # --- fates --------------------------------------------------------------------------------

    def delivered(self, batch: Batch) -> None:
        """
        Counts events that the vendor has.
        """
        events, size = len(batch.bodies), batch.size
        ledger, queue = self.ledger, self.queue
        with self.lock:
            # As `release`, without the call: after one a signal handler might ask for `stats`, and
            # find these events twice.
            ledger.delivered += events
            queue.held_events -= events
            queue.held_bytes -= size
        self.trouble = NO_TROUBLE
        if batch.places is not None:
            self._settle(batch.places)
        if self._hooks is not None:
            self._hooks.delivered(self.name, batch.ids)

    def dropped(
        self, batch: Batch, reason: DropReason, status: int | None = None, detail: str = ""
    ) -> None:
        """
        Hands events that are given up to the dead letters, or counts them as dropped.

        Args:
            batch: The events.
            reason: Why.
            status: The HTTP status of the last answer, if there was one.
            detail: What was said then.
        """
        if self._letters is None:
            self._given_up(batch, reason, 0, None)
            return
        with self.lock:
            self.writing[batch] = None  # still held, and pending
        parcel = Parcel(
            bodies=batch.bodies,
            ids=batch.ids,
            time=time.time(),
            destination=self.name,
            reason=reason,
            status=status,
            detail=detail,
        )
        self._letters.post(parcel, partial(self._given_up, batch, reason))

    def _given_up(self, batch: Batch, reason: DropReason, written: int, fault: str | None) -> None:
        """
        Counts given-up events: the first are in the dead letters, the others are dropped. Any
        thread.
        """
        events, size = len(batch), batch.size
        lost = events - written
        ledger, queue = self.ledger, self.queue
        with self.lock:
            # First this one, which may be a call; the others as in `delivered`.
            if lost:
                ledger.dropped[reason] += lost
            ledger.dead_lettered += written
            queue.held_events -= events
            queue.held_bytes -= size
            if fault is not None:
                ledger.dead_letter_faults += lost
            self.writing.pop(batch, None)
        if batch.places is not None:
            self._settle(batch.places)
        if fault is not None:
            self.log("dead letters", DEAD_LETTERS, fault)
        if self._hooks is not None:
            self._hooks.given_up(self.name, reason, batch.bodies, batch.ids, written)
        if self._letters is not None:
            self.bell.settled()

    def _settle(self, places: Iterable[int]) -> None:
        """
        Notes in the spool, if there is one, that events have their fate.
        """

    def refill(self, rung: Callable[[], None]) -> Refill | None:
        """
        What brings back events that are on disk alone; None without a spool.

        Args:
            rung: Wakes a worker; called in the loop.
        """
        return None

    def stats(self, state: str) -> DestinationStats:
        """
        The ledger at this instant.
        """
        with self.lock:
            self.queue.weigh()
            return self.ledger.snapshot(self.queue, marked_fields=self._encoder.marked, state=state)

    def log(self, kind: str, line: Line, *args: object, level: int = logging.WARNING) -> None:
        """
        Writes a line, at most one of a kind in a minute; its first field is this lane's name.
        """
        self._log.fault(f"{self.name} {kind}", line, self.name, *args, level=level)

    # --- the way to the loop ----------------------------------------------------------------------

    def unlisten(self) -> None:
        """
        Nobody is there to ring for.
        """
        self.bell.take_down()
        with self.lock:
            self.queue.ring_events = self.queue.ring_bytes = NEVER
