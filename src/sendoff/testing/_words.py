"""
What a failed expectation says: what was expected, what came nearest and where it differs, and all
that came.

Plain. Always holds: no line is longer than `LINE` characters, and no list longer than `MOST` items,
so a failure can be read whatever the app has sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sendoff.testing._captured import CapturedEvent, Rejection, line
from sendoff.testing._expected import Expected, told

__all__ = ["miscounted", "refused"]

LINE = 300
"""Characters of a line; a body may be megabytes."""

MOST = 20
"""Items of a list: as many as one reads before giving up."""


def miscounted(
    wanted: int,
    expected: Expected,
    events: Sequence[CapturedEvent],
    rejections: Sequence[Rejection],
    filtered: Sequence[str],
) -> str:
    """
    Says that another number of events than wanted is like what was expected.
    """
    matching = [event for event in events if expected.matches(event)]
    first = f"expected {_number(wanted)} like {expected}, got {len(matching) or 'none'}"
    lines = [first]
    nearest = None if matching else expected.nearest(list(events))
    if nearest is not None:
        lines.append(f"nearest: {line(nearest)}")
        lines += [f"    {told(difference)}" for difference in expected.differences(nearest)]
    lines += _listed("captured", [_marked(event, event in matching) for event in events])
    if rejections:
        lines += _listed("rejected", _counted(map(_refusal, rejections)))
    if filtered:
        lines += _listed("taken back by before_send", _counted(f"- {name!r}" for name in filtered))
    return _joined(lines)


def refused(rejections: Sequence[Rejection]) -> str:
    """
    Says that destinations refused events that no test expected them to.
    """
    events = "an event was" if len(rejections) == 1 else f"{len(rejections)} events were"
    lines = _listed(
        f"{events} rejected, and would not have been sent", _counted(map(_refusal, rejections))
    )
    lines.append("if that is meant: capture(..., allow_rejected=True), or events.allow_rejected()")
    return _joined(lines)


def _number(wanted: int) -> str:
    return {0: "no event", 1: "exactly 1 event"}.get(wanted, f"exactly {wanted} events")


def _marked(event: CapturedEvent, matches: bool) -> str:
    return f"{'>' if matches else '-'} {line(event)}"


def _refusal(one: Rejection) -> str:
    name = "an event" if one.name is None else repr(one.name)
    return f"- {name} by {one.destination}: {one.reason}: {one.detail}"


def _counted(lines: Iterable[str]) -> list[str]:
    counts = Counter(lines)
    return [text if times == 1 else f"{text} ({times} times)" for text, times in counts.items()]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return [f"{title}: nothing"]
    left = len(items) - MOST
    more = [f"    ... and {left} more"] if left > 0 else []
    return [f"{title}:", *(f"    {item}" for item in items[:MOST]), *more]


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(text if len(text) <= LINE else f"{text[: LINE - 3]}..." for text in lines)
