"""
What tells a journal which lines arrived: both vendors, whose bodies remember their line, and a
transport that notes them. For replays, and for files that are sent.

Always holds: between the answer and the note nothing is awaited, so what a killed replay sent
without noting it is at most what was in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

from sendoff import (
    Action,
    Datadog,
    Destination,
    Freshpaint,
    HttpDestination,
    Request,
    Response,
    Transport,
    TransportError,
)
from sendoff.destinations.base import Dumps

__all__ = ["LINE", "NEUTRAL", "Courier", "DatadogAgain", "FreshpaintAgain", "Notes", "Payload"]


Payload = dict[Any, Any]
"""A letter's event, with the key of its line as the value of `LINE`."""

LINE = object()
NEUTRAL = object()
"""
No keys that an event of a file can have: of its line, and of the `Event` that stands there in place
of a vendor's body.
"""


class Notes(Protocol):
    """
    A journal, as far as a courier knows it.
    """

    def note(self, keys: Iterable[Any]) -> None:
        """
        Notes lines as sent.

        Raises:
            OSError: They could not be noted.
        """


class _Body(bytes):
    """
    An encoded event, with the key of its line.
    """

    key: Any


@dataclass(frozen=True, slots=True)
class _Keyed(Request):
    """
    A request, with the keys of the lines in it.
    """

    keys: tuple[Any, ...] = ()


class _Again(HttpDestination):
    """
    Carries a line's key from `enqueue` to the request.
    """

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        The body, which remembers its line.
        """
        event: Payload = dict(payload)
        key = event.pop(LINE)
        neutral = event.pop(NEUTRAL, None)
        if neutral is None:
            encoded, own_id = super().encode_payload(
                event, event_id=event_id, time=time, dumps=dumps
            )
        else:
            made = cast("Destination", self).encode(neutral, dumps)
            assert made is not None  # an event that a vendor passes over is not given to it
            encoded, own_id = made, neutral.id
        body = _Body(encoded)
        body.key = key
        return body, own_id

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        The request, which remembers its lines.
        """
        plain = super().request(bodies)
        parts = {part.name: getattr(plain, part.name) for part in fields(plain)}
        keys = tuple(body.key for body in bodies if isinstance(body, _Body))
        assert len(keys) == len(bodies)
        return _Keyed(**parts, keys=keys)


class DatadogAgain(_Again, Datadog):
    """
    Datadog, for letters.
    """


class FreshpaintAgain(_Again, Freshpaint):
    """
    Freshpaint, for letters.
    """


class Courier:
    """
    A transport that notes what arrived, and what was said when something did not.

    Args:
        destination: What judges the answers.
        journal: Where to note it.
        transport: What sends; None for HTTP.
    """

    def __init__(
        self, destination: Destination, journal: Notes, transport: Transport | None = None
    ) -> None:
        self._destination = destination
        self._journal = journal
        self._transport = transport
        # All mutable state.
        self.last_words: str = ""  # of the last answer that was no success, or of the last failure
        self.fault: OSError | None = None  # why the journal cannot be written; nothing more is sent

    async def open(self) -> None:
        """
        Makes ready for `send`.
        """
        if self._transport is None:
            from sendoff.transports.http import HttpTransport

            self._transport = HttpTransport()
        await self._transport.open()

    async def send(self, request: Request, sent: Callable[[], None]) -> Response:
        """
        One POST, and the note of it.

        Raises:
            TransportError: There is no answer, or the journal cannot be written any more.
        """
        assert self._transport is not None
        assert isinstance(request, _Keyed)
        if self.fault is not None:
            raise TransportError("connect", perhaps_sent=False)
        try:
            response = await self._transport.send(request, sent)
        except TransportError as exc:
            self.said(request.keys, None, exc.failure, exc.detail)
            raise
        verdict = self._destination.verdict(response, time.time())
        if verdict.action is Action.DELIVERED:
            try:
                self._journal.note(request.keys)
            except OSError as exc:
                self.fault = exc
        else:
            self.said(request.keys, verdict.status, verdict.reason, verdict.detail)
        return response

    def said(self, keys: Sequence[Any], status: int | None, reason: str, detail: str) -> None:
        """
        Keeps what came in place of a success.

        Args:
            keys: Of the lines that were in the request.
            status: The answer's; None if there was none.
            reason: What it means.
            detail: The vendor's own words.
        """
        self.last_words = reason if status is None else f"{reason} ({detail})"

    async def aclose(self) -> None:
        """
        Closes every connection.
        """
        if self._transport is not None:
            await self._transport.aclose()
