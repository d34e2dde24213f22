"""
The run itself: feeds rows to the vendors' lanes as they go, watches them, knows when to stop.

The shell: it alone has a clock, signals and tasks. Always holds: the reader waits for the slowest
lane, so that nothing overflows; when a run ends early, what is under way may still arrive and is
noted.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

from sendoff import Transport
from sendoff.option_checks import check_posix
from sendoff.send.files import append, reject_line
from sendoff.send.items import BadRow, Row
from sendoff.send.journal import RowJournal
from sendoff.send.lane import Lane, destination_of
from sendoff.send.plan import Outcome, Plan, identity_from, identity_of
from sendoff.send.reading import Reading
from sendoff.send.rows import Rows
from sendoff.send.screen import Progress, Screen
from sendoff.send.source import Content, Lines, content_of, open_source
from sendoff.terminal import LogNotes, log_notes

__all__ = ["run"]

TICK = 0.02
"""Seconds between two looks at the ledgers."""

CLOSE = 10.0
"""Seconds for what is under way when the run ends early."""

TURN = 32
"""Rows that are given in one turn of the loop."""

Transports = Callable[[str], Transport | None]
"""What sends to a vendor; None for HTTP."""


def run(plan: Plan, screen: Screen, transports: Transports = lambda _: None) -> Outcome:
    """
    Sends the rows of a file.

    Args:
        plan: What to send.
        screen: What to show it on.
        transports: What sends.

    Raises:
        MappingError: The mapping does not fit the file.
        OptionError: A credential is missing, or an option is wrong.
        JournalBusyError: Another run holds a journal.
        StrangeJournalError: A journal belongs to other contents or another mapping.
        SourceError: The file is gzipped and damaged.
        OSError: The file or a journal cannot be read.
    """
    check_posix("sendoff send")
    with ExitStack() as stack:
        # First of all, as what is wrong with options needs no file.
        destinations = {
            vendor: destination_of(vendor, plan.id_attribute, **options)
            for vendor, options in plan.destinations.items()
        }
        file, again = open_source(plan.path)
        if plan.path is not None:
            stack.callback(os.close, file)
        content = content_of(file) if again else None
        rows = Rows(Lines(file, None if content is None else content.size), plan.form)
        identity = _identity(plan, content)
        lanes = []
        for vendor, destination in destinations.items():
            journal = None
            path = plan.journal_of(vendor)
            if path is not None and (content is not None or plan.identity is not None):
                journal = stack.enter_context(RowJournal(path, identity))
            lanes.append(
                Lane(
                    destination,
                    identity,
                    plan.id_attribute,
                    journal,
                    plan.dead_letters,
                    CLOSE,
                    transports(vendor),
                )
            )
        total = None
        if content is not None:
            total = content.lines - (not rows.is_ndjson and plan.form.header)
        one = _Run(plan, rows, lanes, identity, screen, total)
        try:
            with screen:
                asyncio.run(one.run())
        except KeyboardInterrupt:  # the second one; what was answered is noted
            one.signal = signal.SIGINT
        return one.outcome()


def _identity(plan: Plan, content: Content | None) -> str:
    if plan.identity is not None:
        return identity_from(plan.identity)
    return identity_of(secrets.token_bytes(16) if content is None else content.digest, plan.form)


class _Stop(Exception):
    """
    There is no use in going on.
    """


class _Run:
    """
    One run.
    """

    def __init__(
        self,
        plan: Plan,
        rows: Rows,
        lanes: list[Lane],
        identity: str,
        screen: Screen,
        total: int | None,
    ) -> None:
        self._plan = plan
        self._rows = rows
        self._lanes = lanes
        self._identity = identity
        self._screen = screen
        self._total = total
        # All mutable state, beside the lanes'.
        self.signal = 0
        self._gave_up = ""
        self._finished = False
        self._read = 0
        self._bad: Counter[str] = Counter()
        self._began = self._elapsed = self._shown = 0.0

    async def run(self) -> None:
        """
        Sends them all, or stops. Cancelling it loses nothing: what was answered is noted.
        """
        loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told, number)
        self._began = loop.time()
        for lane in self._lanes:
            lane.moved = self._began
        with log_notes(self._screen) as notes:
            try:
                await self._send(notes)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
                self._elapsed = loop.time() - self._began
                self._show()

    async def _send(self, notes: LogNotes) -> None:
        async with AsyncExitStack() as stack:
            for lane in self._lanes:
                await stack.enter_async_context(_Open(lane))
            try:
                try:
                    await self._feed()
                    while any(lane.ledger().pending for lane in self._lanes):
                        await self._watch()
                finally:
                    notes.quiet = True  # what a dispatcher now calls lost is in the file
            except _Stop as stop:
                self._gave_up = str(stop)
                self._screen.note("stopping: what is under way may still arrive")
                # All at once, and not one behind the other.
                await asyncio.gather(*(lane.dispatcher.aclose() for lane in self._lanes))

    def _told(self, number: int) -> None:
        self.signal = number
        self._came.set()
        # The next one is Python's own, and ends it at once.
        asyncio.get_running_loop().remove_signal_handler(number)

    async def _feed(self) -> None:
        reading = Reading(self._rows, self._came, asyncio.get_running_loop())
        reading.start()
        while True:
            self._came.clear()
            try:
                handful = reading.take()
            except Exception as exc:
                raise _Stop(f"the source cannot be read any further: {exc}") from exc
            if handful is None:
                self._finished = True
                return
            for row in handful:
                await self._take(row)
            if not handful:
                await self._wait()
                await self._watch(0.0)

    async def _take(self, row: Row) -> None:
        self._read += 1
        if row.error is not None:
            self._cast_out(row, row.error, self._lanes)
            return
        for lane in self._lanes:
            if not lane.wants(row):
                continue
            while not lane.has_room():
                await self._watch()
            error = lane.give(row)
            if error is not None:
                self._cast_out(row, error, [lane])
        if self._read % TURN == 0:
            await self._watch(0.0)

    def _cast_out(self, row: Row, error: BadRow, lanes: list[Lane]) -> None:
        """
        Counts a row that was not taken, and writes it down.
        """
        fresh = [lane for lane in lanes if lane.wants(row)]
        if not fresh:
            return
        whole = row.error is not None
        if whole:
            self._bad[error.reason] += 1
        if self._plan.rejects is not None:
            try:
                vendor = None if whole else fresh[0].name
                append(self._plan.rejects, reject_line(row, error, vendor))
                for lane in fresh:
                    if lane.journal is not None:
                        lane.journal.note_given_up([row.number])
            except OSError as exc:
                raise _Stop(f"row {row.number:,} cannot be written down: {exc}") from exc
        if self._plan.strict:
            raise _Stop(f"row {row.number:,}: {error}")

    async def _watch(self, seconds: float = TICK) -> None:
        """
        Waits a little, shows how far it is, and stops where there is no use in going on.
        """
        await asyncio.sleep(seconds)
        if self.signal:
            raise _Stop("")
        now = asyncio.get_running_loop().time()
        if now - self._shown >= self._screen.interval:
            self._shown = now
            self._show()
        for lane in self._lanes:
            fault = lane.courier.fault
            if fault is not None:
                raise _Stop(f"the journal cannot be written: {fault}")
            ledger = lane.ledger()
            fates = ledger.submitted - ledger.pending
            if fates != lane.fates or not ledger.pending:
                lane.fates, lane.moved = fates, now
            elif now - lane.moved > self._plan.timeout:
                said = lane.courier.last_words or "no answer"
                raise _Stop(
                    f"{lane.name} made no progress for {self._plan.timeout:g} s;"
                    f" the last word was {said}"
                )

    async def _wait(self) -> None:
        """
        Waits for rows or a signal, and no longer than it takes to look after the lanes.
        """
        waiter = asyncio.ensure_future(self._came.wait())
        try:
            await asyncio.wait((waiter,), timeout=TICK)
        finally:
            waiter.cancel()

    def _show(self) -> None:
        elapsed = asyncio.get_running_loop().time() - self._began
        lanes = {}
        for lane in self._lanes:
            now = lane.outcome()
            refused = sum(now.rejected.values()) + sum(now.refused.values())
            done = now.sent + now.before + now.given_up_before + now.passed + refused
            lanes[lane.name] = Progress(
                done=done + sum(self._bad.values()), refused=refused, requests=now.requests
            )
        self._screen.update(lanes, self._total, elapsed)

    def outcome(self) -> Outcome:
        """
        What came of it.
        """
        faults = [lane.letter_fault for lane in self._lanes if lane.letter_fault is not None]
        letters = f"dead letters cannot be written: {faults[0]}" if faults else ""
        return Outcome(
            identity=self._identity,
            rows=self._read,
            bad=dict(self._bad),
            vendors={lane.name: lane.outcome() for lane in self._lanes},
            finished=self._finished,
            gave_up=self._gave_up or letters,
            signal=self.signal,
            elapsed=self._elapsed,
        )


class _Open:
    """
    A lane's dispatcher, open; once it is closed it is not closed again.
    """

    def __init__(self, lane: Lane) -> None:
        self._dispatcher = lane.dispatcher

    async def __aenter__(self) -> None:
        await self._dispatcher.start()

    async def __aexit__(self, *_: object) -> None:
        await self._dispatcher.aclose()
