"""
The scripted vendors in memory: they answer as the sink would, by the same words.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sendoff import (
    Dispatcher,
    Framing,
    HttpDestination,
    Request,
    Response,
    TransportError,
    Tuning,
)
from sendoff.sink import Settings
from sendoff.testing import ScriptedVendors, VirtualLoop, events_of, run_virtual
from virtual import datadog, fates, freshpaint


def sent(vendors: ScriptedVendors, *destinations: Any, events: int = 1, **options: Any) -> Any:
    """
    The dispatcher after some events to each of its destinations were flushed.
    """

    async def main() -> Dispatcher:
        app = Dispatcher(*destinations, transport=vendors, **options)
        async with app:
            for number in range(events):
                app.track("x", user_id="u", properties={"n": number})
            await app.flush(timeout=60)
        return app

    return run_virtual(main())


ONE = b'{"event":"x","properties":{"token":"t","distinct_id":"u","time":1,"$insert_id":"a"}}'


def asked(vendors: ScriptedVendors, body: bytes = ONE, path: str = "/track") -> Any:
    """
    The answer to one request, or the failure; and the seconds it took.
    """
    request = Request(
        f"https://api.perfalytics.com{path}", {"Content-Type": "application/json"}, body
    )

    async def main() -> Any:
        await vendors.open()
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(100):
                answer: Any = await vendors.send(request, lambda: None)
        except (TransportError, TimeoutError) as exc:
            answer = exc
        return answer, asyncio.get_running_loop().time() - begun

    return run_virtual(main())


def test_what_is_right_is_taken() -> None:
    """Both vendors' events, batches too, with the moment of each request."""
    vendors = ScriptedVendors()
    app = sent(vendors, datadog(), freshpaint(), events=3)
    assert fates(app, "datadog") == fates(app, "freshpaint") == {"delivered": 3}
    assert [event["n"] for event in vendors.events("datadog")] == [0, 1, 2]
    assert {one["properties"]["token"] for one in vendors.events("freshpaint")} == {"token"}
    assert len(vendors.requests) == len(vendors.times) == 4
    assert vendors.accepted == [
        event for request in vendors.requests for event in events_of(request)
    ]
    assert (vendors.opened, vendors.closed) == (1, 1)


def test_what_the_vendors_would_refuse_is_refused() -> None:
    """By the rules of the sink: a wrong key, a batch where none are taken, a broken body."""
    strict = Settings(api_key="right", token="right", accept_batches=False)
    app = sent(ScriptedVendors(settings=strict), datadog(api_key="right"), freshpaint(), events=2)
    assert fates(app, "datadog") == {"delivered": 2}
    assert fates(app, "freshpaint") == {"dropped": {"shutdown": 2}}  # 403 holds
    answer, _ = asked(ScriptedVendors(), b'{"event":"x","properties":{}}')
    assert answer.status == 400
    answer, _ = asked(ScriptedVendors(), b"no JSON", path="/api/v2/prodlytics")
    assert answer.status == 401


class Third(HttpDestination):
    """
    A vendor whom nobody here knows.
    """

    def __init__(self) -> None:
        super().__init__(
            name="third",
            endpoint="https://collector.example/v1",
            framing=Framing(separator=b"\n"),
            batch_content_type="application/x-ndjson",
            tuning=Tuning(compression="gzip"),
        )

    def encode(self, event: Any, dumps: Any) -> bytes:
        return dumps({"n": event.properties["n"]})


def test_a_third_vendor_takes_everything() -> None:
    """In any framing, compressed too; faults that name no vendor are for it as well."""
    vendors = ScriptedVendors("503 first 1")
    app = sent(vendors, Third(), events=2)
    assert fates(app, "third") == {"delivered": 2}
    assert vendors.accepted == [{"n": 0}, {"n": 1}]
    assert len(vendors.requests) == 2


@pytest.mark.parametrize(
    ("fault", "status", "body", "took", "accepted"),
    [
        ("503", 503, None, 0, 0),
        ("html 502", 502, None, 0, 0),
        ("redirect", 307, None, 0, 0),
        ("latency 2s", 200, b"{}", 2, 1),
        ("close", 200, b"{}", 0, 1),
        ("truncate", 200, b"{", 0, 1),
        ("503 on datadog", 200, b"{}", 0, 1),
        ("503 after 1s", 200, b"{}", 0, 1),
    ],
)
def test_faults_that_answer(
    fault: str, status: int, body: bytes | None, took: float, accepted: int
) -> None:
    """Each does what the same words do to the sink."""
    vendors = ScriptedVendors(fault)
    answer, seconds = asked(vendors)
    assert answer.status == status
    assert body in (None, answer.body)
    assert (seconds, len(vendors.accepted)) == (took, accepted)


@pytest.mark.parametrize(
    ("fault", "kind", "took", "accepted"),
    [
        ("reset", TransportError, 0, 1),
        ("reset-before", TransportError, 0, 0),
        ("hang", TimeoutError, 100, 0),
    ],
)
def test_faults_that_give_no_answer(
    fault: str, kind: type[Exception], took: float, accepted: int
) -> None:
    """A reset is a disconnect, after or before the events were taken; a hang ends with the wait."""
    vendors = ScriptedVendors(fault)
    answer, seconds = asked(vendors)
    assert type(answer) is kind
    assert (seconds, len(vendors.accepted)) == (took, accepted)


def test_headers_of_a_fault_are_obeyed() -> None:
    """`retry-after` is a floor for the next try; times count from the opening."""
    vendors = ScriptedVendors("429 first 1 retry-after 30", "503 after 30s for 1s")
    app = sent(vendors, freshpaint())
    assert fates(app, "freshpaint") == {"delivered": 1}
    assert vendors.times[1] >= 30


def test_the_same_script_gives_the_same_run() -> None:
    """Also where chance decides; what is processed and reset comes twice, with one id."""

    def run() -> list[int]:
        vendors = ScriptedVendors("reset share 0.3", "latency 50ms")
        app = sent(vendors, freshpaint(workers=1), events=20)
        assert fates(app, "freshpaint") == {"delivered": 20}
        return [event["properties"]["n"] for event in vendors.accepted]

    first = run()
    assert run() == first
    assert len(first) > 20
    assert set(first) == set(range(20))


def test_faults_can_be_replaced() -> None:
    """And taken away; a wrong line changes nothing."""
    vendors = ScriptedVendors("503")
    assert asked(vendors)[0].status == 503
    with pytest.raises(ValueError, match="is neither a status nor one of"):
        vendors.faults("nonsense")
    assert asked(vendors)[0].status == 503
    vendors.faults("429")
    assert asked(vendors)[0].status == 429
    vendors.faults()
    assert asked(vendors)[0].status == 200
    with pytest.raises(ValueError, match="is neither a status nor one of"):
        ScriptedVendors("nonsense")


def test_an_answer_of_ones_own_goes_first() -> None:
    """A status, a whole answer, either awaited, a failure; None leaves it to the others."""

    async def late() -> Response:
        await asyncio.sleep(3)
        return Response(418)

    def refuse() -> None:
        raise TransportError("connect", perhaps_sent=False)

    answers: list[Any] = [lambda: 202, lambda: Response(400), late, refuse, lambda: None]
    seen: list[Any] = []

    def answer(request: Request, events: list[Any]) -> Any:
        seen.append(events[0]["event"])
        return answers.pop(0)()

    vendors = ScriptedVendors("503", answer=answer)
    results = [asked(vendors) for _ in range(5)]
    assert [getattr(one, "status", one) for one, _ in results[:3]] == [202, 400, 418]
    assert results[2][1] == 3
    assert isinstance(results[3][0], TransportError)
    assert results[4][0].status == 503
    assert seen == ["x"] * 5
    assert len(vendors.accepted) == 1


def test_a_body_that_is_no_json_holds_no_events() -> None:
    """It is nobody's fault here."""
    assert events_of(Request("https://x.example", {}, b"\xff\nno")) == []


def test_an_hour_passes_at_once() -> None:
    """Sleeping, timeouts and a dispatcher's pauses go by the virtual clock."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1_800):
                await asyncio.Event().wait()
        await asyncio.sleep(1_800)
        return loop.time()

    begun = time.monotonic()
    assert run_virtual(main(), now=5.0) == 3_605.0
    assert time.monotonic() - begun < 5


def test_a_loop_that_waits_for_nothing_says_so() -> None:
    """And one that turns on the spot."""

    async def forever() -> None:
        await asyncio.Event().wait()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits for something that never comes"):
        run_virtual(forever(), patience=0.01)
    with pytest.raises(RuntimeError, match="turns and turns"):
        run_virtual(spin())


def test_loops_can_share_one_time() -> None:
    """`catch_up` moves a clock on, and never back."""
    loop = VirtualLoop(now=3.0)
    loop.catch_up(2.0)
    assert loop.time() == 3.0
    loop.catch_up(4.0)
    assert loop.time() == 4.0
    loop.close()


def test_a_request_lets_the_loop_turn() -> None:
    """As a real one does, so that what an app relies on here also holds there."""

    async def main() -> list[str]:
        vendors = ScriptedVendors()
        await vendors.open()
        met: list[str] = []
        asyncio.get_running_loop().call_soon(met.append, "turn")
        await vendors.send(Request("https://elsewhere.invalid/", {}, ONE), lambda: None)
        return [*met]  # the end of the loop turns it once more

    assert run_virtual(main()) == ["turn"]


@pytest.mark.parametrize(("encoding", "body"), [("br", ONE), ("gzip", b"no gzip"), ("", b"{")])
def test_a_body_that_cannot_be_read_has_no_events(encoding: str, body: bytes) -> None:
    """A destination of one's own may compress as it likes; that breaks no sending."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert events_of(Request("https://elsewhere.invalid/", headers, body)) == []
