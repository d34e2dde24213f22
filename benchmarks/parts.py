"""
Where the time of a call goes: its parts, one by one, each in terms of one `orjson.dumps` of the
Datadog body with the result dropped.

``parts.spool.*`` are those of what a spool adds, in terms of one bare `os.write` of the body.
``parts.sum`` is what remains if they are added up; the rest of `enqueue.datadog` is what stands
between them, and that what is queued takes memory that no cache has yet.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
import timeit
from collections import deque
from collections.abc import Callable

import orjson

from benchmarks.harness import Figure, command, in_turns, quiet, ratios
from benchmarks.load import (
    EVENT,
    KEYWORDS,
    PROPERTIES,
    datadog,
    datadog_body,
    dispatcher,
    freshpaint,
)
from sendoff import Spool
from sendoff._encode import fragments_of
from sendoff._ids import ids
from sendoff.spool.record import frame

CALLS, QUICK_CALLS = 20_000, 4_000

Part = Callable[[int], float]


def _like_track(
    event: str,
    *,
    user_id: object = None,
    account_id: object = None,
    session_id: object = None,
    device_id: object = None,
    properties: object = None,
    time: object = None,
    ip: object = None,
    insert_id: object = None,
    integrations: object = None,
    to: object = None,
) -> None:
    """
    Takes what `track` takes, by the same names.
    """


def parts() -> dict[str, tuple[Part, str]]:
    """
    By name: what runs something so many times and says how long it took, and what it is.
    """
    target = dispatcher(datadog(), freshpaint())
    (_, put_together, accept), (_, put_freshpaint, _) = target._ways
    queue = target._intakes[0].queue
    taken = target._taken
    user, session = KEYWORDS["user_id"], KEYWORDS["session_id"]
    fragments = fragments_of(EVENT, user, None, session, None, None, PROPERTIES, taken)
    assert fragments is not None
    now, event_id = time.time(), ids.next()
    body = put_together(fragments, now, event_id)
    lock = threading.RLock()
    running_loop = asyncio._get_running_loop
    pair: deque[bytes | str] = deque()
    names = {**globals(), **locals()}

    def timed(statement: str) -> Part:
        timer = timeit.Timer(statement, globals=names)

        def run(calls: int) -> float:
            taken_time = timer.timeit(calls)
            pair.clear()
            queue.items.clear()
            queue.weighed = queue.held_events = queue.held_bytes = queue.queued_bytes = 0
            queue.lighten()
            return taken_time

        return run

    listed = {
        "call": (
            "_like_track(EVENT, user_id=user, session_id=session, properties=PROPERTIES)",
            "a function of eleven keywords that does nothing",
        ),
        "id": ("ids.next()", "an id"),
        "time": ("time.time()", "the time"),
        "loop": ("running_loop()", "which loop runs"),
        "properties": ("orjson.dumps(PROPERTIES)", "dumps of the properties alone"),
        "two_ids": ("orjson.dumps(user); orjson.dumps(session)", "dumps of user and session"),
        "names": ("taken.isdisjoint(PROPERTIES)", "no property is named like a vendor's field"),
        "fragments": (
            "fragments_of(EVENT, user, None, session, None, None, PROPERTIES, taken)",
            "all of that and the checks: the fragments",
        ),
        "datadog": ("put_together(fragments, now, event_id)", "the body of fragments, Datadog"),
        "freshpaint": ("put_freshpaint(fragments, now, event_id)", "the same, Freshpaint"),
        "lock": ("with lock: pass", "a lock that nobody else wants"),
        "append": (
            "pair.extend((body, event_id))",
            "a body and an id to a deque",
        ),
        "accept": (
            "accept(body, event_id)",
            "bounds, queue, doorbell; once in 128 the lock and the counts",
        ),
    }
    return {name: (timed(statement), what) for name, (statement, what) in listed.items()}


def spool_parts(folder: str) -> dict[str, tuple[Part, str]]:
    """
    The same of what a spool adds, on a folder; the first is what the others are measured against.
    """
    target = dispatcher(datadog(), spool=Spool(f"{folder}/spool", segment_bytes=2**28))
    target.track(EVENT, **KEYWORDS)
    intake = target._intakes[0]
    spool, queue, event_id = intake.spool, intake.queue, ids.next()
    body = orjson.dumps(datadog_body())
    now = time.monotonic()
    names = {
        **globals(),
        **locals(),
        "file": os.open(f"{folder}/bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        "push": queue.push_placed,
        "frame": frame,
    }

    def timed(statement: str) -> Part:
        timer = timeit.Timer(statement, globals=names)

        def run(calls: int) -> float:
            return timer.timeit(calls)

        return run

    listed = {
        "write": ("os.write(file, body)", "a bare write of the body"),
        "frame": ("frame(1, event_id, body)", "the record: number, id, check sum, body"),
        "append": ("spool.append(body, event_id, now)", "record, bounds, one write, counts"),
        "push": ("push(body, event_id, 1, 1)", "to the queue, with its place on disk"),
    }
    return {name: (timed(statement), what) for name, (statement, what) in listed.items()}


def measure(*, quick: bool) -> list[Figure]:
    """
    All parts, in turns with `orjson.dumps`.
    """
    quiet()
    calls = QUICK_CALLS if quick else CALLS
    dumped = timeit.Timer("dumps(body)", globals={"dumps": orjson.dumps, "body": datadog_body()})
    found = parts()
    values = in_turns(
        {
            "dumps": lambda: dumped.timeit(calls),
            **{name: (lambda part=part: part(calls)) for name, (part, _) in found.items()},
        },
        5 if quick else 15,
    )
    figures = [
        Figure.median(f"parts.{name}", ratios(values, name, "dumps"), against=what)
        for name, (_, what) in found.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        spooled = spool_parts(folder)
        on_disk = in_turns(
            {name: (lambda part=part: part(calls // 10)) for name, (part, _) in spooled.items()},
            5 if quick else 15,
        )
    figures += [
        Figure.median(
            f"parts.spool.{name}", ratios(on_disk, name, "write"), against=f"a bare write; {what}"
        )
        for name, (_, what) in spooled.items()
        if name != "write"
    ]
    one = ("call", "id", "time", "loop", "fragments", "datadog", "accept")
    each = [ratios(values, name, "dumps") for name in one]
    return [
        *figures,
        Figure.median(
            "parts.sum", [sum(row) for row in zip(*each, strict=True)], against=" + ".join(one)
        ),
    ]


def main() -> int:
    """
    Measures and prints.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
