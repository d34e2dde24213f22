"""
Every line that goes to the logger "sendoff": its stable name, its words, and its fields.

A table and nothing else; `docs/reference/log-events.md` is made from it. Always holds: a name and
the names of its fields stay what they are, words may change; no field holds a credential or a
caller's data.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FIELDS", "LINES", "Line"]


class Line(NamedTuple):
    """
    One kind of line.

    Attributes:
        event: The stable name, as `sendoff_event` of the log record.
        text: The words, as `logging` takes them.
        fields: Names of the arguments, without ``sendoff_``; the first fill the places in the text.
        meaning: When it is written.
        level: The level it has.
    """

    event: str
    text: str
    fields: tuple[str, ...]
    meaning: str
    level: str = "warning"

    @property
    def places(self) -> int:
        """
        How many of the fields stand in the text.
        """
        return self.text.count("%")


FIELDS: Final = {
    "event": "The stable name of the line.",
    "repeats": "Lines of the same kind that were held back since the last one; only if there were.",
    "destination": "The destination's name.",
    "reason": "A word of the table of statuses, or of the reasons for rejections.",
    "detail": "What else is known, in words: of the vendor, of the system, of OpenSSL.",
    "consequence": "What becomes of the events.",
    "status": "The HTTP status of the answer, a number; null if there was none.",
    "error": "The name of an exception's type; never its text.",
    "policy": "`overflow`, as it was given.",
    "places": "How many damaged places there are.",
    "path": "A file or folder of the spool.",
    "events": "How many events.",
    "hook": "The option: `on_drop` or `on_outcome`.",
    "what": "What was not shown.",
    "left": "How many events are left of each destination, and where they are.",
}
"""What the fields of log records mean, without ``sendoff_``."""

REJECTED: Final = Line(
    "sendoff.event.rejected",
    "%s: an event was rejected, %s: %s",
    ("destination", "reason", "detail"),
    "A call's event was not taken.",
)
UNKNOWN_DESTINATION: Final = Line(
    "sendoff.call.unknown_destination",
    "`to` names no destination of this dispatcher",
    (),
    "A call's `to` has a name that no destination has.",
)
CALL_FAILED: Final = Line(
    "sendoff.call.failed",
    "an event was lost to an internal error, %s",
    ("error",),
    "A call met an error of ours, or of an object it was given.",
)
BOUND_PROPERTIES: Final = Line(
    "sendoff.context.properties",
    "bound properties are left out: %s",
    ("error",),
    "`bind` was given properties that cannot be read.",
)
CONTEXT_FAILED: Final = Line(
    "sendoff.context.failed",
    "the context of requests is not bound: %s (told once)",
    ("error",),
    "An integration's `context` function raised, or returned what `bind` does not know.",
)
OVERFLOW: Final = Line(
    "sendoff.queue.overflow",
    "%s: the queue is full, events are dropped (%s)",
    ("destination", "policy"),
    "The queue has reached one of its bounds.",
)
REQUEST_FAILED: Final = Line(
    "sendoff.request.failed",
    "%s: %s (%s); %s",
    ("destination", "reason", "detail", "consequence", "status"),
    "A request was answered with an error, or not at all. An error where somebody must mend the"
    " configuration.",
    "warning, error",
)
REQUEST_BROKEN: Final = Line(
    "sendoff.request.broken",
    "%s: building or judging a request raised %s",
    ("destination", "error"),
    "A destination's own code raised; its events are given up.",
)
BATCHES_REFUSED: Final = Line(
    "sendoff.batches.refused",
    "%s: the intake refuses batches but takes their events one by one; "
    "from now on every request carries one event",
    ("destination",),
    "Both halves of a refused batch passed alone.",
)
DEAD_LETTERS: Final = Line(
    "sendoff.dead_letters.fault",
    "%s: no dead letters are written, events are dropped: %s",
    ("destination", "detail"),
    "The file of dead letters is full or cannot be written.",
)
SPOOL_FULL: Final = Line(
    "sendoff.spool.full",
    "%s: the spool is full, events are dropped",
    ("destination",),
    "The spool has reached `Spool.max_bytes`.",
)
SPOOL_FAULT: Final = Line(
    "sendoff.spool.fault",
    "%s: the spool has a fault (%s); what cannot be written is in memory alone",
    ("destination", "detail"),
    "The disk refused something.",
)
SPOOL_DAMAGED: Final = Line(
    "sendoff.spool.damaged",
    "%s: the spool was damaged in %d places; the files are kept aside in %s",
    ("destination", "places", "path"),
    "Files of an earlier process could not be read everywhere.",
)
SPOOL_LOST: Final = Line(
    "sendoff.spool.lost",
    "%s: %d events could not be read back from the spool",
    ("destination", "events"),
    "Events that were on disk alone are gone.",
)
SPOOL_STRANGER: Final = Line(
    "sendoff.spool.stranger",
    "the spool file %s %s; it is left alone",
    ("path", "detail"),
    "The spool holds a file of a destination that is not here, or of another version.",
)
STOPPED: Final = Line(
    "sendoff.sending.stopped",
    "sending has stopped: %s; calls start it again",
    ("error",),
    "A transport, or something of ours, raised where it must not.",
    "error",
)
GEVENT: Final = Line(
    "sendoff.sending.impossible",
    "gevent leaves no loop to send from: events wait for the end",
    (),
    "gevent has replaced what event loops stand on, and no loop runs.",
    "error",
)
HOOK_LATE: Final = Line(
    "sendoff.hook.late",
    "%s was too slow: %d %s were not shown to it",
    ("hook", "events", "what"),
    "A callback is behind by more than is kept for it.",
)
HOOK_FAILED: Final = Line(
    "sendoff.hook.failed",
    "%s raised %s; further ones are only counted",
    ("hook", "error"),
    "A callback raised for the first time.",
    "error",
)
LEFT: Final = Line(
    "sendoff.end.left",
    "events are left at the end: %s",
    ("left", "events"),
    "The last flush of an `aclose` did not bring everything out.",
)

LINES: Final = (
    REJECTED,
    UNKNOWN_DESTINATION,
    CALL_FAILED,
    BOUND_PROPERTIES,
    CONTEXT_FAILED,
    OVERFLOW,
    REQUEST_FAILED,
    REQUEST_BROKEN,
    BATCHES_REFUSED,
    DEAD_LETTERS,
    SPOOL_FULL,
    SPOOL_FAULT,
    SPOOL_DAMAGED,
    SPOOL_LOST,
    SPOOL_STRANGER,
    STOPPED,
    GEVENT,
    HOOK_LATE,
    HOOK_FAILED,
    LEFT,
)
"""All of them, in the order in which an event may meet them."""
