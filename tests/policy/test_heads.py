"""
The bytes before a body: what has one strict form is written down, everything else has no head.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from sendoff.events import Request
from sendoff.transports.heads import head_of

HEADERS = {"Content-Type": "application/json"}


def test_a_head_is_what_http_wants() -> None:
    """The request line, the host, what was given, what else must be said, and room for a length."""
    headers = MappingProxyType({**HEADERS, "USER-AGENT": "mine", "X": "ä\tb"})
    head = head_of(Request("https://Example.org/a/b%20c?d=e/f", headers, b""))
    assert head is not None
    assert head.start.decode().split("\r\n") == [
        "POST /a/b%20c?d=e/f HTTP/1.1",
        "Host: example.org",
        "Content-Type: application/json",
        "USER-AGENT: mine",
        "X: ä\tb",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Length: ",
    ]
    assert head.origin == (True, "example.org", 443, None)


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("http://example.org", "example.org", (False, "example.org", 80, None)),
        ("http://example.org:80/", "example.org", (False, "example.org", 80, None)),
        ("http://example.org:8080/", "example.org:8080", (False, "example.org", 8080, None)),
        ("https://example.org:80/", "example.org:80", (True, "example.org", 80, None)),
        ("http://[::1]:81/", "[::1]:81", (False, "::1", 81, None)),
        ("http://a/", "a", (False, "a", 80, None)),
    ],
)
def test_where_a_request_goes(url: str, host: str, origin: tuple[Any, ...]) -> None:
    """The host says a port only if it is not the usual one; an address stands in brackets."""
    head = head_of(Request(url, HEADERS, b""))
    assert head is not None
    assert f"\r\nHost: {host}\r\n".encode() in head.start
    assert head.origin == origin


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "http:///a",
        "http://user@example.org/",
        "http://user:pass@example.org/",
        "http://example.org/#part",
        "http://example.org/a b",
        "http://example.org/a\r\nX-Evil: 1",
        "http://example.org/ä",
        "http://exämple.org/",
        "http://example.org./",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org/a/../b",
        "http://example.org/.",
        "http://[::1%25lo]/",
        "HTTP://example.org/",
    ],
)
def test_a_url_of_another_form_has_no_head(url: str) -> None:
    """The session lane knows what it means, or refuses it."""
    assert head_of(Request(url, HEADERS, b"")) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nX-Evil: 1"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X", "a\x7fb"),
        ("X", "\ud800"),
        ("X", 5),
        ("X\r\nX-Evil", "1"),
        ("X Y", "1"),
        ("", "1"),
        ("Ä", "1"),
        ("Host", "example.com"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Connection", "close"),
        ("Upgrade", "h2c"),
    ],
)
def test_a_header_of_another_form_has_no_head(name: Any, value: Any) -> None:
    """Nothing that could end a line or steer the exchange gets into one."""
    assert head_of(Request("http://example.org/", {name: value}, b"")) is None


def test_what_goes_through_a_proxy_has_no_head() -> None:
    """The session lane speaks to proxies."""
    assert head_of(Request("http://example.org/", HEADERS, b"", proxy="http://p")) is None
