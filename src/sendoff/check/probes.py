"""
The eyes of a check: name resolution, connection, proxy, TLS and one request without an event; and
the disk.

Always holds: nothing of the caller's is sent, no key and no event; every step ends in time.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import ssl
import tempfile
import time
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sendoff.check.facts import Disk, Facts

__all__ = ["look_at_disk", "look_at_way"]

MOST_HEAD = 2**16
"""Bytes of an answer's head."""

ROUNDED = 1.0
"""Seconds that a date in a header leaves open."""


async def look_at_way(
    endpoint: str, context: ssl.SSLContext | None, proxy: str | None, timeout: float
) -> Facts:
    """
    Goes the way to an endpoint as far as it leads.

    Args:
        endpoint: The absolute URL.
        context: How TLS is spoken; None for the system's certificates.
        proxy: The proxy's URL; None for none.
        timeout: Seconds for each step.
    """
    return await _Way(endpoint, context, proxy, timeout).go()


class _Way:
    """
    One way, and what was seen on it.
    """

    def __init__(
        self, endpoint: str, context: ssl.SSLContext | None, proxy: str | None, timeout: float
    ) -> None:
        self._url = urlsplit(endpoint)
        self._proxy = None if proxy is None else urlsplit(proxy)
        self._context = context or ssl.create_default_context()
        self._timeout = timeout
        # All mutable state.
        self._writer: asyncio.StreamWriter | None = None
        self._seen: dict[str, Any] = {
            "host": self._url.hostname,
            "port": _port(self._url),
            "secure": self._url.scheme == "https",
            "proxy": "" if self._proxy is None else _place(self._proxy),
        }

    async def go(self) -> Facts:
        steps = (
            ("dns_error", self._resolve),
            ("connect_error", self._connect),
            ("proxy_error", self._tunnel),
            ("tls_error", self._speak_tls),
            ("http_error", self._ask),
        )
        try:
            for error, step in steps:
                try:
                    async with asyncio.timeout(self._timeout):
                        await step()
                except TimeoutError:
                    self._seen[error] = f"nothing within {self._timeout:g} s"
                    break
                except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
                    self._seen[error] = _words(exc)
                    break
        finally:
            if self._writer is not None:
                self._writer.transport.abort()
        return Facts(**self._seen)

    async def _resolve(self) -> None:
        first = self._proxy or self._url
        found = await asyncio.get_running_loop().getaddrinfo(
            first.hostname, _port(first), type=socket.SOCK_STREAM
        )
        self._seen["addresses"] = tuple(dict.fromkeys(str(one[4][0]) for one in found))

    async def _connect(self) -> None:
        first = self._proxy or self._url
        began = time.monotonic()
        self._reader, self._writer = await asyncio.open_connection(
            first.hostname, _port(first), limit=MOST_HEAD
        )
        self._seen["connected"] = time.monotonic() - began

    async def _tunnel(self) -> None:
        proxy = self._proxy
        if proxy is None:
            return
        assert self._writer is not None
        if proxy.scheme == "https":
            await self._writer.start_tls(self._context, server_hostname=proxy.hostname)
        if self._url.scheme == "http":
            return  # it is asked with the whole URL
        place = _place(self._url)
        head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{_authorization(proxy)}\r\n"
        status, _ = await self._exchange(head)
        if status != 200:
            raise ValueError(f"it answered {status} to CONNECT")

    async def _speak_tls(self) -> None:
        if self._url.scheme != "https":
            return
        writer = self._writer
        assert writer is not None
        await writer.start_tls(self._context, server_hostname=self._url.hostname)
        spoken = writer.get_extra_info("ssl_object")
        self._seen["tls"] = spoken.version()
        certificate = spoken.getpeercert() or {}
        if "notAfter" in certificate:
            self._seen["expires"] = ssl.cert_time_to_seconds(certificate["notAfter"])
        issuer = {key: value for part in certificate.get("issuer", ()) for key, value in part}
        self._seen["issuer"] = issuer.get("organizationName") or issuer.get("commonName") or "?"

    async def _ask(self) -> None:
        url = self._url
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        login = ""
        if self._proxy is not None and url.scheme == "http":
            path = f"http://{url.netloc}{path}"
            login = _authorization(self._proxy)
        head = f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n{login}\r\n"
        before = time.time()
        status, date = await self._exchange(head)
        after = time.time()
        self._seen["status"] = status
        if date is not None:
            # It was rounded down to a second, somewhere between the two moments.
            self._seen["offset"] = date + ROUNDED / 2 - (before + after) / 2
            self._seen["spread"] = (after - before + ROUNDED) / 2

    async def _exchange(self, head: str) -> tuple[int, float | None]:
        assert self._writer is not None
        self._writer.write(head.encode("latin-1"))
        await self._writer.drain()
        answer = await self._reader.readuntil(b"\r\n\r\n")
        first, _, fields = answer.partition(b"\r\n")
        parts = first.split()
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
            raise ValueError("the answer is no HTTP")
        text = BytesParser().parsebytes(fields, headersonly=True)["Date"]
        try:
            date = None if text is None else parsedate_to_datetime(str(text)).timestamp()
        except ValueError:
            date = None
        return int(parts[1]), date


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _place(url: SplitResult) -> str:
    host = url.hostname or ""
    return f"[{host}]:{_port(url)}" if ":" in host else f"{host}:{_port(url)}"


def _authorization(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode('latin-1')).decode()}\r\n"


def _words(exc: Exception) -> str:
    """
    What went wrong, in the words of whoever knows.
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS failed"
    if isinstance(exc, asyncio.IncompleteReadError):
        return "it hung up without an answer"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__


def look_at_disk(what: str, path: Path, *, is_folder: bool, wanted: int) -> Disk:
    """
    Whether something can be written at a place, by writing there; what was written is gone again.

    Args:
        what: What would be written, for the report.
        path: Where.
        is_folder: Whether the path is a folder, which may be made, or a file in one.
        wanted: Bytes that may be used.
    """
    folder = path if is_folder or path.is_dir() else path.parent
    if is_folder:
        while not folder.exists() and folder.parent != folder:
            folder = folder.parent  # it is made when it is needed
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".sendoff-check-") as probe:
            probe.write(b"sendoff")
            probe.flush()
        if path.is_file() and not os.access(path, os.W_OK):
            raise PermissionError(13, "the file is there and cannot be written")
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        return Disk(what=what, path=str(path), error=exc.strerror or type(exc).__name__)
    return Disk(what=what, path=str(path), free=free, wanted=wanted)
