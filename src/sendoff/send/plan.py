"""
What a run is told, and what comes of it.

Plain values, and the arithmetic of ids.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sendoff.send.rows import Form

__all__ = [
    "ID_ATTRIBUTE",
    "VENDORS",
    "Outcome",
    "Plan",
    "VendorOutcome",
    "identity_from",
    "identity_of",
    "row_id",
]

VENDORS = ("datadog", "freshpaint")

ID_ATTRIBUTE = "insert_id"
"""Where Datadog's events carry their id: a custom attribute, as it has no field for it."""

TIMEOUT = 60.0
"""Seconds without any progress after which a run gives up."""

IDENTITY_BYTES = 10
"""Bytes of an identity: 20 characters of the 36 that an id may have; the row has 15."""

_IDENTITY = re.compile(f"[0-9a-f]{{{2 * IDENTITY_BYTES}}}")


def identity_of(digest: bytes, form: Form) -> str:
    """
    What the ids of a file's rows begin with: equal for equal contents and equal mappings. One file
    may be sent twice, as two kinds of events.

    Args:
        digest: Of the contents.
        form: How they are read.
    """
    both = b"\0".join((digest, form.text.encode("utf-8", "surrogateescape")))
    return hashlib.blake2b(both, digest_size=IDENTITY_BYTES).hexdigest()


def identity_from(text: str) -> str:
    """
    The identity that somebody names: the text itself if it is one, otherwise made from it.
    """
    if _IDENTITY.fullmatch(text):
        return text
    return hashlib.blake2b(text.encode(), digest_size=IDENTITY_BYTES).hexdigest()


def row_id(identity: str, number: int) -> str:
    """
    The id of a row that has none of its own.
    """
    return f"{identity}-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What to send, and how.

    Attributes:
        path: The file; None for stdin.
        form: How it is read.
        destinations: Constructor options by vendor, for those it is sent to.
        id_attribute: Where Datadog's events carry their id.
        identity: What ids are made from; None for the contents and the mapping. A stream has no
            contents before its end, so without an identity each run makes new ids.
        journal: What the journals' names begin with; None for the file's name. A stream without an
            identity has none.
        rejects: Where rows go that are no events; None to count them only.
        dead_letters: Where events go that a vendor refused; None to count them only.
        strict: Whether the first row that is no event ends the run.
        timeout: Seconds without any progress after which it gives up.
    """

    path: Path | None
    form: Form
    destinations: Mapping[str, Mapping[str, Any]] = field(repr=False)
    id_attribute: str = ID_ATTRIBUTE
    identity: str | None = None
    journal: Path | None = None
    rejects: Path | None = None
    dead_letters: Path | None = None
    strict: bool = False
    timeout: float = TIMEOUT

    def journal_of(self, vendor: str) -> Path | None:
        """
        Where it is noted what a vendor has; None for nowhere.
        """
        base = self.journal or self.path
        return None if base is None else base.with_name(f"{base.name}.{vendor}.sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorOutcome:
    """
    What came of the rows at one vendor. Counts are rows.

    Attributes:
        sent: It has them now.
        before: Earlier runs had sent them.
        given_up_before: Earlier runs had given them up.
        passed: Not for it: another vendor's bodies, identifications at Datadog.
        rejected: It would not take them, by reason; in the file of rejects.
        refused: It refused them, by reason.
        dead_lettered: Those of them that are in the file of dead letters.
        left: Given to it and without a fate: another run sends them.
        requests: Requests.
    """

    sent: int = 0
    before: int = 0
    given_up_before: int = 0
    passed: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    dead_lettered: int = 0
    left: int = 0
    requests: int = 0

    @property
    def complete(self) -> bool:
        """
        Whether it has every row that was given to it.
        """
        return not self.rejected and not self.refused and not self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What came of a run.

    Attributes:
        identity: What the ids begin with.
        rows: Rows that were read.
        bad: Rows that are no events, by reason.
        vendors: What came of the others.
        finished: Whether the source was read to its end.
        gave_up: Why it ended before the end; empty if it did not, or by a signal.
        signal: The signal that ended it; 0 if none did.
        elapsed: Seconds.
    """

    identity: str
    rows: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    vendors: Mapping[str, VendorOutcome] = field(default_factory=dict)
    finished: bool = False
    gave_up: str = ""
    signal: int = 0
    elapsed: float = 0.0

    @property
    def complete(self) -> bool:
        """
        Whether every row was read, is an event, and is where it belongs.
        """
        done = all(vendor.complete for vendor in self.vendors.values())
        return self.finished and not self.bad and not self.gave_up and done

    def summary(self) -> list[str]:
        """
        The counts, as lines for people; those that are 0 are left out.
        """
        lines = [f"{self.rows:,} rows read in {self.elapsed:.1f} s"]
        lines += [f"  {n:,} are no events: {reason}" for reason, n in sorted(self.bad.items())]
        for name, vendor in self.vendors.items():
            lines.append(f"{name}: {vendor.sent:,} sent in {vendor.requests:,} requests")
            counts = (
                (vendor.before, "sent by an earlier run"),
                (vendor.given_up_before, "given up by an earlier run"),
                (vendor.passed, "not for it"),
                *((n, f"not taken: {reason}") for reason, n in sorted(vendor.rejected.items())),
                *((n, f"refused: {reason}") for reason, n in sorted(vendor.refused.items())),
                (vendor.dead_lettered, "of these in the dead letters"),
                (vendor.left, "left"),
            )
            lines += [f"  {count:,} {what}" for count, what in counts if count]
        return lines
