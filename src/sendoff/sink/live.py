"""
The stream behind the live page: who watches, and what each gets four times a second.

With nobody watching there is no timer and no tape, and a request costs what it would cost without
this file. The counts in a message are the ledgers' own and leave nothing out; its events are a
sample. A page that reads slowly gets the next message when it has taken the last one, and misses
what came in between; nothing is piled up for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sendoff.sink.checks import MAX_BODY, is_text
from sendoff.sink.contract import PATHS
from sendoff.sink.pages import PRIVATE
from sendoff.sink.rows import KINDS, Wanted
from sendoff.sink.stats import VendorStats
from sendoff.sink.tape import SIZES, Tape, earlier_rows
from sendoff.sink.wire import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sendoff.sink.checks import Event, Vendor
    from sendoff.sink.ledger import Ledger
    from sendoff.sink.rows import Note, Row
    from sendoff.sink.settings import Settings

# Seconds between two messages: often enough to look alive, rare enough to cost little.
TURN_SECONDS = 0.25
# What both vendors document as their limit, in requests a second.
RATE_LIMIT = 5_000
# Browsers open six streams to a host at most, so this is several browsers.
MAX_PAGES = 16
# A page that is loaded again, or asks for something else, finds the rows that it had.
_LINGER_SECONDS = 10.0
# The whole seconds in an ordinary message: the running one, and those that late arrivals changed.
_LAST_SECONDS = 3

_COUNTS = tuple(one.name for one in fields(VendorStats))
_HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **dict(PRIVATE)}


def wanted_from(query: Mapping[str, str]) -> Wanted:
    """
    What the query of a page asks for.

    Args:
        query: its fields by name; what is missing means everything.

    Raises:
        ValueError: there is no such vendor or kind.
    """
    wanted = Wanted(**{name: query.get(name, "") for name in Wanted._fields})
    if wanted.vendor not in ("", *PATHS.values()):
        raise ValueError(f"vendor must be one of {', '.join(PATHS.values())}")
    if wanted.kind not in ("", *KINDS):
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    return wanted


class Live:
    """
    The pages that watch a sink.

    Args:
        settings: where Datadog's events have their id.
        ledgers: gives the ledgers of the moment.
        facts: gives what else belongs into a message, as JSON can hold it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ledgers: Callable[[], Mapping[Vendor, Ledger]],
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        self._settings = settings
        self._ledgers = ledgers
        self._facts = facts
        # All mutable state: the pages; the tape, and how many events each vendor had accepted when
        # it began; the timer of the running turn, if there is one; until when to go on without a
        # page. `epoch` names the counts: it changes with every reset and every start.
        self._watchers: set[_Watcher] = set()
        self._tape = Tape()
        self._begun: dict[Vendor, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self.epoch: str = ""
        self.reset()

    @property
    def watched(self) -> bool:
        """
        Whether `note` wants to hear of requests.
        """
        return self._timer is not None

    def reset(self) -> None:
        """
        Forget what was seen: the ledgers begin anew.
        """
        self.epoch = f"{time.time_ns():x}"
        self._tape = Tape()
        self._begun = dict.fromkeys(self._begun, 0)

    def note(self, note: Note) -> None:
        """
        Take note of a request; only while `watched`.

        Args:
            note: what became of it.
        """
        self._tape.note(note)

    async def serve(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse:
        """
        Send one page its stream until it goes away.

        Cancelling it ends the stream; the page will ask again.

        Args:
            request: the page's.
            wanted: what it wants to see of the events; its counts are always all.
        """
        if len(self._watchers) >= MAX_PAGES:
            return web.Response(status=503, text=f"{MAX_PAGES} pages are watching already")
        connection = request.protocol
        assert isinstance(connection, Connection)
        response = web.StreamResponse(headers=_HEADERS)
        watcher = _Watcher(wanted)
        self._enter(watcher)
        gone = asyncio.create_task(connection.gone.wait())
        gone.add_done_callback(lambda _: watcher.leave())
        try:
            await response.prepare(request)
            message: bytes | None = self._hello(wanted)
            while message is not None:
                await response.write(message)
                message = await watcher.next_message()
        except ConnectionError:
            pass  # the page went while it was written to
        finally:
            gone.cancel()
            self._watchers.discard(watcher)
            self._until = time.monotonic() + _LINGER_SECONDS
        return response

    def _enter(self, watcher: _Watcher) -> None:
        self._watchers.add(watcher)
        if self._timer is None:
            self._begun = {vendor: ledger.accepted for vendor, ledger in self._ledgers().items()}
            self._timer = asyncio.get_running_loop().call_later(TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        now = time.monotonic()
        if not self._watchers and now >= self._until:
            self._timer, self._tape = None, Tape()
            return
        self._timer = asyncio.get_running_loop().call_later(TURN_SECONDS, self._turn)
        self._tape.turn(now, time.time())
        counts = self._counts(seconds=_LAST_SECONDS)
        for watcher in self._watchers:
            if watcher.is_free:
                rows, seen, matching = self._tape.pick(watcher.wanted)
                message = {"counts": counts, "rows": rows, "seen": seen, "matching": matching}
                watcher.offer(_encoded("turn", message))

    def _hello(self, wanted: Wanted) -> bytes:
        limits = {
            vendor: {"path": path, "rate": RATE_LIMIT, "body": MAX_BODY[vendor]}
            for path, vendor in PATHS.items()
        }
        return _encoded(
            "hello",
            {
                "limits": limits,
                "classes": SIZES,
                "counts": self._counts(seconds=None),
                "rows": [*self._earlier(wanted), *self._tape.kept(wanted)],
            },
        )

    def _counts(self, *, seconds: int | None) -> dict[str, Any]:
        vendors = {}
        for vendor, ledger in self._ledgers().items():
            snapshot = ledger.snapshot()
            # Not `asdict`, which would copy ten minutes of seconds four times a second.
            counts = {name: getattr(snapshot, name) for name in _COUNTS}
            if seconds is not None:
                counts["seconds"] = snapshot.seconds[-seconds:]
            vendors[vendor] = counts | {"sizes": self._tape.sizes.get(vendor, [])}
        facts = {"epoch": self.epoch, "now": time.monotonic(), "wall": time.time()}
        return facts | {"vendors": vendors} | self._facts()

    def _earlier(self, wanted: Wanted) -> list[Row]:
        rows = []
        for vendor, ledger in self._ledgers().items():
            count = max(0, len(ledger.bodies) - (ledger.accepted - self._begun[vendor]))
            bodies = list(ledger.bodies)[:count]
            ids = [self._id_of(vendor, event) for event in bodies]
            first = self._begun[vendor] - count
            rows += earlier_rows(vendor, bodies, ids, first, wanted)
        return rows

    def _id_of(self, vendor: Vendor, event: Event) -> str | None:
        if vendor == "datadog":
            found = event.get(self._settings.id_attribute)
        else:
            found = event["properties"].get("$insert_id")
        return found if is_text(found) else None


class _Watcher:
    """
    One page's stream: at most one message that it has not taken.

    Args:
        wanted: what the page wants to see.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        # All mutable state: the message that is waited for, and whether the page has gone.
        self._message: asyncio.Future[bytes | None] | None = None
        self._gone = False

    @property
    def is_free(self) -> bool:
        """
        Whether the page has taken all that it was offered.
        """
        return self._message is not None and not self._message.done()

    def offer(self, message: bytes | None) -> None:
        """
        Hand over the next message; only to one that is free.
        """
        assert self._message is not None
        self._message.set_result(message)

    def leave(self) -> None:
        """
        End the waiting: the page has gone.
        """
        self._gone = True
        if self.is_free:
            self.offer(None)

    async def next_message(self) -> bytes | None:
        """
        The next message, or `None` once the page has gone.

        Cancelling it loses none, as none is made for who does not wait.
        """
        if self._gone:
            return None
        self._message = asyncio.get_running_loop().create_future()
        return await self._message


def _encoded(name: str, message: dict[str, Any]) -> bytes:
    # JSON as made here has no line breaks, so that one line holds it.
    return f"event: {name}\ndata: {json.dumps(message)}\n\n".encode()
