"""
The class that users hold: takes events with plain calls, gives each to its destinations' lanes,
knows their fates.

Always holds: `track`, `identify` and `enqueue` never await, block or raise, in any thread, with or
without a loop; what they accepted before a loop runs waits for one; the first call inside a running
loop starts the sending there.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from sendoff._assembly import Assembly, Settings
from sendoff._before import BeforeSend
from sendoff._encode import fragments_of
from sendoff._exit import arm
from sendoff._fork import forget_in_children
from sendoff._hook import OnDrop, OnOutcome
from sendoff._hosts import running_loop
from sendoff._ids import ids, new_id
from sendoff._lines import CALL_FAILED, UNKNOWN_DESTINATION
from sendoff._log import type_name
from sendoff._roll import enrol
from sendoff.context import BOUND
from sendoff.dead_letters import DeadLetters
from sendoff.destinations.base import Destination
from sendoff.destinations.checks import insert_id_of
from sendoff.errors import EventRejected
from sendoff.events import EPOCH_MILLISECONDS, Event, Fragments
from sendoff.observers import Report, Stats
from sendoff.options import (
    MAX_QUEUE_BYTES,
    MAX_QUEUE_EVENTS,
    SHUTDOWN_TIMEOUT,
    Overflow,
    Spool,
)
from sendoff.transports.base import Transport

if TYPE_CHECKING:
    from sendoff._intake import Intake

__all__ = ["Dispatcher"]

MAX_NAMES = 1_000
"""Names in a call's `to` that are looked at."""


Way = tuple[str, Callable[[Fragments, float, str], bytes | None], Callable[[bytes, str], bool]]
"""A destination's name, its `assemble`, and its intake's `accept`."""


class Dispatcher:
    """
    Takes events and sends them in the background, to every destination on its own lane.

    Args:
        destinations: At least one, with different names.
        max_queue_events: Most events held in memory for each destination, queued and in flight; a
            whole number of at least 1.
        max_queue_bytes: Most bytes of encoded events held in memory for each destination, queued
            and in flight; at least 1.
        overflow: Which event goes when the queue is full: ``"drop_newest"`` or ``"drop_oldest"``.
            With a spool the queue goes on on disk, and this is for events that the disk does not
            take.
        spool: A folder, or a `Spool`, in which accepted events survive the process; by default they
            are in memory alone.
        shutdown_timeout: Seconds for the last flush; at least 0.
        handle_sigterm: Whether a SIGTERM that nobody else handles flushes before it kills. A
            handler of the application's is never replaced.
        dead_letters: A file, its directory or a `DeadLetters`, to which events are written that are
            given up after they were taken (but for those of a full queue); None to drop them.
        before_send: Called at the call, in the caller's thread, with the `Event` (or the mapping
            given to `enqueue`); returns what is to be sent in its place, or None for nothing.
        on_drop: Called with a reason and the events given up for it, in a worker thread.
        on_outcome: Called with an `Outcome` for every fate that accepted events meet, in a worker
            thread.
        blocking: Whether to send from a thread of its own and not from the caller's event loop, for
            programs that have none; `close` and `flush_blocking` go with it.
        transport: What sends requests; by default HTTP. Tests pass a `MemoryTransport`.

    Raises:
        OptionError: An option is wrong; the message names it and its limit.
    """

    def __init__(
        self,
        *destinations: Destination,
        # What is held.
        max_queue_events: int = MAX_QUEUE_EVENTS,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        overflow: Overflow = "drop_newest",
        spool: str | os.PathLike[str] | Spool | None = None,
        # How it ends.
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        handle_sigterm: bool = True,
        dead_letters: str | os.PathLike[str] | DeadLetters | None = None,
        # What is told.
        before_send: BeforeSend | None = None,
        on_drop: OnDrop | None = None,
        on_outcome: OnOutcome | None = None,
        # What it goes through.
        blocking: bool = False,
        transport: Transport | None = None,
    ) -> None:
        self._settings = Settings(
            destinations=destinations,
            max_queue_events=max_queue_events,
            max_queue_bytes=max_queue_bytes,
            overflow=overflow,
            spool=spool if isinstance(spool, Spool | None) else Spool(spool),
            shutdown_timeout=shutdown_timeout,
            handle_sigterm=handle_sigterm,
            dead_letters=(
                dead_letters
                if isinstance(dead_letters, DeadLetters | None)
                else DeadLetters(dead_letters)
            ),
            before_send=before_send,
            on_drop=on_drop,
            on_outcome=on_outcome,
            blocking=blocking,
            transport=transport,
        )
        self._names = self._settings.names
        taken = (getattr(destination, "taken", ()) for destination in destinations)
        self._taken: frozenset[str] = frozenset().union(*taken)
        # All mutable state, changed under the hosts' lock, lies in the assembly.
        self._use(Assembly(self._settings))
        forget_in_children(self)
        if handle_sigterm:
            arm()  # here, because calls may all come from other threads than the main one
        enrol(self)

    def _use(self, assembly: Assembly) -> None:
        """
        From now on goes by these parts: its own, or those of a `sendoff.diversion`.
        """
        self._assembly = assembly
        # What calls need lies here: each dot less is time in the caller's thread.
        self._log = assembly.log
        self._filter = assembly.filter
        self._intakes = assembly.intakes
        self._ways: tuple[Way, ...] = tuple(
            (one.name, getattr(one.destination, "assemble", _not_here), one.accept)
            for one in self._intakes
        )
        self._hosts = assembly.life.hosts
        self._hooks = assembly.hooks
        self._lanes = assembly.lanes
        self._life = assembly.life

    def _forget_parent(self) -> object:
        """
        Begins anew in a forked child: with an empty queue, an empty ledger and locks of its own.

        Returns:
            What the child must keep alive.
        """
        parents = self._assembly
        parents.forget()
        self._use(parents.renewed())
        return parents

    def __repr__(self) -> str:
        """
        State and counts; never a credential.
        """
        lanes = ", ".join(f"{lane.name}: {lane.stats().pending} pending" for lane in self._lanes)
        return f"<Dispatcher {self._hosts.state}, {lanes}>"

    # --- events -----------------------------------------------------------------------------------

    def track(
        self,
        event: str,
        *,
        user_id: str | int | UUID | None = None,
        account_id: str | int | UUID | None = None,
        session_id: str | int | UUID | None = None,
        device_id: str | int | UUID | None = None,
        properties: Mapping[str, Any] | None = None,
        time: float | datetime | None = None,
        ip: str | IPv4Address | IPv6Address | None = None,
        insert_id: str | UUID | None = None,
        integrations: Mapping[str, bool] | None = None,
        to: str | Iterable[str] | None = None,
    ) -> str | None:
        """
        Gives an event to every destination, and goes on. Never awaits, blocks or raises. What
        `bind` has bound in this context is added where the call says nothing.

        What your own objects raise costs the field or the event, counted. Only what is no
        `Exception`, such as `KeyboardInterrupt`, passes through; no fate is counted then where it
        came up.

        Args:
            event: The event's name.
            user_id: Who did it. Datadog: ``usr.id``; Freshpaint: ``distinct_id``.
            account_id: In whose name. Datadog: ``account.id``; Freshpaint: a custom property.
            session_id: In which session. Datadog: ``session.id``; Freshpaint: a custom property.
            device_id: The anonymous device. Freshpaint: ``$device_id``, and ``distinct_id`` if
                there is no user.
            properties: Your own. Datadog: top-level custom attributes; Freshpaint: ``properties``.
                Encoded now: later changes do not show.
            time: When it happened, epoch seconds or datetime; by default now.
            ip: The end user's address, for Freshpaint; sent only if you pass it.
            insert_id: Your own id of the event, 1 to 36 characters of ``[A-Za-z0-9-]``; by default
                a new one.
            integrations: Freshpaint's switches of downstream tools.
            to: Names of the destinations that get it; by default all.

        Returns:
            The event's id, or None if no destination took it; the reason is in `stats` and, once a
            minute, in the log.
        """
        bound = BOUND.get()
        if bound is not None:
            user_id = bound.user_id if user_id is None else user_id
            account_id = bound.account_id if account_id is None else account_id
            session_id = bound.session_id if session_id is None else session_id
            device_id = bound.device_id if device_id is None else device_id
            ip = bound.ip if ip is None else ip
            properties = bound.with_own(properties)
        event_id = ids.next() if insert_id is None else self._own_id(insert_id, to)
        if event_id is None:
            return None
        # The fast way: what is encoded once for all, and a destination that can, puts it together.
        # Everything else goes the general way, through `encode`.
        usual = integrations is None and self._filter is None
        if time is None:
            stamp = time = clock.time()
        elif type(time) is float and 0.0 <= time < EPOCH_MILLISECONDS:
            stamp = time
        else:
            stamp, usual = 0.0, False
        accepted = False
        try:
            fragments = None
            if usual:
                fragments = fragments_of(
                    event,
                    user_id,
                    account_id,
                    session_id,
                    device_id,
                    ip,
                    properties,
                    self._taken,
                )
            if fragments is not None:
                others: tuple[str, ...] = ()
                for name, assemble, accept in self._ways if to is None else self._ways_to(to):
                    body = assemble(fragments, stamp, event_id)
                    if body is None:
                        others += (name,)
                    elif accept(body, event_id):
                        accepted = True
                if running_loop() is not self._hosts.loop:
                    self._hosts.elsewhere()
                if not others:
                    return event_id if accepted else None
                to = others
        except Exception as exc:  # noqa: BLE001 nothing of ours may break a request
            self._contain(exc)
            return None
        general = Event(
            event,
            user_id,
            account_id,
            session_id,
            device_id,
            properties,
            time,
            ip,
            event_id,
            integrations,
        )
        return self._submit(general, to) or (event_id if accepted else None)

    def identify(
        self,
        user_id: str | int | UUID,
        properties: Mapping[str, Any] | None = None,
        *,
        device_id: str | int | UUID | None = None,
        time: float | datetime | None = None,
        to: str | Iterable[str] | None = None,
    ) -> str | None:
        """
        Gives properties of a user to every destination that has such a thing. Never awaits, blocks
        or raises.

        Args:
            user_id: The user. Freshpaint: ``distinct_id``. Datadog has no identification and is
                passed over.
            properties: What is known of the user. Freshpaint: ``$user_props``.
            device_id: The user's device. Freshpaint: ``$device_id``.
            time: When it became known, epoch seconds or datetime; by default now.
            to: Names of the destinations that get it; by default all.

        Returns:
            The event's id, or None if no destination took it.
        """
        bound = BOUND.get()
        if bound is not None and device_id is None:
            device_id = bound.device_id
        return self._submit(
            Event(
                None,
                user_id,
                None,
                None,
                device_id,
                properties,
                clock.time() if time is None else time,
                None,
                new_id(),
                None,
                True,
            ),
            to,
        )

    def enqueue(
        self, payload: Mapping[str, Any], *, to: str | Iterable[str] | None = None
    ) -> str | None:
        """
        Gives a vendor's own body to that vendor. Never awaits, blocks or raises.

        Args:
            payload: The body exactly as the vendor's reference prints it; checked, and sent as it
                is. Freshpaint's missing ``token``, ``time`` and ``$insert_id`` are filled in.
            to: Names of the destinations that get it; by default those whose shape it has.

        Returns:
            The event's id (Freshpaint's ``$insert_id``), or None if no destination took it.
        """
        try:
            intakes = self._intakes if to is None else self._named(to)
            if to is None:
                # A body in no known shape is everybody's to reject: better counted twice than not
                # at all.
                intakes = tuple(one for one in intakes if one.recognizes(payload)) or intakes
            if self._filter is not None and payload is not None:
                changed = self._filter.payload(payload, intakes)
                if changed is None:
                    return None
                payload = changed
            event_id, now = new_id(), clock.time()
            taken = [intake.submit_payload(payload, event_id, now) for intake in intakes]
            if running_loop() is not self._hosts.loop:
                self._hosts.elsewhere()
            return next((own for own in taken if own is not None), None)
        except Exception as exc:  # noqa: BLE001 nothing of ours may break a request
            self._contain(exc)
            return None

    def _submit(self, event: Event, to: str | Iterable[str] | None) -> str | None:
        try:
            accepted = False
            intakes = self._intakes if to is None else self._named(to)
            if self._filter is not None:
                changed = self._filter.event(event, intakes)
                if changed is None:
                    return None
                event = changed
            for intake in intakes:
                if intake.submit(event):
                    accepted = True
            if running_loop() is not self._hosts.loop:
                self._hosts.elsewhere()
            return event.id if accepted else None
        except Exception as exc:  # noqa: BLE001 nothing of ours may break a request
            self._contain(exc)
            return None

    def _own_id(self, insert_id: object, to: str | Iterable[str] | None) -> str | None:
        try:
            return insert_id_of(insert_id)
        except EventRejected as exc:
            reason, detail = exc.reason, exc.detail
        except Exception as exc:  # noqa: BLE001 an id may be anything
            reason, detail = "unencodable", type_name(exc)
        try:
            for intake in self._intakes if to is None else self._named(to):
                intake.reject(reason, detail)
        except Exception as exc:  # noqa: BLE001 and so may `to`
            self._contain(exc)
        return None

    def _named(self, to: str | Iterable[str]) -> tuple[Intake, ...]:
        # No more than could be meant: an iterator may have no end.
        names = {to} if isinstance(to, str) else set(islice(to, MAX_NAMES))
        if not names.issubset(self._names):
            self._log.call("unknown destination", UNKNOWN_DESTINATION)
        return tuple(intake for intake in self._intakes if intake.name in names)

    def _ways_to(self, to: str | Iterable[str]) -> Iterable[Way]:
        named = {intake.name for intake in self._named(to)}
        return [way for way in self._ways if way[0] in named]

    def _contain(self, exc: Exception) -> None:
        self._log.call("internal", CALL_FAILED, type_name(exc))

    # --- lifecycle --------------------------------------------------------------------------------

    async def start(self) -> None:
        """
        Starts sending in the running loop (with `blocking`, in a thread), and takes events again
        after `aclose`.

        Does nothing if it is sending already. Cancelling it loses nothing: the sending starts all
        the same.
        """
        await self._life.start()

    async def flush(self, timeout: float | None = None) -> Report:
        """
        Waits until everything that was accepted before this call has its fate.

        Batches that are filling go at once. Cancelling it loses nothing.

        Args:
            timeout: Seconds to wait at most; None to wait as long as it takes.

        Returns:
            What is left; truthy when that is nothing.

        Raises:
            OptionError: The timeout is no number of at least 0.
        """
        return await self._life.flush(timeout)

    def flush_blocking(self, timeout: float | None = None) -> Report:
        """
        `flush` for a thread without an event loop.

        Args:
            timeout: Seconds to wait at most; None to wait as long as it takes.

        Returns:
            What is left; truthy when that is nothing.

        Raises:
            OptionError: The timeout is no number of at least 0.
            RuntimeError: It is called in the loop that does the sending, which it would stop.
        """
        return self._life.flush_blocking(timeout)

    async def aclose(self, timeout: float | None = None) -> Report:
        """
        Takes no more events, flushes, and stops. From any task, loop or thread; a second call waits
        with the first.

        Cancelling it cancels the waiting and not the flush.

        Args:
            timeout: Seconds for the flush; None for `shutdown_timeout`. What is left then is
                dropped for ``shutdown`` and offered to `on_drop`; with a spool it stays there,
                pending, for the next start.

        Returns:
            What was left; truthy when that is nothing.

        Raises:
            OptionError: The timeout is no number of at least 0.
        """
        return await self._life.aclose(timeout)

    def close(self, timeout: float | None = None) -> Report:
        """
        `aclose` for a thread without an event loop.

        Args:
            timeout: Seconds for the flush; None for `shutdown_timeout`.

        Returns:
            What was left; truthy when that is nothing.

        Raises:
            OptionError: The timeout is no number of at least 0.
            RuntimeError: It is called in the loop that does the sending, which it would stop.
        """
        return self._life.close(timeout)

    async def __aenter__(self) -> Self:
        """
        Starts.
        """
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Closes, within `shutdown_timeout`, whatever the block raised.
        """
        await self.aclose()

    def __enter__(self) -> Self:
        """
        Takes events again after `close`; with `blocking` only.

        Raises:
            TypeError: The dispatcher is not `blocking`.
        """
        if not self._settings.blocking:
            raise TypeError("use `async with`, or a Dispatcher(blocking=True)")
        self._life.set_closed(False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Closes, within `shutdown_timeout`, whatever the block raised.
        """
        self.close()

    @property
    def blocking(self) -> bool:
        """
        Whether it sends from a thread of its own, as the option says.
        """
        return self._settings.blocking

    def stats(self) -> Stats:
        """
        A snapshot of every destination's ledger. From any thread.
        """
        seen = [*self._hooks, *(() if self._filter is None else (self._filter,))]
        failures = {hook.name: hook.failures for hook in seen if hook.failures}
        missed = {hook.name: n for hook in self._hooks if (n := hook.missed_in_all)}
        return Stats(
            MappingProxyType({lane.name: lane.stats() for lane in self._lanes}),
            MappingProxyType(failures),
            MappingProxyType(missed),
            self._hosts.state,
            0 if self._settings.spool is None else self._settings.spool.max_bytes,
        )


def _not_here(fragments: Fragments, time: float, event_id: str) -> None:
    """
    In place of the `assemble` of a destination that has none.
    """
