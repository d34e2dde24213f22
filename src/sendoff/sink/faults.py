"""
Faults by script: what goes wrong at a vendor, when, for how long and for whom.

Plain values and one plain object: moments and chance are passed in. A request meets the first fault
of the script that matches it, plus the delays of all latencies that match.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sendoff.sink.contract import JSON, Verdict, error_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sendoff.sink.checks import Vendor


class Kind(StrEnum):
    """
    What a fault does.

    The first five leave the events unprocessed. The next three process them, so that a sender who
    tries again shows as a duplicate. Latency changes nothing but the time.
    """

    STATUS = "status"
    HTML = "html"
    REDIRECT = "redirect"
    HANG = "hang"
    RESET_BEFORE = "reset-before"
    RESET = "reset"
    TRUNCATE = "truncate"
    CLOSE = "close"
    LATENCY = "latency"


_PROCESSES = frozenset({Kind.RESET, Kind.TRUNCATE, Kind.CLOSE})
_ANSWERS = frozenset({Kind.STATUS, Kind.HTML, Kind.REDIRECT})

# A client that follows its redirect comes back with its credentials and is counted as a stray.
_REDIRECTED = "/redirected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One fault, as `parse_fault` reads it.

    Args:
        text: the script it was read from.
        kind: what it does.
        status: the status it answers; 0 for a kind that answers none of its own.
        latency: seconds that it delays an answer.
        after: seconds from its installation to its beginning.
        lasts: seconds from its beginning to its end; `None` is for ever.
        vendor: whose requests meet it; `None` means those of both.
        first: how many requests meet it; `None` is any number.
        share: which part of the requests meet it, up to 1.
        retry_after: seconds for a `Retry-After` header.
        retry_after_date: the same, written as a date.
        reset_header: seconds for an `X-RateLimit-Reset` header.
    """

    text: str
    kind: Kind
    status: int = 0
    latency: float = 0.0
    after: float = 0.0
    lasts: float | None = None
    vendor: Vendor | None = None
    first: int | None = None
    share: float = 1.0
    retry_after: float | None = None
    retry_after_date: float | None = None
    reset_header: float | None = None

    @property
    def processes(self) -> bool:
        """
        Whether the events of a request are processed before it does its harm.
        """
        return self.kind in _PROCESSES

    @property
    def answers(self) -> bool:
        """
        Whether it answers by itself, in the place of the vendor.
        """
        return self.kind in _ANSWERS

    def answer(self, vendor: Vendor, wall_clock: float) -> Verdict:
        """
        The answer of a fault that answers by itself.

        Args:
            vendor: whose manner the body is in.
            wall_clock: epoch seconds, for headers that hold a date.
        """
        headers, body = JSON, error_body(vendor, self.status, f"scripted: {self.text}")
        if self.kind is Kind.HTML:
            headers = (("Content-Type", "text/html"),)
            body = f"<html><body><h1>{self.status}</h1></body></html>".encode()
        if self.kind is Kind.REDIRECT:
            headers += (("Location", _REDIRECTED),)
        if self.retry_after is not None:
            headers += (("Retry-After", f"{self.retry_after:g}"),)
        if self.retry_after_date is not None:
            date = formatdate(wall_clock + self.retry_after_date, usegmt=True)
            headers += (("Retry-After", date),)
        if self.reset_header is not None:
            headers += (("X-RateLimit-Reset", f"{self.reset_header:g}"),)
        return Verdict(self.status, body, headers)


class Plan(NamedTuple):
    """
    What one request meets: at most one fault that shapes the answer, and seconds of delay.
    """

    fault: Fault | None
    latency: float


class Standing(NamedTuple):
    """
    How a fault stands at one moment.

    Args:
        text: the script it was read from.
        vendor: whose requests meet it; `None` means those of both.
        kind: what it does.
        met: how many requests have met it.
        begins_in: seconds until it begins; 0.0 if it has begun.
        ends_in: seconds until it ends; `None` is never.
        over: no request will meet it any more.
    """

    text: str
    vendor: Vendor | None
    kind: Kind
    met: int
    begins_in: float
    ends_in: float | None
    over: bool


class Script:
    """
    The installed faults.

    Args:
        faults: in order; the first that matches a request wins.
        now: when they were installed.
        chance: gives a number in [0, 1) for every fault that meets a share of the requests.
    """

    def __init__(self, faults: Iterable[Fault], *, now: float, chance: Callable[[], float]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        self._chance = chance
        # All mutable state: when each fault was installed, and how many requests have met it.
        self._since = [now] * len(self.faults)
        self._met = [0] * len(self.faults)

    def changed(self, *, add: Iterable[Fault], remove: Iterable[str], now: float) -> Script:
        """
        A script with some faults more and some fewer; the others go on as they are.

        Args:
            add: faults that come before all others, so that they win.
            remove: the texts of those that go.
            now: when the new ones are installed.
        """
        gone = frozenset(remove)
        added = Script(add, now=now, chance=self._chance)
        stays = [index for index, fault in enumerate(self.faults) if fault.text not in gone]
        added.faults += tuple(self.faults[index] for index in stays)
        added._since += [self._since[index] for index in stays]
        added._met += [self._met[index] for index in stays]
        return added

    def standing(self, now: float) -> list[Standing]:
        """
        How each fault stands, in order.

        Args:
            now: the moment.
        """
        found = []
        for fault, since, met in zip(self.faults, self._since, self._met, strict=True):
            begins = since + fault.after
            ends = None if fault.lasts is None else max(0.0, begins + fault.lasts - now)
            over = ends == 0 or (fault.first is not None and met >= fault.first)
            found.append(
                Standing(
                    fault.text, fault.vendor, fault.kind, met, max(0.0, begins - now), ends, over
                )
            )
        return found

    def plan(self, vendor: Vendor, now: float) -> Plan:
        """
        What a request meets; it counts as having met it.

        Args:
            vendor: to whom it was sent.
            now: when it arrived.
        """
        shaping, latency = None, 0.0
        for index, fault in enumerate(self.faults):
            delays = fault.kind is Kind.LATENCY
            if (shaping is not None and not delays) or not self._matches(index, vendor, now):
                continue
            self._met[index] += 1
            if delays:
                latency += fault.latency
            else:
                shaping = fault
        return Plan(shaping, latency)

    def _matches(self, index: int, vendor: Vendor, now: float) -> bool:
        fault = self.faults[index]
        age = now - self._since[index] - fault.after
        return (
            fault.vendor in (None, vendor)
            and age >= 0
            and (fault.lasts is None or age < fault.lasts)
            and (fault.first is None or self._met[index] < fault.first)
            and (fault.share == 1 or self._chance() < fault.share)
        )
