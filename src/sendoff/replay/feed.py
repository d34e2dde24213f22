"""
The replay itself: feeds letters to a dispatcher as they go, watches its ledger, knows when to stop.

The shell: it alone has a clock and tasks. Always holds: no more letters wait in the dispatcher than
its queue can hold, so none is lost to an overflow.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator

from sendoff import Destination, DestinationStats, Dispatcher, Transport
from sendoff.replay.courier import Courier, Payload
from sendoff.replay.journal import Journal
from sendoff.replay.plan import Mail, NoLettersError, Outcome, Plan, mail_of
from sendoff.replay.screen import Screen
from sendoff.terminal import log_notes

__all__ = ["run"]

WINDOW = 2_000
"""Letters given to the dispatcher and not answered yet."""

WINDOW_BYTES = 32 * 2**20
"""Bytes of these; half of the queue, so that the largest event still finds room."""

TICK = 0.02
"""Seconds between two looks at the ledger."""

CLOSE = 1.0
"""Seconds for requests under way when the replay ends early: what is answered in them is noted."""

NOT_REFUSED = ("shutdown",)
"""Reasons for a drop that say nothing of the event."""


def run(
    plan: Plan, destination: Destination, screen: Screen, transport: Transport | None = None
) -> Outcome:
    """
    Sends letters again.

    Args:
        plan: What to send.
        destination: From `destination_of`.
        screen: What to show it on.
        transport: What sends; None for HTTP.

    Raises:
        NoLettersError: The file holds lines, and none of them is a letter.
        JournalBusyError: Another replay of the same file is under way.
        OSError: The file or the journal cannot be read.
    """
    with Journal(plan.journal) as journal:
        mail = Mail()
        for _ in mail_of(plan, destination, journal.keys, mail):
            pass  # once for the counts, as the whole may not fit into memory
        if mail.torn and not (mail.mine or mail.before or mail.others):
            raise NoLettersError(f"{plan.file} holds no dead letters; none of its lines is one")
        courier = Courier(destination, journal, transport)
        replay = _Replay(plan, destination, courier, mail.mine, screen)
        letters = mail_of(plan, destination, journal.keys, Mail())
        interrupted = False
        if mail.mine:
            try:
                with screen:
                    asyncio.run(replay.run(letters))
            except KeyboardInterrupt:
                interrupted = True
        ledger = replay.ledger()
        given_up = Counter(ledger.dropped) + Counter(ledger.rejections)
        refused = {reason: n for reason, n in given_up.items() if reason not in NOT_REFUSED}
        return Outcome(
            sent=ledger.delivered,
            before=mail.before,
            refused=refused,
            left=mail.mine - ledger.delivered - sum(refused.values()),
            others=mail.others,
            torn=mail.torn,
            gave_up=replay.gave_up,
            interrupted=interrupted,
            terminated=replay.terminated,
            elapsed=replay.elapsed,
        )


class _Stop(Exception):
    """
    There is no use in going on.
    """


class _Replay:
    """
    One run.
    """

    def __init__(
        self, plan: Plan, destination: Destination, courier: Courier, total: int, screen: Screen
    ) -> None:
        self._plan = plan
        self._name = destination.name
        self._courier = courier
        self._total = total
        self._screen = screen
        self._dispatcher = Dispatcher(
            destination,
            transport=courier,
            shutdown_timeout=CLOSE,
            # Its own would close it under the feeding, and call lost what is in the file.
            handle_sigterm=False,
        )
        # All mutable state, beside the dispatcher's.
        self.gave_up = ""
        self.terminated = False
        self.elapsed = 0.0
        self._fates = 0  # letters with a fate, when that last changed
        self._moved = 0.0  # and when that was
        self._shown = 0.0

    def ledger(self) -> DestinationStats:
        """
        The dispatcher's.
        """
        return self._dispatcher.stats().destinations[self._name]

    async def run(self, letters: Iterator[Payload]) -> None:
        """
        Sends them all, or gives up. Cancelling it loses nothing: what was answered is noted.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._told)
        began = self._moved = loop.time()
        with log_notes(self._screen) as notes:
            try:
                async with self._dispatcher:
                    try:
                        await self._feed(letters, began)
                        while self.ledger().pending:
                            await self._watch()
                    except _Stop as stop:
                        self.gave_up = str(stop)
                    finally:
                        notes.quiet = True  # what the dispatcher now calls lost is in the file
            finally:
                self.elapsed = loop.time() - began
                self._show()
                loop.remove_signal_handler(signal.SIGTERM)

    def _told(self) -> None:
        self.terminated = True
        # The next one is the system's own, and ends it at once.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    async def _feed(self, letters: Iterator[Payload], began: float) -> None:
        loop = asyncio.get_running_loop()
        rate = self._plan.rate
        for number, letter in enumerate(letters, 1):
            while True:
                ledger = self.ledger()
                if ledger.pending < WINDOW and ledger.pending_bytes <= WINDOW_BYTES:
                    break
                await self._watch()
            self._dispatcher.enqueue(letter, to=self._name)
            if rate is not None:
                while (wait := began + number / rate - loop.time()) > 0:
                    await self._watch(wait)
            elif number % 100 == 0:
                await self._watch(0.0)

    async def _watch(self, seconds: float = TICK) -> None:
        """
        Waits a little, shows how far it is, and stops where there is no use in going on.
        """
        await asyncio.sleep(min(seconds, TICK))
        if self.terminated:
            raise _Stop("")
        now = asyncio.get_running_loop().time()
        if now - self._shown >= self._screen.interval:
            self._shown = now
            self._show()
        if self._courier.fault is not None:
            raise _Stop(f"the journal cannot be written: {self._courier.fault}")
        ledger = self.ledger()
        fates = ledger.submitted - ledger.pending
        if fates != self._fates or not ledger.pending:
            self._fates, self._moved = fates, now
        elif now - self._moved > self._plan.timeout:
            said = self._courier.last_words or "no answer"
            raise _Stop(f"no progress for {self._plan.timeout:g} s; the last word was {said}")

    def _show(self) -> None:
        ledger = self.ledger()
        refused = ledger.rejected + sum(
            n for reason, n in ledger.dropped.items() if reason not in NOT_REFUSED
        )
        self._screen.update(ledger.delivered, refused, self._total)
