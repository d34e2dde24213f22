"""
Whether the dispatcher's ledger and the sink's own count tell the same story.

Plain: numbers and ids go in, a verdict comes out. Both sides are counted independently, one where
events are given away and one where they arrive, so that a bug cannot hide its own traces.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sendoff import DestinationStats
from sendoff.sink import VendorStats

__all__ = ["Account", "Differences", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What is known of one destination after a run.

    Attributes:
        given: How many events were given to the dispatcher.
        ids: The ids that it returned for those it took.
        ledger: What it counted.
        sink: What the vendor's stand-in counted.
        arrived: The ids that the stand-in accepted, repeats included.
    """

    given: int
    ids: Collection[str]
    ledger: DestinationStats
    sink: VendorStats
    arrived: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """
    By how many events the two counts differ; false when they do not.

    Attributes:
        lost: Given away or counted as delivered, and not arrived.
        duplicated: Arrived again, though nothing went wrong that could explain it.
        unaccounted: Without a fate in the ledger, or arrived without being counted as delivered.
    """

    lost: int = 0
    duplicated: int = 0
    unaccounted: int = 0

    def __bool__(self) -> bool:
        """
        Whether there is any.
        """
        return bool(self.lost or self.duplicated or self.unaccounted)

    def __str__(self) -> str:
        """
        Those that there are, such as `2 lost, 1 duplicated`; otherwise `none`.
        """
        counts = {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "unaccounted": self.unaccounted,
        }
        return ", ".join(f"{n:,} {word}" for word, n in counts.items() if n) or "none"


def compare(account: Account, *, repeats_allowed: bool = False) -> Differences:
    """
    By how many events a destination's two counts differ.

    An event that the ledger says was rejected or dropped is lost here: the ledger is right about
    it, and it did not arrive all the same.

    Args:
        account: Both counts.
        repeats_allowed: Whether an event may arrive more than once, because answers were broken
            off after it was accepted; delivery is at least once, and the ids tell.
    """
    ledger, sink = account.ledger, account.sink
    ids, arrived = set(account.ids), set(account.arrived)
    # The same event may show in more than one of these, hence the largest and not the sum.
    lost = max(account.given - len(ids & arrived), ledger.delivered - sink.unique, 0)
    strange = max(len(arrived - ids), sink.unique - ledger.delivered, 0)
    unsettled = max(abs(account.given - ledger.submitted), ledger.pending)
    return Differences(
        lost=lost,
        duplicated=0 if repeats_allowed else sink.duplicates,
        unaccounted=max(strange, unsettled) + sink.without_id,
    )
