"""
The bytes before a request's body.

Plain: no I/O. Always holds: what is in a head came through one strict form, so nothing in a URL or
a header can end a line, or begin another request; what has another form has no head here, and goes
by the session lane, which refuses it or knows better.
"""

from __future__ import annotations

import re
import ssl
from typing import Any, NamedTuple

from sendoff.events import Request

__all__ = ["Head", "Origin", "head_of"]

URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]*[A-Za-z0-9_-]|\w)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?",
    re.ASCII,
)
"""URLs that mean to everybody what they say: ASCII, escaped, without credentials or a fragment."""

DOTS = re.compile(r"/\.{1,2}(?:/|$)")
"""Segments that a client is to resolve."""

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
"""What may stand in a header: no control characters, above all no ends of lines."""

OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that steer the exchange itself; who sets them wants something the fast lane has not."""

DEFAULTS = {
    "accept": "Accept: */*",
    "accept-encoding": "Accept-Encoding: identity",
    "content-type": "Content-Type: application/octet-stream",
    "user-agent": "User-Agent: sendoff",
}
"""What goes along unless the request says otherwise; the session lane sends the same."""


class Origin(NamedTuple):
    """
    Whom connections lead to: those with equal origins serve each other's requests.

    Attributes:
        secure: Whether TLS is spoken.
        host: A name or an address, without brackets.
        port: The port.
        context: How TLS is spoken; None for the system's certificates.
    """

    secure: bool
    host: str
    port: int
    context: ssl.SSLContext | None


class Head(NamedTuple):
    """
    A prepared head.

    Attributes:
        start: All of it but the length's figures and the ends of lines behind them.
        origin: Where it goes.
    """

    start: bytes
    origin: Origin


def head_of(request: Request) -> Head | None:
    """
    The head of a request, or None if the fast lane has none for it.
    """
    if request.proxy is not None:
        return None
    parts = URL.fullmatch(request.url)
    if parts is None or DOTS.search(parts["path"] or ""):
        return None
    secure = parts["scheme"] == "https"
    usual = 443 if secure else 80
    port = int(parts["port"] or usual)
    if not 0 < port < 65536:
        return None
    host = parts["host"].lower()
    lines = [
        f"POST {parts['path'] or '/'}{parts['query'] or ''} HTTP/1.1",
        f"Host: {host}" if port == usual else f"Host: {host}:{port}",
    ]
    headers: dict[Any, Any] = dict(request.headers)
    names = set()
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            return None
        if not (NAME.fullmatch(name) and VALUE.fullmatch(value)) or name.lower() in OURS:
            return None
        names.add(name.lower())
        lines.append(f"{name}: {value}")
    lines += [line for name, line in DEFAULTS.items() if name not in names]
    lines.append("Content-Length: ")
    try:
        head = "\r\n".join(lines).encode()
    except UnicodeEncodeError:  # half of a pair
        return None
    origin = Origin(secure, host.strip("[]"), port, request.ssl if secure else None)
    return Head(head, origin)
