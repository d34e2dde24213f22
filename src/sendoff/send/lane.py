"""
One vendor's lane of a run: what it is given, what it makes of it, and where that is noted.

Always holds: no more rows wait in its dispatcher than the queue can hold, so none is lost to an
overflow; what a vendor refuses is noted as given up only once it is in the dead letters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sendoff import (
    Datadog,
    Destination,
    DestinationStats,
    Dispatcher,
    DroppedEvent,
    EventRejected,
    Freshpaint,
    Retry,
    Transport,
)
from sendoff.dead_letters import Parcel, lines_of
from sendoff.destinations.base import Dumps
from sendoff.replay.courier import LINE, NEUTRAL, Courier, DatadogAgain, FreshpaintAgain, Payload
from sendoff.send.files import append
from sendoff.send.items import BadRow, Body, Item, Row
from sendoff.send.journal import RowJournal
from sendoff.send.plan import VendorOutcome, row_id

__all__ = ["Lane", "destination_of"]

WINDOW = 2_000
"""Rows given to a dispatcher and not answered yet."""

WINDOW_BYTES = 8 * 2**20
"""Bytes of these: half of what a dispatcher keeps to be shown when it is given up."""

BATCH_EVENTS = 500
FLUSH_INTERVAL = 0.1
"""As in a replay: a killed run has sent at most the window without noting it."""

RETRY = Retry(attempts=1_000, cap=5.0, max_elapsed=86_400.0)
"""A run that makes no progress ends; a row is given up only if the vendor says so."""

NO_FATE = ("shutdown",)
"""Reasons for a drop that say nothing of the event."""


class _Rows:
    """
    Remembers why the last event was not taken, which a dispatcher only logs.
    """

    last: EventRejected | None = None

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        The body, as ever.
        """
        self.last = None
        try:
            return super().encode_payload(  # type: ignore[misc,no-any-return]
                payload, event_id=event_id, time=time, dumps=dumps
            )
        except EventRejected as exc:
            self.last = exc
            raise


class _DatadogRows(_Rows, DatadogAgain):
    """
    Datadog, for rows.
    """


class _FreshpaintRows(_Rows, FreshpaintAgain):
    """
    Freshpaint, for rows.
    """


def destination_of(vendor: str, id_attribute: str, **options: Any) -> Destination:
    """
    A vendor for a run, from the environment and options.

    Args:
        vendor: ``"datadog"`` or ``"freshpaint"``.
        id_attribute: Where Datadog's events carry their id.
        options: Constructor options; they win over the environment.

    Raises:
        OptionError: A credential is missing, or an option is wrong.
    """
    options = {"retry": RETRY, **options}
    if vendor == "freshpaint":
        return _FreshpaintRows.from_env(**options)
    return _DatadogRows.from_env(
        **{
            "max_batch_events": BATCH_EVENTS,
            "flush_interval": FLUSH_INTERVAL,
            "id_attribute": id_attribute,
            **options,
        }
    )


class _RowCourier(Courier):
    """
    Keeps, of rows under way, what was said in place of a success.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # All mutable state: by row, until it has its fate.
        self.words: dict[int, tuple[int | None, str]] = {}

    def said(self, keys: Sequence[Any], status: int | None, reason: str, detail: str) -> None:
        """
        Keeps it for each row.
        """
        super().said(keys, status, reason, detail)
        for key in keys:
            self.words[key] = (status, detail or reason)


class _Noted:
    """
    A journal, or none; what is noted has its fate.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def note(self, keys: Iterable[Any]) -> None:
        """
        Notes rows as sent.
        """
        keys = tuple(keys)
        for key in keys:
            self._lane.courier.words.pop(key, None)
        if self._lane.journal is not None:
            self._lane.journal.note(keys)


class Lane:
    """
    One vendor's.

    Args:
        destination: From `destination_of`.
        identity: What ids begin with.
        id_attribute: Where Datadog's events carry their id.
        journal: Where rows are noted, opened; None for nowhere.
        dead_letters: Where events go that the vendor refused; None to count them only.
        close: Seconds for what is under way when the run ends early.
        transport: What sends; None for HTTP.
    """

    def __init__(
        self,
        destination: Destination,
        identity: str,
        id_attribute: str,
        journal: RowJournal | None,
        dead_letters: Path | None,
        close: float,
        transport: Transport | None = None,
    ) -> None:
        self.name: str = destination.name
        self.journal = journal
        self.courier: _RowCourier = _RowCourier(destination, _Noted(self), transport)
        self._destination = destination
        self._identity = identity
        self._id_attribute = id_attribute
        self._letters = dead_letters
        self.dispatcher: Dispatcher = Dispatcher(
            destination,
            transport=self.courier,
            shutdown_timeout=close,
            handle_sigterm=False,  # a run has a handler of its own
            on_drop=None if dead_letters is None else self._dropped,
        )
        # All mutable state, beside the dispatcher's. The last two are a worker thread's.
        self._before = self._given_up_before = self._passed = 0
        self._rejections: Counter[str] = Counter()
        self.letter_fault: OSError | None = None
        self._dead_lettered = 0
        self.moved: float = 0.0  # when a row last had its fate, for whoever watches
        self.fates: int = 0

    def ledger(self) -> DestinationStats:
        """
        The dispatcher's.
        """
        return self.dispatcher.stats().destinations[self.name]

    def has_room(self) -> bool:
        """
        Whether another row may be given.
        """
        ledger = self.ledger()
        return ledger.pending < WINDOW and ledger.pending_bytes <= WINDOW_BYTES

    def wants(self, row: Row) -> bool:
        """
        Whether a row is still to be sent here; counts it where it is not.
        """
        if self.journal is not None and row.number in self.journal.sent:
            self._before += 1
            return False
        if self.journal is not None and row.number in self.journal.given_up:
            self._given_up_before += 1
            return False
        if row.item is not None and not self._is_mine(row.item):
            self._passed += 1
            return False
        return True

    def _is_mine(self, item: Item) -> bool:
        if isinstance(item, Body):
            return item.vendor == self.name
        return not (item.identify and isinstance(self._destination, Datadog))

    def give(self, row: Row) -> BadRow | None:
        """
        Gives a row to the vendor's dispatcher.

        Returns:
            Why it is not taken; None if it is.
        """
        assert row.item is not None
        if self.dispatcher.enqueue(self._payload(row, row.item), to=self.name) is not None:
            return None
        counts = self.ledger().rejections
        known = self._rejections
        reason = next((name for name in counts if counts[name] != known[name]), "internal")
        self._rejections[reason] += 1
        last = getattr(self._destination, "last", None)
        detail = last.detail if last is not None and last.reason == reason else reason
        return BadRow(reason, detail)

    def _payload(self, row: Row, item: Item) -> Payload:
        event_id = row_id(self._identity, row.number)
        if not isinstance(item, Body):
            now = time.time() if item.time is None else item.time
            return {LINE: row.number, NEUTRAL: item._replace(id=item.id or event_id, time=now)}
        payload: Payload = {**item.payload, LINE: row.number}
        properties = payload.get("properties")
        if isinstance(self._destination, Datadog):
            payload.setdefault(self._id_attribute, event_id)
        elif isinstance(self._destination, Freshpaint) and isinstance(properties, Mapping):
            payload["properties"] = {"$insert_id": event_id, **properties}
        return payload

    def _dropped(self, reason: str, events: Sequence[DroppedEvent]) -> None:
        """
        Writes given-up events to the dead letters, and notes them. In a worker thread.
        """
        if reason in NO_FATE or self._letters is None:
            return
        rows = []
        try:
            for event in events:
                # The very object that the courier's destination made.
                row = event.body.key  # type: ignore[attr-defined]
                status, detail = self.courier.words.pop(row, (None, ""))
                parcel = Parcel(
                    bodies=(event.body,),
                    ids=(event.id,),
                    time=time.time(),
                    destination=self.name,
                    reason=str(reason),
                    status=status,
                    detail=detail,
                )
                append(self._letters, b"".join(lines_of(parcel)))
                rows.append(row)
        except OSError as exc:
            self.letter_fault = exc
        self._dead_lettered += len(rows)
        if self.journal is not None and rows:
            try:
                self.journal.note_given_up(rows)
            except OSError as exc:
                self.courier.fault = exc

    def outcome(self) -> VendorOutcome:
        """
        What came of the rows so far.
        """
        ledger = self.ledger()
        left = ledger.pending + sum(ledger.dropped.get(reason, 0) for reason in NO_FATE)
        return VendorOutcome(
            sent=ledger.delivered,
            before=self._before,
            given_up_before=self._given_up_before,
            passed=self._passed,
            rejected=dict(self._rejections),
            refused={str(r): n for r, n in ledger.dropped.items() if r not in NO_FATE},
            dead_lettered=self._dead_lettered,
            left=left,
            requests=ledger.requests,
        )
