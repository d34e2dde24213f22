"""
What a replay is told and what comes of it; and which letters of a file it is about.

Plain, but for reading the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sendoff import DeadLetters, Destination
from sendoff.dead_letters import letter_lines, letter_of
from sendoff.replay.courier import LINE, DatadogAgain, FreshpaintAgain, Payload
from sendoff.replay.journal import Keys

__all__ = ["Mail", "NoLettersError", "Outcome", "Plan", "Vendor", "destination_of", "mail_of"]

Vendor = str
"""``"datadog"`` or ``"freshpaint"``."""

TIMEOUT = 30.0
"""Seconds without any progress after which a replay gives up: three tries of an outage."""

BATCH_EVENTS = 500
"""
Most events of a request to Datadog: with four requests under way a killed replay has sent at most
2,000 events without noting it.
"""

FLUSH_INTERVAL = 0.1
"""Seconds that a batch fills: a replay gives its events as fast as they go."""


class NoLettersError(ValueError):
    """
    A file is something else than dead letters: it has lines, and none is a letter.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What to send again, and how.

    Attributes:
        path: The file of dead letters, or its directory.
        to: The vendor.
        application_id: Datadog: the application to send to, in place of each event's own; None to
            leave it.
        rate: Most events a second; None for as fast as the vendor's limit lets them go.
        timeout: Seconds without any progress after which it gives up.
    """

    path: Path
    to: Vendor
    application_id: str | None = None
    rate: int | None = None
    timeout: float = TIMEOUT

    @property
    def file(self) -> Path:
        """
        The file itself.
        """
        return DeadLetters(self.path).file

    @property
    def journal(self) -> Path:
        """
        Where it is noted what has been sent.
        """
        return self.file.with_name(f"{self.file.name}.{self.to}.done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What came of a replay. Counts are letters.

    Attributes:
        sent: The vendor has them now.
        before: An earlier replay had sent them.
        refused: Refused again, by reason.
        left: Not tried, or without an answer.
        others: Another vendor's.
        torn: Lines that are no letters.
        gave_up: Why it ended before the end; empty if it did not.
        interrupted: Whether that was Ctrl-C.
        terminated: Whether that was SIGTERM.
        elapsed: Seconds.
    """

    sent: int
    before: int
    refused: Mapping[str, int]
    left: int
    others: int
    torn: int
    gave_up: str = ""
    interrupted: bool = False
    terminated: bool = False
    elapsed: float = 0.0

    @property
    def complete(self) -> bool:
        """
        Whether the vendor has every letter that is its own.
        """
        return not self.refused and not self.left and not self.gave_up

    def summary(self) -> list[str]:
        """
        The counts, as lines for people; those that are 0 are left out.
        """
        counts = (
            (self.before, "sent by an earlier replay"),
            (self.others, "are another vendor's"),
            (self.torn, "lines are no letters"),
            *((n, f"given up again: {reason}") for reason, n in sorted(self.refused.items())),
            (self.left, "left"),
        )
        return [
            f"{self.sent:,} sent in {self.elapsed:.1f} s",
            *(f"{count:,} {what}" for count, what in counts if count),
        ]


@dataclass(slots=True)
class Mail:
    """
    What is in a file, as far as it was looked through. Counts are lines.
    """

    mine: int = 0
    before: int = 0
    others: int = 0
    torn: int = 0


def destination_of(to: Vendor, **options: Any) -> Destination:
    """
    A vendor for a replay, from the environment and options.

    Args:
        to: The vendor.
        options: Constructor options; they win over the environment.

    Raises:
        OptionError: A credential is missing, or an option is wrong.
    """
    if to == "freshpaint":
        return FreshpaintAgain.from_env(**options)
    common = {"max_batch_events": BATCH_EVENTS, "flush_interval": FLUSH_INTERVAL}
    # An event carries its own application, or gets the one that was asked for.
    return DatadogAgain.from_env(
        **{"application_id": "that-of-the-letter", **common, **options},
    )


def mail_of(
    plan: Plan, destination: Destination, done: Collection[str], mail: Mail
) -> Iterator[Payload]:
    """
    The events that a file holds for a vendor and that were not sent before, in order.

    Args:
        plan: What to send.
        destination: What tells the vendor's events from others.
        done: Keys of lines that were sent before.
        mail: Counts what is met on the way.

    Raises:
        OSError: The file cannot be read.
    """
    keys = Keys()
    for line in letter_lines(plan.path):
        letter = letter_of(line)
        if letter is None:
            mail.torn += 1
            continue
        event = letter.event
        if event is None or not destination.recognizes(event):
            mail.others += 1
            continue
        key = keys.next(line)
        if key in done:
            mail.before += 1
            continue
        mail.mine += 1
        yield _payload(event, key, plan)


def _payload(event: Mapping[str, Any], key: str, plan: Plan) -> Payload:
    payload: Payload = {**event, LINE: key}
    properties = event.get("properties")
    application = event.get("application")
    if plan.to == "freshpaint" and isinstance(properties, Mapping):
        # The one that is given now takes the place of the one that may have been the fault.
        payload["properties"] = {
            name: value for name, value in properties.items() if name != "token"
        }
    elif plan.application_id is not None and isinstance(application, Mapping):
        payload["application"] = {**application, "id": plan.application_id}
    return payload
