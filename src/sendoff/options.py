"""
Every option's value, default and limits; a wrong one raises `OptionError` where it is stored.

Times are seconds as float, sizes are bytes. `None` means off. A default is a named constant beside
its reason.
"""

from __future__ import annotations

import os
import ssl as tls
from dataclasses import dataclass, field
from typing import Literal

from sendoff.errors import OptionError
from sendoff.option_checks import (
    check_choice,
    check_number,
    check_posix,
    check_proxy,
    check_ssl,
)

__all__ = ["Compression", "Overflow", "Retry", "Spool", "Tuning"]

Overflow = Literal["drop_newest", "drop_oldest"]
Compression = Literal["gzip", "deflate"]

RATE_LIMIT = 5_000
"""
Requests a second. Freshpaint documents a burst limit of 5,000 for the whole account; Datadog
documents none.
"""

MAX_BATCH_BYTES = 5_000_000
"""Bytes of a request's body before compression. Datadog answers 413 above 5 MB uncompressed."""

FLUSH_INTERVAL = 1.0
"""Seconds a batch waits for more events: short enough to watch, long enough to fill requests."""

TIMEOUT = 30.0
"""Seconds for one attempt, connecting included. Gateways in front of intakes give up near 30 s."""

BATCH_WORKERS = 4
"""Workers of a destination that takes batches: four bodies of 5 MB under way at once."""

SINGLE_WORKERS = 128
"""
Workers of a destination that takes one event a request: 5,000 requests a second at 20 ms need 100
under way.
"""

MAX_QUEUE_EVENTS = 100_000
"""Events held for each destination, queued and in flight."""

MAX_QUEUE_BYTES = 64 * 2**20
"""Bytes of encoded events held for each destination, queued and in flight."""

SHUTDOWN_TIMEOUT = 10.0
"""Seconds for the last flush. Container platforms kill 10 to 30 s after asking politely."""

RETRY_ATTEMPTS = 10
RETRY_BASE = 0.5
RETRY_CAP = 30.0
RETRY_MAX_ELAPSED = 600.0
"""
Ten tries with full jitter take about a minute of waiting; an outage behind an open breaker may last
ten.
"""

RETRY_AFTER_CAP = 300.0
"""
A server's wish to wait longer than this is cut to it, so that one wrong header cannot stop a lane
for a day.
"""

HOLD_INTERVAL = 30.0
"""
Seconds between probes of a lane that is held by a fault of configuration, such as a wrong key. The
first probes come sooner.
"""

SPOOL_MAX_BYTES = 2**30
"""Bytes on disk: some 3 million events of 300 bytes, four hours at 200 events a second."""

SPOOL_SEGMENT_BYTES = 8 * 2**20
"""
Bytes of one file of the spool. A file is deleted as a whole, so smaller ones give room back sooner;
8 MiB are some 25,000 events.
"""

SPOOL_MOST_SEGMENT = 2**28
"""Most bytes of one file: it is never read whole, but one damaged place may keep all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    How a failed request is tried again: full jitter under an exponential ceiling, bounded in count
    and time.

    Attributes:
        attempts: Tries of one batch, the first included. At least 1.
        base: Ceiling of the first wait, in seconds; it doubles with every further one.
        cap: Highest ceiling, in seconds.
        max_elapsed: Seconds from a batch's first try after which it is not tried again.
        max_retry_after: Seconds to which a server's ``Retry-After`` or ``X-RateLimit-Reset`` is
            cut.
        hold_interval: Most seconds between probes while a fault of configuration (401, 403, a wrong
            URL) holds the lane. The first pause lasts 0.5 to 1 s, every further one twice as long.

    Raises:
        OptionError: A value is outside its limits.
    """

    attempts: int = RETRY_ATTEMPTS
    base: float = RETRY_BASE
    cap: float = RETRY_CAP
    max_elapsed: float = RETRY_MAX_ELAPSED
    max_retry_after: float = RETRY_AFTER_CAP
    hold_interval: float = HOLD_INTERVAL

    def __post_init__(self) -> None:
        check_number("Retry.attempts", self.attempts, least=1, whole=True)
        check_number("Retry.base", self.base, least=0, above=True)
        check_number("Retry.cap", self.cap, least=self.base)
        check_number("Retry.max_elapsed", self.max_elapsed, least=0)
        check_number("Retry.max_retry_after", self.max_retry_after, least=0)
        check_number("Retry.hold_interval", self.hold_interval, least=0, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """
    The options that every destination has.

    Attributes:
        rate_limit: Requests that may reach the vendor in any sliding second, retries included; None
            for no limit.
        max_batch_bytes: Largest body of a request, framing included, before compression.
        max_batch_events: Most events in one request; None for no limit but the bytes.
        flush_interval: Seconds that a batch waits for more events. 0 sends whatever is there.
        workers: Requests under way at once.
        timeout: Seconds for one attempt, connecting included.
        retry: How failures are tried again.
        compression: ``"gzip"``, ``"deflate"`` (zlib) or None.
        ssl: An `ssl.SSLContext` of your own, for a CA or a client certificate; None verifies
            against the system's certificates.
        proxy: The ``http://`` or ``https://`` URL of a proxy, perhaps with ``user:password@``;
            None for none. The environment's is not read.

    Raises:
        OptionError: A value is outside its limits.
    """

    rate_limit: int | None = RATE_LIMIT
    max_batch_bytes: int = MAX_BATCH_BYTES
    max_batch_events: int | None = None
    flush_interval: float = FLUSH_INTERVAL
    workers: int = BATCH_WORKERS
    timeout: float = TIMEOUT
    retry: Retry = field(default_factory=Retry)
    compression: Compression | None = None
    ssl: tls.SSLContext | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.rate_limit is not None:
            check_number("rate_limit", self.rate_limit, least=1, most=1_000_000, whole=True)
        check_number(
            "max_batch_bytes", self.max_batch_bytes, least=1, most=MAX_BATCH_BYTES, whole=True
        )
        if self.max_batch_events is not None:
            check_number("max_batch_events", self.max_batch_events, least=1, whole=True)
        check_number("flush_interval", self.flush_interval, least=0, most=3_600)
        check_number("workers", self.workers, least=1, most=10_000, whole=True)
        check_number("timeout", self.timeout, least=0, above=True, most=3_600)
        if not isinstance(self.retry, Retry):
            raise OptionError(f"retry must be a Retry, not {type(self.retry).__name__}")
        check_choice("compression", self.compression, (None, "gzip", "deflate"))
        check_ssl("ssl", self.ssl)
        check_proxy("proxy", self.proxy)


@dataclass(frozen=True, slots=True)
class Spool:
    """
    Accepted events are kept on disk until they have their fate: they survive the process.

    Attributes:
        path: A folder on a local disk, made if it is not there; several processes may share it.
            What is written there are your events as they are sent, readable by the owner alone.
        max_bytes: Most bytes on disk, of one dispatcher; beyond it new events are dropped for
            ``spool_full``. At least 4,096.
        segment_bytes: Bytes of one file, at least 1,024; a quarter of `max_bytes` if that is less.
        fsync: ``"never"``: survives the end of the process, not of the machine. Seconds: is brought
            to disk so often. ``"always"``: is brought to disk before the call returns, which blocks
            the caller as long as the disk takes, often some milliseconds.

    Raises:
        OptionError: A value is outside its limits, or the system is not POSIX.
    """

    path: str | os.PathLike[str]
    max_bytes: int = field(default=SPOOL_MAX_BYTES, kw_only=True)
    segment_bytes: int = field(default=SPOOL_SEGMENT_BYTES, kw_only=True)
    fsync: Literal["never", "always"] | float = field(default="never", kw_only=True)

    def __post_init__(self) -> None:
        check_posix("spool")
        path = self.path if isinstance(self.path, str) else _path_of(self.path)
        if not path or "\0" in path:
            raise OptionError(f"Spool.path must be the path of a folder, not {path!r}")
        check_number("Spool.max_bytes", self.max_bytes, least=4_096, whole=True)
        check_number(
            "Spool.segment_bytes",
            self.segment_bytes,
            least=1_024,
            most=SPOOL_MOST_SEGMENT,
            whole=True,
        )
        if isinstance(self.fsync, str):
            check_choice("Spool.fsync", self.fsync, ("never", "always"))
        else:
            check_number("Spool.fsync", self.fsync, least=0.01, most=3_600)


def _path_of(value: object) -> str:
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise OptionError(f"Spool.path must be a str or a Path, not {type(value).__name__}")
