"""
What a check has seen, before anybody says what it means.

Plain values.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Disk", "Facts", "Live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What was seen on the way to an endpoint. Steps that were not reached are None.

    Attributes:
        host: The endpoint's.
        port: The endpoint's.
        secure: Whether it speaks TLS.
        proxy: The proxy's host and port; empty for none.
        addresses: Of the host, or of the proxy's.
        dns_error: Why there are none.
        connected: Seconds that connecting took, to the host or the proxy.
        connect_error: Why there is no connection.
        proxy_error: Why the proxy does not lead on.
        tls: The version spoken.
        tls_error: Why TLS is not spoken, in OpenSSL's words.
        issuer: Of the certificate.
        expires: Its end, epoch seconds.
        status: Of the answer to a request without an event.
        http_error: Why there is none.
        offset: Seconds by which the answer's date is later than the clock here.
        spread: Seconds by which that may be wrong.
    """

    host: str
    port: int
    secure: bool
    proxy: str = ""
    addresses: tuple[str, ...] | None = None
    dns_error: str | None = None
    connected: float | None = None
    connect_error: str | None = None
    proxy_error: str | None = None
    tls: str | None = None
    tls_error: str | None = None
    issuer: str = ""
    expires: float | None = None
    status: int | None = None
    http_error: str | None = None
    offset: float | None = None
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """
    What was seen of a place on disk.

    Attributes:
        what: ``"spool"`` or ``"dead letters"``.
        path: The place.
        error: Why nothing can be written there.
        free: Bytes free.
        wanted: Bytes that may be used.
    """

    what: str
    path: str
    error: str | None = None
    free: int = 0
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """
    What came of the events that were really sent.

    Attributes:
        mark: What tells them from others.
        sent: How many.
        delivered: How many of them the vendor said it has.
        statuses: The answers' statuses, in order.
        said: What the last answer that was no success meant.
        batch_refused: Whether they were refused together and taken one by one.
    """

    mark: str
    sent: int
    delivered: int
    statuses: tuple[int, ...] = ()
    said: str = ""
    batch_refused: bool = False
