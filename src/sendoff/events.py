"""
The values that travel: what a caller gives, what goes to a vendor, what comes back.

All are immutable. What holds a credential or a caller's data does not show it in its repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import ssl

__all__ = [
    "Action",
    "DropReason",
    "DroppedEvent",
    "Event",
    "Fate",
    "Fragments",
    "Framing",
    "Outcome",
    "Request",
    "Response",
    "Verdict",
]


EPOCH_MILLISECONDS = 1e11
"""A time above this is milliseconds: as seconds it would lie beyond the year 5000."""


class Event(NamedTuple):
    """
    One neutral event, as `track` and `identify` take it.

    A NamedTuple and not a frozen dataclass, because one is made at every call: measured, it takes a
    fifth of the time.

    Attributes:
        name: The event's name; for an identification it is not used.
        user_id: Who did it.
        account_id: The account in whose name it was done.
        session_id: The session in which it was done.
        device_id: The anonymous device.
        properties: The caller's own properties.
        time: When it happened: epoch seconds, fractions allowed.
        ip: The end user's address.
        id: The event's id, equal over every retry.
        integrations: Freshpaint's switches of downstream tools.
        identify: Whether the properties describe the user and no event happened.
    """

    name: object
    user_id: object
    account_id: object
    session_id: object
    device_id: object
    properties: object
    time: object
    ip: object
    id: str
    integrations: object
    identify: bool = False

    def __repr__(self) -> str:
        """
        The id alone: everything else is the caller's data.
        """
        return f"Event(id={self.id!r})"


Fragments: TypeAlias = tuple[
    bytes,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes,
    bytes,
]
"""
A plain event, encoded once for all destinations: name, user, account, session, device and address
as JSON strings, or None; the separator before the properties, and their object without
its opening brace.

A bare tuple, because one is made and taken apart at every call.
"""


class DroppedEvent(NamedTuple):
    """
    An event that was accepted and given up, as `on_drop` receives it.

    Attributes:
        id: The event's id.
        destination: The name of the destination that did not get it.
        body: The encoded event, as it would have been sent, but for a credential that is put in
            at every sending (Freshpaint's token, which is ``null`` here).
    """

    id: str
    destination: str
    body: bytes

    def __repr__(self) -> str:
        """
        Without the body, which is the caller's data.
        """
        return f"DroppedEvent(id={self.id!r}, destination={self.destination!r})"


@dataclass(frozen=True, slots=True)
class Framing:
    """
    How several encoded events make one body.

    Attributes:
        opening: Bytes before the first event.
        separator: Bytes between two events.
        closing: Bytes after the last event.
    """

    opening: bytes = b""
    separator: bytes = b""
    closing: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One POST, ready for a transport.

    Attributes:
        url: The absolute URL.
        headers: Names and values.
        body: The whole body.
        ssl: How TLS is spoken; None for the system's certificates.
        proxy: The URL of a proxy, perhaps with its credentials; None for none.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    ssl: ssl.SSLContext | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)


class _Draft:
    """
    A request that can still be written.
    """

    __slots__ = Request.__slots__

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        ssl: ssl.SSLContext | None,
        proxy: str | None,
    ) -> None:
        self.url = url
        self.headers = headers
        self.body = body
        self.ssl = ssl
        self.proxy = proxy


def request_of(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    ssl: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> Request:
    """
    A `Request`, made in half of the time that its constructor takes to write what is frozen: two
    are made for every event that goes alone.
    """
    made: Any = _Draft(url, headers, body, ssl, proxy)
    made.__class__ = Request  # of the same slots
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Response:
    """
    What a vendor answered.

    Attributes:
        status: The HTTP status.
        headers: The answer's headers, with lower-case names.
        body: At most the first 64 KiB of the answer's body, or less if the answer broke off.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class _Answer:
    """
    A `Response` in the making, which can be written to.
    """

    __slots__ = Response.__slots__

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def response_of(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    """
    A `Response`, made as `request_of` makes requests.
    """
    made: Any = _Answer(status, headers, body)
    made.__class__ = Response
    return made  # type: ignore[no-any-return]


class Action(Enum):
    """
    What a lane does after an attempt.
    """

    DELIVERED = "delivered"
    """The vendor has it."""
    RETRY = "retry"
    """Try again later, within the bounds of `Retry`."""
    NARROW = "narrow"
    """An event is at fault: halve the batch until it stands alone, and give that one up."""
    SPLIT = "split"
    """The body is too large: halve it; one event alone is given up."""
    HOLD = "hold"
    """A fault of configuration: keep everything, say it once, probe slowly."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What an answer, or its absence, means for the events of a request.

    Attributes:
        action: What the lane does.
        reason: A short stable word, such as ``server_error``.
        detail: What the vendor said, shortened; for the log line.
        retry_after: Seconds that the server asks to wait, or None.
        at_once: Whether the first retry needs no wait, because the connection had gone stale.
        status: The HTTP status, for the dead letters; None if there was no answer.
    """

    action: Action
    reason: str
    detail: str = ""
    retry_after: float | None = None
    at_once: bool = False
    status: int | None = None


class DropReason(StrEnum):
    """
    Why an accepted event was given up: the closed list of keys of `DestinationStats.dropped`.
    """

    OVERFLOW = "overflow"
    """The queue was full and the overflow policy chose this event."""
    REFUSED = "refused"
    """The vendor refused this event for good (400 and its kin)."""
    TOO_LARGE = "too_large"
    """The vendor answered 413 to this event alone."""
    ATTEMPTS = "attempts"
    """`Retry.attempts` tries failed."""
    EXPIRED = "expired"
    """`Retry.max_elapsed` seconds passed since the first try."""
    SHUTDOWN = "shutdown"
    """`aclose` reached its deadline first."""
    SPOOL_FULL = "spool_full"
    """The spool held `Spool.max_bytes`, so the new event went."""
    SPOOL_DAMAGED = "spool_damaged"
    """It was in the spool alone, and could not be read back."""
    INTERNAL = "internal"
    """A destination raised while its request was built or its answer was judged."""
    FILTERED = "filtered"
    """`before_send` returned None; counted for every destination named, and shown to no hook."""


class Fate(StrEnum):
    """
    How an accepted event ended: what `Outcome.fate` may be.
    """

    DELIVERED = "delivered"
    """The vendor answered that it has it."""
    DEAD_LETTERED = "dead_lettered"
    """Given up and written to the dead letters."""
    DROPPED = "dropped"
    """Given up."""


class Outcome(NamedTuple):
    """
    The fate that some events of one destination met together, as `on_outcome` receives it.

    Attributes:
        destination: The destination's name.
        fate: How they ended.
        reason: Why they were given up; None if they were delivered.
        ids: Their ids, as `track`, `identify` and `enqueue` returned them.
    """

    destination: str
    fate: Fate
    reason: DropReason | None
    ids: tuple[str, ...]
