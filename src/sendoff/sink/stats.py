"""
What a sink has counted, as values.

A snapshot never changes. `Stats.from_json` gives back what `dataclasses.asdict` and JSON have made
of one. Moments are seconds of the monotonic clock, which every process of a Linux host shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorStats:
    """
    The counts of one vendor.

    Args:
        requests: every request that reached it, whatever became of it.
        statuses: answers by status; a request without an answer is in none.
        faults: requests that met a scripted fault, by its kind.
        refused: requests that broke the contract, by reason.
        malformed: of those, the ones in which no event could be looked at.
        events: events in the requests that were looked at; a fault may keep one from it.
        accepted: events that were processed, also where a fault then hid the answer.
        unique: different ids among the accepted.
        duplicates: accepted events whose id had been accepted before.
        without_id: accepted events without an id.
        batches: requests whose events were accepted.
        largest_batch: events in the largest of them.
        mean_batch: events in the mean of them; 0.0 where there is none.
        arrays_of_one: of those, the ones with a single event in an array.
        largest_body: bytes of the largest body, as sent.
        fullest_second: most requests in any window [t, t+1), whatever their answer.
        first_at: arrival of the first request.
        last_at: arrival of the last request.
        seconds: the last whole seconds that saw a request, each with their number.
    """

    requests: int
    statuses: Mapping[int, int]
    faults: Mapping[str, int]
    refused: Mapping[str, int]
    malformed: int
    events: int
    accepted: int
    unique: int
    duplicates: int
    without_id: int
    batches: int
    largest_batch: int
    mean_batch: float
    arrays_of_one: int
    largest_body: int
    fullest_second: int
    first_at: float | None
    last_at: float | None
    seconds: tuple[tuple[int, int], ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VendorStats:
        """
        The snapshot that became this JSON object.
        """
        statuses = {int(status): count for status, count in data["statuses"].items()}
        seconds = tuple((second, count) for second, count in data["seconds"])
        return cls(**{**data, "statuses": statuses, "seconds": seconds})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """
    The counts of a sink.

    Args:
        uptime: seconds since it began to listen.
        now: the moment of this snapshot.
        script: the faults that are installed.
        strays: requests to a path of neither vendor.
        requests_total: requests to both vendors.
        datadog: the counts of Datadog.
        freshpaint: the counts of Freshpaint.
    """

    uptime: float
    now: float
    script: tuple[str, ...]
    strays: int
    requests_total: int
    datadog: VendorStats
    freshpaint: VendorStats

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Stats:
        """
        The snapshot that became this JSON object.
        """
        vendors = {name: VendorStats.from_json(data[name]) for name in ("datadog", "freshpaint")}
        return cls(**{**data, "script": tuple(data["script"]), **vendors})
