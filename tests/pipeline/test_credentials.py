"""
Keys and tokens that change, on a virtual clock: asked for at every attempt, and never in the way.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sendoff import (
    Action,
    Event,
    HttpDestination,
    Request,
    Response,
    Retry,
    TransportError,
    Tuning,
    Verdict,
)
from virtual import Vendors, datadog, dispatcher, fates, freshpaint, now, run

HELD = Retry(hold_interval=10.0)


class Vault:
    """
    What gives a credential: what a test puts into it.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def keys_of(vendors: Vendors) -> list[str]:
    """
    The credential of every request, wherever the vendor has it.
    """
    return [
        request.headers.get("DD-API-KEY") or json.loads(request.body)["properties"]["token"]
        for request in vendors.requests
    ]


def maker(vendor: str, credential: Any, **options: Any) -> Any:
    if vendor == "datadog":
        return datadog(api_key=credential, flush_interval=0.0, **options)
    return freshpaint(token=credential, **options)


@pytest.fixture(params=["datadog", "freshpaint"])
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_rotated_credential_reaches_what_was_queued_before(vendor: str) -> None:
    """Encoded and refused under the old one, delivered under the new one by the next probe."""
    vault = Vault("old")
    vendors = Vendors(lambda request, events: None if keys_of(vendors)[-1] == "new" else 403)

    async def main() -> None:
        d = dispatcher(vendors, maker(vendor, vault, retry=HELD))
        async with d:
            for _ in range(5):
                d.track("x", user_id="u")
            assert not await d.flush(timeout=25.0)
            vault.value = "new"
            assert await d.flush(timeout=1_000.0)
            assert fates(d, vendor) == {"delivered": 5}

    run(main())
    assert set(keys_of(vendors)) == {"old", "new"}
    assert len(vendors.accepted) == 5


def test_a_retry_goes_with_the_credential_of_its_own_moment(vendor: str) -> None:
    """Not with that of the first try; the rest of the request is the same."""
    vault = Vault("1st")

    def answer(request: Request, events: list[Any]) -> int:
        vault.value = "2nd"
        return 503 if len(vendors.requests) == 1 else 202

    vendors = Vendors(answer)

    async def main() -> None:
        async with dispatcher(vendors, maker(vendor, vault)) as d:
            d.track("x", user_id="u", properties={"n": 1})
            assert await d.flush(timeout=1_000.0)

    run(main())
    assert keys_of(vendors) == ["1st", "2nd"]
    first, second = (request.body.replace(b"1st", b"2nd") for request in vendors.requests)
    assert first == second


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (KeyError("s3cr3t-value"), "raised KeyError"),
        (StopIteration("s3cr3t-value"), "raised StopIteration"),
        (asyncio.CancelledError("s3cr3t-value"), "raised CancelledError"),
        (None, "must be a str, not NoneType"),
        (b"s3cr3t-value", "must be a str, not bytes"),
        ("", "must be a non-empty str"),
        ("s3cr3t-value\n", "without surrounding blanks"),
        ("s3cr3t-välue", "must be ASCII"),
    ],
    ids=str,
)
def test_a_credential_that_is_not_to_be_had_loses_nothing(
    vendor: str, value: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent, everything is kept, one line says why, and a slow probe finds it mended."""
    vault = Vault(value)
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, maker(vendor, vault, retry=HELD, workers=4))
        async with d:
            for _ in range(50):
                d.track("x", user_id="u")
            assert dict((await d.flush(timeout=100.0)).left) == {vendor: 50}
            stats = d.stats().destinations[vendor]
            assert (stats.requests, vendors.requests) == (0, [])
            assert 5 <= vault.asked <= 40  # slowly, by one probe at a time
            vault.value = "key"
            mended = now()
            assert await d.flush(timeout=1_000.0)
            assert now() - mended <= 20.0
            assert fates(d, vendor) == {"delivered": 50}
            assert d.stats().destinations[vendor].retries == 0

    run(main())
    assert f"{vendor}: no_credential (" in caplog.text
    assert words in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_coroutine_is_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    """A lambda around a coroutine function shows only when it is called, and leaves no warning."""

    async def later() -> str:
        return "key"

    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(api_key=lambda: later()), shutdown_timeout=1.0) as d:
            d.track("x", user_id="u")
            assert not await d.flush(timeout=3.0)

    run(main())
    assert "api_key must be a str, not coroutine" in caplog.text


def test_a_close_does_not_wait_for_a_credential_that_will_not_come(vendor: str) -> None:
    """As with a wrong key: nothing can be hoped for before the deadline."""
    vendors = Vendors()

    async def main() -> None:
        retry = Retry(hold_interval=300.0)
        d = dispatcher(vendors, maker(vendor, Vault(OSError()), retry=retry))
        await d.start()
        d.track("x", user_id="u")
        await d.flush(timeout=1.0)
        begun = now()
        assert dict((await d.aclose(timeout=20.0)).left) == {vendor: 1}
        assert now() - begun < 1.0

    run(main())


def test_a_lane_without_a_credential_stops_no_other() -> None:
    """One vendor's key is not to be had; the other's events go."""
    vendors = Vendors()

    async def main() -> None:
        destinations = (maker("datadog", Vault(OSError())), maker("freshpaint", "token"))
        async with dispatcher(vendors, *destinations, shutdown_timeout=0.0) as d:
            d.track("x", user_id="u")
            await d.flush(timeout=1.0)
            assert fates(d, "freshpaint") == {"delivered": 1}
            assert fates(d, "datadog") == {"pending": 1}

    run(main())


def test_what_is_queued_and_shown_holds_no_token() -> None:
    """Neither the queue nor `on_drop` sees it; a payload's own token stays where it is."""
    vendors = Vendors(lambda request, events: 400)
    shown: list[Any] = []
    body = {"event": "x", "properties": {"distinct_id": "u"}}
    own_body = {"event": "x", "properties": {"distinct_id": "u", "token": "mine"}}
    none = {"event": "x", "properties": {"token": None, "distinct_id": "u"}, "more": 1}

    async def main() -> None:
        d = dispatcher(
            vendors,
            freshpaint(token="t0ken", workers=1),
            on_drop=lambda _, some: shown.extend(some),
        )
        d.track("x", user_id="u")
        for payload in (body, own_body, none):
            assert d.enqueue(payload) is not None
        assert all(b"t0ken" not in one for one, _ in d._intakes[0].queue)
        async with d:
            await d.flush()

    asyncio.run(main())  # a real loop, because `on_drop` runs in a worker thread
    assert keys_of(vendors) == ["t0ken", "t0ken", "mine", "t0ken"]
    assert len(shown) == 4
    assert not any(b"t0ken" in event.body for event in shown)
    assert json.loads(vendors.requests[3].body)["more"] == 1


@pytest.mark.parametrize("token", ['"\\' * 128, "x" * 256, "t"])
def test_no_body_is_above_the_limit_with_its_token(token: str) -> None:
    """Room for the longest token is kept free, whatever JSON makes of it."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, freshpaint(token=lambda: token))
        async with d:
            size = 5_000_000
            while d.track("x", user_id="u", properties={"text": "x" * size}) is None:
                size -= 50
            assert await d.flush(timeout=1_000.0)

    run(main())
    (request,) = vendors.requests
    assert 4_999_000 < len(request.body) <= 5_000_000
    assert json.loads(request.body)["properties"]["token"] == token


def test_the_callers_own_token_property_does_not_take_the_place() -> None:
    """Properties named as the place of the token, or worded like it, stay the caller's."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(token="t0ken")) as d:
            d.track(
                "x", user_id="u", properties={"token": None, "a": '{"properties":{"token":null,'}
            )
            assert await d.flush(timeout=1_000.0)

    run(main())
    properties = vendors.accepted[0]["properties"]
    assert (properties["token"], properties["token_"]) == ("t0ken", None)
    assert properties["a"] == '{"properties":{"token":null,'


def test_every_known_credential_is_kept_out_of_the_vendors_words(
    vendor: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when they are words that would pass, and also the one before the rotation."""
    vault = Vault("account")
    said = json.dumps({"errors": [{"detail": "the account or device is unknown"}]}).encode()
    vendors = Vendors(lambda request, events: Response(403, body=said))

    async def main() -> None:
        d = dispatcher(vendors, maker(vendor, vault, retry=HELD), shutdown_timeout=0.0)
        async with d:
            d.track("x", user_id="u")
            await d.flush(timeout=1.0)
            assert "403 the … or device is unknown" in caplog.text
            caplog.clear()
            d._log._faults._kinds.clear()
            vault.value = "device"
            await d.flush(timeout=50.0)

    run(main())
    assert "403 the … or … is unknown" in caplog.text


# --- destinations of one's own --------------------------------------------------------------------


class Collector(HttpDestination):
    def __init__(self, token: Any) -> None:
        super().__init__(
            name="own",
            endpoint="https://collector.example/",
            headers={"Authorization": lambda: f"Bearer {token()}", "X-Plain": "yes"},
            tuning=Tuning(max_batch_events=1, retry=HELD, flush_interval=0.0),
        )

    def encode(self, event: Event, dumps: Any) -> bytes:
        return dumps({"name": event.name})


def test_a_header_may_be_asked_for_at_every_attempt() -> None:
    """The common implementation, for whoever writes a destination."""
    vault = Vault(OSError())
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, Collector(vault)) as d:
            d.track("x")
            assert not await d.flush(timeout=1.0)
            vault.value = "abc"
            assert await d.flush(timeout=1_000.0)

    run(main())
    (request,) = vendors.requests
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["X-Plain"] == "yes"


class Bare:
    """
    A destination that satisfies the protocol and nothing more.
    """

    def __init__(self, **tuning: Any) -> None:
        self.name = "bare"
        self.endpoint = "https://bare.example/"
        self.tuning = Tuning(max_batch_events=1, flush_interval=0.0, **tuning)
        self.framing = datadog().framing

    def encode(self, event: Event, dumps: Any) -> bytes:
        return dumps({"name": event.name})

    def recognizes(self, payload: Any) -> bool:
        return False

    def request(self, bodies: Any) -> Request:
        return Request(self.endpoint, {"Content-Type": "application/json"}, bodies[0])

    def verdict(self, response: Response, now: float) -> Verdict:
        return Verdict(Action.DELIVERED, "delivered")


def test_a_destination_need_not_know_of_credentials_and_still_has_its_proxy() -> None:
    """`authorized` is optional; the proxy of its tuning is put into its requests for it."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, Bare(proxy="http://proxy.example")) as d:
            d.track("x")
            assert await d.flush(timeout=1_000.0)

    run(main())
    assert vendors.requests[0].proxy == "http://proxy.example"


def test_a_destination_that_has_no_credential_holds_its_lane() -> None:
    """A destination of one's own says it in the same way as ours."""

    class Locked(Bare):
        locked = True

        def authorized(self, request: Request) -> Request:
            if self.locked:
                raise TransportError("no_credential", perhaps_sent=False)
            return request

    vendors = Vendors()
    destination = Locked()

    async def main() -> None:
        async with dispatcher(vendors, destination) as d:
            d.track("x")
            assert not await d.flush(timeout=5.0)
            destination.locked = False
            assert await d.flush(timeout=1_000.0)

    run(main())
    assert len(vendors.requests) == 1
