"""
The public surface as a type checker sees it; checked by mypy and pyright, never run.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type
from uuid import uuid4

from sendoff import (
    Datadog,
    DeadLetters,
    Destination,
    DestinationStats,
    Dispatcher,
    DroppedEvent,
    Event,
    EventRejected,
    Framing,
    Freshpaint,
    Health,
    HttpDestination,
    Letter,
    MemoryTransport,
    Outcome,
    Report,
    Request,
    Response,
    Retry,
    Spool,
    Stats,
    Transport,
    Tuning,
    Verdict,
    health_of,
    read_letters,
)
from sendoff.destinations.base import Dumps


def on_drop(reason: str, events: Sequence[DroppedEvent]) -> None:
    print(reason, [event.id for event in events])


Dispatcher(Freshpaint(token="t"), spool="spool")
Dispatcher(Freshpaint(token="t"), spool=Path("spool"))
Dispatcher(Freshpaint(token="t"), spool=Spool(Path("spool"), fsync="always"))


def before_send(event: Event) -> Event | None:
    return None if event.name == "noise" else event._replace(ip=None)


def on_outcome(outcome: Outcome) -> None:
    print(outcome.destination, outcome.fate.value, outcome.reason, len(outcome.ids))


def dead() -> None:
    for letter in read_letters("letters"):
        assert_type(letter, Letter | None)
    Dispatcher(Freshpaint(token="t"), dead_letters=Path("letters"))
    Dispatcher(Freshpaint(token="t"), dead_letters="letters")


async def calls() -> None:
    dispatcher = Dispatcher(
        Datadog(api_key="k", application_id="a", site="us3", framing="ndjson", compression="gzip"),
        Freshpaint(token="t", rate_limit=None, retry=Retry(attempts=3)),
        max_queue_bytes=64 * 2**20,
        max_queue_events=10,
        overflow="drop_oldest",
        spool=Spool("spool", max_bytes=2**30, segment_bytes=2**20, fsync=0.5),
        shutdown_timeout=3,
        dead_letters=DeadLetters("letters", max_bytes=2**20),
        before_send=before_send,
        on_drop=on_drop,
        on_outcome=on_outcome,
        transport=MemoryTransport(lambda request: Response(202)),
    )
    async with dispatcher as same:
        assert_type(same, Dispatcher)
        event_id = dispatcher.track(
            "checkout.completed",
            user_id="u-1",
            account_id=7,
            session_id=uuid4(),
            properties={"amount": Decimal("9.99"), "customer": {"tier": "premium"}},
            time=datetime.now(UTC),
            integrations={"All": False, "Mixpanel": True},
            to=["datadog"],
        )
        assert_type(event_id, str | None)
        assert_type(dispatcher.identify("u-1", {"plan": "pro"}), str | None)
        assert_type(dispatcher.enqueue({"event": "x", "properties": {}}, to="datadog"), str | None)
        assert_type(await dispatcher.flush(timeout=1), Report)
        assert_type(dispatcher.stats(), Stats)
        stats = dispatcher.stats().destinations["datadog"]
        assert_type(stats, DestinationStats)
        assert_type(stats.submitted, int)
        assert_type(stats.dropped, Mapping[str, int])
        assert_type(dispatcher.stats().hook_failures, Mapping[str, int])
    await dispatcher.start()
    report = await dispatcher.aclose(timeout=5.0)
    assert_type(bool(report), bool)
    assert_type(report.left, Mapping[str, int])


class Warehouse(HttpDestination):
    """A destination built on the base."""

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        if not event.user_id:
            raise EventRejected("missing_user", "user_id is required")
        return dumps({"who": event.user_id})


class Bare:
    """A destination that satisfies the protocol by itself."""

    name = "bare"
    endpoint = "https://collector.example/v1"
    tuning = Tuning(max_batch_events=1)
    framing = Framing()

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        return False

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        return dumps(event.name)

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        return dumps(payload), event_id

    def request(self, bodies: Sequence[bytes]) -> Request:
        return Request(self.endpoint, {}, bodies[0])

    def verdict(self, response: Response, now: float) -> Verdict:
        raise NotImplementedError


destinations: list[Destination] = [
    Datadog.from_env(),
    Freshpaint.from_env(timeout=3.0),
    Warehouse(name="w", endpoint="https://collector.example/v1", tuning=Tuning(max_batch_events=1)),
    Bare(),
]
transport: Transport = MemoryTransport()


def health(stats: Stats) -> None:
    assert_type(health_of(stats, nearly_full=0.9, late=60), Health)
    for complaint in health_of(stats).complaints:
        print(complaint.ailment.value, complaint.destination or "all", complaint.detail)
    for name, one in stats.destinations.items():
        assert_type(one.answers, Mapping[str, int])
        assert_type(one.delivery_age, float | None)
        assert_type(one.rate_limit, int | None)
        print(name, one.held, one.fault, one.oldest_age)
