"""
What a snapshot says of a dispatcher's health, for probes and for people.

Plain: looks at `Stats` alone. Always holds: a vendor's trouble never makes a dispatcher unready,
because an app that loses its analytics still serves its users; only one that is closed is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sendoff.observers import Stats
from sendoff.option_checks import check_number

__all__ = ["Ailment", "Complaint", "Health", "health_of"]

NEARLY_FULL = 0.8
"""Share of a bound from which events are about to be dropped: a fifth is left to act in."""

LATE_SECONDS = 300.0
"""
Seconds that an event may wait: longer than a retry's longest pause, shorter than
`Retry.max_elapsed`, after which it would be given up.
"""


class Ailment(StrEnum):
    """
    What may be wrong: a closed list.
    """

    CLOSED = "closed"
    """The dispatcher is closed: calls are rejected."""
    NOT_SENDING = "not_sending"
    """Events are pending and no loop sends them."""
    HELD = "held"
    """A fault of configuration, such as a wrong key; everything is kept until it is mended."""
    OUTAGE = "outage"
    """The vendor, or the way to it, does not work; it is tried again."""
    NEARLY_FULL = "nearly_full"
    """The queue or the spool is near its bound: soon events are dropped."""
    LATE = "late"
    """The oldest event has waited too long."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """
    One thing that is wrong.

    Attributes:
        ailment: What it is.
        destination: Where; None for the whole dispatcher.
        detail: More of it, in a few words, such as the reason of a fault. Never a credential or a
            caller's data.
    """

    ailment: Ailment
    destination: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """
    How a dispatcher is.

    Attributes:
        complaints: What is wrong; empty if nothing is.
    """

    complaints: tuple[Complaint, ...]

    @property
    def ready(self) -> bool:
        """
        Whether it takes events: what a readiness probe may ask. A vendor's outage leaves it True.
        """
        return all(one.ailment is not Ailment.CLOSED for one in self.complaints)

    @property
    def degraded(self) -> bool:
        """
        Whether somebody should look: there is a complaint.
        """
        return bool(self.complaints)

    def as_dict(self) -> dict[str, Any]:
        """
        The same as plain values, for a probe's JSON answer.
        """
        return {
            "ready": self.ready,
            "degraded": self.degraded,
            "complaints": [
                {
                    "ailment": str(one.ailment),
                    "destination": one.destination,
                    "detail": one.detail,
                }
                for one in self.complaints
            ],
        }


def health_of(
    stats: Stats, *, nearly_full: float = NEARLY_FULL, late: float = LATE_SECONDS
) -> Health:
    """
    What a snapshot says of a dispatcher's health.

    Args:
        stats: The dispatcher's, of this moment.
        nearly_full: Share of a bound from which the queue or the spool counts as nearly full;
            above 0, at most 1.
        late: Seconds that the oldest event may wait. How long it has is known from the times
            at which `stats` was asked, so ask now and then, as a probe does.

    Raises:
        OptionError: A share or a time is outside its limits.
    """
    check_number("nearly_full", nearly_full, least=0, above=True, most=1)
    check_number("late", late, least=0)
    found = [*_of_all(stats, nearly_full)]
    for name, one in stats.destinations.items():
        if one.state != "closed":
            ailment = Ailment.HELD if one.held else Ailment.OUTAGE
            found.append(Complaint(ailment, name, one.fault))
        for what, held, bound in (
            ("events", one.queue_events, one.max_queue_events),
            ("bytes", one.queue_bytes, one.max_queue_bytes),
        ):
            # With a spool a full memory is no trouble: the queue goes on on disk.
            if bound and held >= nearly_full * bound and not stats.max_spool_bytes:
                detail = f"{held:,} of {bound:,} {what} in the queue"
                found.append(Complaint(Ailment.NEARLY_FULL, name, detail))
                break
        if one.pending and one.oldest_age >= late:
            found.append(Complaint(Ailment.LATE, name, f"the oldest for {one.oldest_age:.0f} s"))
    return Health(tuple(found))


def _of_all(stats: Stats, nearly_full: float) -> list[Complaint]:
    found = []
    destinations = stats.destinations.values()
    if stats.state == "closed":
        found.append(Complaint(Ailment.CLOSED, None, "calls are rejected"))
    elif stats.state == "idle" and any(one.pending for one in destinations):
        pending = sum(one.pending for one in destinations)
        found.append(Complaint(Ailment.NOT_SENDING, None, f"{pending:,} events wait for a loop"))
    used = sum(one.spool_bytes for one in destinations)
    if stats.max_spool_bytes and used >= nearly_full * stats.max_spool_bytes:
        detail = f"{used:,} of {stats.max_spool_bytes:,} bytes in the spool"
        found.append(Complaint(Ailment.NEARLY_FULL, None, detail))
    return found
