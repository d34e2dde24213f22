"""
What a caller sees: ids, fates, destinations, and calls from wherever there is no loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import pytest

from sendoff import Datadog, Dispatcher, Freshpaint, OptionError
from virtual import Vendors, datadog, dispatcher, events_of, fates, freshpaint, now, run


def test_one_call_reaches_both_vendors() -> None:
    """`track` is one plain call, and each vendor gets the event in its own form."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            event_id = d.track(
                "checkout.completed",
                user_id="u-1",
                properties={"amount": 9.99, "customer": {"tier": "premium"}},
                time=1_700_000_000.125,
            )
            assert event_id is not None
            assert await d.flush()
            bodies = {request.url: events_of(request) for request in vendors.requests}
            assert bodies == {
                "https://browser-intake-datadoghq.com/api/v2/prodlytics": [
                    {
                        "application": {"id": "app"},
                        "event": {"name": "checkout.completed"},
                        "type": "server",
                        "usr": {"id": "u-1"},
                        "amount": 9.99,
                        "customer": {"tier": "premium"},
                    }
                ],
                "https://api.perfalytics.com/track": [
                    {
                        "event": "checkout.completed",
                        "properties": {
                            "distinct_id": "u-1",
                            "token": "token",
                            "time": 1_700_000_000.125,
                            "$insert_id": event_id,
                            "amount": 9.99,
                            "customer": {"tier": "premium"},
                        },
                    }
                ],
            }
            assert fates(d, "datadog") == fates(d, "freshpaint") == {"delivered": 1}

    run(main())


def test_an_event_one_vendor_cannot_take_goes_to_the_other() -> None:
    """A session without a user is Datadog's, a device without a user is Freshpaint's."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            assert d.track("x", session_id="s") is not None
            assert d.track("x", device_id="d") is not None
            assert d.track("x") is None
            await d.flush()
            missing = {"missing_identity": 2}
            assert fates(d, "datadog") == {"delivered": 1, "rejected": missing}
            assert fates(d, "freshpaint") == {"delivered": 1, "rejected": missing}

    run(main())


def test_to_names_the_destinations() -> None:
    """`to` takes a name or several; a name of nobody's takes nothing and raises nothing."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            assert d.track("x", user_id="u", to="datadog") is not None
            assert d.track("x", user_id="u", to=["freshpaint", "datadog"]) is not None
            assert d.track("x", user_id="u", to="nobody") is None
            assert d.track("x", user_id="u", to=7) is None  # type: ignore[arg-type]
            await d.flush()
            assert fates(d, "datadog") == {"delivered": 2}
            assert fates(d, "freshpaint") == {"delivered": 1}

    run(main())


def test_identify_passes_datadog_over() -> None:
    """Datadog has no identification, so it is not even counted there."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            assert d.identify("u-1", {"plan": "pro"}, device_id="d-1") is not None
            await d.flush()
            assert fates(d, "datadog") == {}
            body = events_of(vendors.requests[0])[0]
            assert body["event"] == "$identify"
            assert body["properties"]["$user_props"] == {"plan": "pro"}
            assert body["properties"]["$device_id"] == "d-1"

    run(main())


def test_enqueue_finds_the_vendor_by_the_shape_of_its_body() -> None:
    """A body goes to the vendor whose it is; one of nobody's is rejected and counted."""
    vendors = Vendors()
    body = {
        "application": {"id": "a"},
        "event": {"name": "checkout.completed"},
        "type": "server",
        "account": {"id": "42"},
    }

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            assert d.enqueue(body) is not None
            event = {"event": "Purchase", "properties": {"distinct_id": "13793"}}
            assert d.enqueue(event) is not None
            assert d.enqueue({"colour": "red"}) is None
            assert d.enqueue(["no", "mapping"]) is None  # type: ignore[arg-type]
            assert d.enqueue(event, to="datadog") is None
            await d.flush()
            assert fates(d, "datadog")["delivered"] == fates(d, "freshpaint")["delivered"] == 1
            assert events_of(vendors.requests[0]) == [body] or events_of(vendors.requests[1]) == [
                body
            ]
            assert fates(d, "freshpaint")["rejected"] == {
                "invalid_event": 1,
                "invalid_payload": 1,
            }

    run(main())


def test_calls_before_any_loop_wait_for_one() -> None:
    """A call without a loop is queued; the next start delivers it."""
    vendors = Vendors()
    d = dispatcher(vendors, datadog())
    assert d.track("x", user_id="u") is not None
    assert fates(d, "datadog") == {"pending": 1}

    async def main() -> None:
        async with d:
            await d.flush()

    run(main())
    assert fates(d, "datadog") == {"delivered": 1}


def test_a_forgotten_start_happens_at_the_first_call() -> None:
    """The first call inside a running loop starts the sending there."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog(flush_interval=0.5))
        d.track("x", user_id="u")
        await asyncio.sleep(0.6)
        assert fates(d, "datadog") == {"delivered": 1}
        assert await d.aclose()

    run(main())


def test_calls_from_threads_while_the_loop_is_blocked() -> None:
    """Threads never wait for the loop: all their events are queued while it stands still."""
    vendors = Vendors()

    def burst(d: Dispatcher) -> None:
        for number in range(100):
            d.track("x", user_id="u", properties={"n": number})

    async def main() -> None:
        async with dispatcher(vendors, datadog(), freshpaint()) as d:
            threads = [threading.Thread(target=burst, args=(d,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()  # blocks the loop
            assert fates(d, "datadog") == {"pending": 800}
            assert await d.flush()
            assert fates(d, "datadog") == fates(d, "freshpaint") == {"delivered": 800}

    run(main())


def test_one_dispatcher_over_three_loops() -> None:
    """A dispatcher of a module's delivers in every `asyncio.run`, also without start or close."""
    vendors = Vendors()
    d = dispatcher(vendors, datadog(), freshpaint())

    async def main() -> None:
        for _ in range(5):
            d.track("x", user_id="u")

    for _ in range(3):
        run(main())
    assert fates(d, "datadog") == fates(d, "freshpaint") == {"delivered": 15}
    assert vendors.opened == vendors.closed == 3


def test_a_loop_closed_in_the_middle_gives_its_events_back() -> None:
    """What a loop had in hand when it was closed under us is sent by the next one."""
    hanging = True

    def answer(request: object, events: object) -> object:
        return asyncio.sleep(1_000, 503) if hanging else 202

    vendors = Vendors(answer)
    d = dispatcher(vendors, freshpaint())

    async def first() -> None:
        d.track("x", user_id="u")
        await asyncio.sleep(0.1)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(first())
    stats = d.stats().destinations["freshpaint"]
    assert (stats.in_flight, stats.pending) == (1, 1)
    tasks = asyncio.all_tasks(loop)
    loop.close()
    hanging = False

    async def second() -> None:
        d.track("y", user_id="u")
        assert await d.aclose()

    run(second())
    assert fates(d, "freshpaint") == {"delivered": 2}
    for task in tasks:  # they can never end: keep the interpreter from complaining about it
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):
            task.get_coro().close()  # type: ignore[union-attr]
    assert fates(d, "freshpaint") == {"delivered": 2}


def test_after_aclose_events_are_rejected_until_the_next_start() -> None:
    """A closed dispatcher says so in its ledger, and can be opened again."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        async with d:
            d.track("x", user_id="u")
        assert d.track("x", user_id="u") is None
        assert fates(d, "datadog") == {"delivered": 1, "rejected": {"closed": 1}}
        async with d:
            assert d.track("x", user_id="u") is not None
        assert fates(d, "datadog") == {"delivered": 2, "rejected": {"closed": 1}}

    run(main())


def test_the_users_own_error_leaves_the_block_as_it_is() -> None:
    """A KeyError inside `async with` stays a KeyError, and the events still go."""
    vendors = Vendors()
    d = dispatcher(vendors, datadog())

    async def main() -> None:
        async with d:
            d.track("x", user_id="u")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(main())
    assert fates(d, "datadog") == {"delivered": 1}


def test_closing_from_another_task() -> None:
    """`start` and `aclose` need not be called by one task."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        await asyncio.create_task(d.start())
        d.track("x", user_id="u")
        reports = await asyncio.gather(d.aclose(), d.aclose())
        assert all(reports)
        assert fates(d, "datadog") == {"delivered": 1}

    run(main())


def test_closing_from_another_thread() -> None:
    """A thread with a loop of its own can flush and close; the sending stays where it began."""
    vendors = Vendors()

    async def main() -> None:
        d = dispatcher(vendors, datadog())
        await d.start()
        d.track("x", user_id="u")

        async def elsewhere() -> None:
            assert await d.flush()
            assert await d.aclose()

        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def thread() -> None:
            asyncio.run(elsewhere())
            loop.call_soon_threadsafe(done.set)

        worker = threading.Thread(target=thread)
        worker.start()
        await done.wait()
        worker.join()
        assert fates(d, "datadog") == {"delivered": 1}

    asyncio.run(main())


def test_a_rejection_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand bad events write one line for each reason, and no value of the caller's."""
    vendors = Vendors()
    d = dispatcher(vendors, datadog())
    with caplog.at_level(logging.DEBUG):
        for _ in range(1_000):
            d.track("x", properties={"secret": "s3cr3t"})
            d.track("", user_id="u")
    assert len(caplog.records) == 2
    assert "missing_identity" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert fates(d, "datadog") == {"rejected": {"missing_identity": 1_000, "invalid_event": 1_000}}


def test_a_full_queue_drops_by_its_policy() -> None:
    """The newest or the oldest event goes, and is counted."""
    vendors = Vendors()

    async def main(overflow: str, kept: list[int]) -> None:
        vendors.accepted.clear()
        d = dispatcher(
            vendors,
            datadog(),
            max_queue_events=3,
            overflow=overflow,
        )
        ids = [d.track("x", user_id="u", properties={"n": n}) for n in range(5)]
        accepted = [event_id is not None for event_id in ids]
        assert accepted == [True] * 3 + [overflow == "drop_oldest"] * 2
        assert fates(d, "datadog") == {"dropped": {"overflow": 2}, "pending": 3}
        async with d:
            await d.flush()
        assert [event["n"] for event in vendors.accepted] == kept

    run(main("drop_newest", [0, 1, 2]))
    run(main("drop_oldest", [2, 3, 4]))


def test_the_byte_bound_counts_what_is_in_flight() -> None:
    """With one event in a worker's hand there is less room in the queue."""

    async def main() -> None:
        release = asyncio.Event()

        async def hang() -> int:
            await release.wait()
            return 202

        vendors = Vendors(lambda request, events: hang())
        d = dispatcher(vendors, freshpaint(workers=1), max_queue_bytes=1_000)
        async with d:
            text = "x" * 600
            assert d.track("x", user_id="u", properties={"text": text}) is not None
            await asyncio.sleep(0.01)
            assert d.stats().destinations["freshpaint"].in_flight == 1
            assert d.track("x", user_id="u", properties={"text": text}) is None
            release.set()
            await d.flush()
            assert d.track("x", user_id="u", properties={"text": text}) is not None
        assert fates(d, "freshpaint") == {"delivered": 2, "dropped": {"overflow": 1}}

    run(main())


def test_an_event_too_large_for_any_request_is_rejected() -> None:
    """No body above 5,000,000 bytes is ever queued."""
    d = dispatcher(Vendors(), datadog())
    assert d.track("x", user_id="u", properties={"text": "x" * 5_000_000}) is None
    assert fates(d, "datadog") == {"rejected": {"too_large": 1}}


def test_the_ledger_adds_up_at_every_instant() -> None:
    """While threads call and workers send, every snapshot is whole and never loses an event."""
    seen: list[int] = []
    stop = threading.Event()

    async def main() -> None:
        vendors = Vendors()
        async with dispatcher(vendors, freshpaint(), datadog(flush_interval=0)) as d:

            def watch() -> None:
                while not stop.is_set():
                    for name in ("freshpaint", "datadog"):
                        fates(d, name)
                    seen.append(d.stats().destinations["datadog"].submitted)

            watcher = threading.Thread(target=watch)
            watcher.start()
            for n in range(3_000):
                d.track("x" if n % 3 else "", user_id="u")
                if n % 10 == 0:
                    await asyncio.sleep(0)
            await d.flush()
            stop.set()
            watcher.join()
            assert d.stats().destinations["datadog"].submitted == 3_000

    asyncio.run(main())
    assert seen == sorted(seen)


@pytest.mark.parametrize("timeout", [-1, "soon", float("nan"), True])
def test_a_wrong_timeout_is_refused(timeout: object) -> None:
    """`flush` and `aclose` name the option and its limit."""

    async def main() -> None:
        async with dispatcher(Vendors(), datadog()) as d:
            with pytest.raises(OptionError, match="timeout must be a number of at least 0"):
                await d.flush(timeout)  # type: ignore[arg-type]
            with pytest.raises(OptionError, match="timeout must be a number of at least 0"):
                await d.aclose(timeout)  # type: ignore[arg-type]

    run(main())


def test_no_secret_in_any_repr() -> None:
    """Keys and tokens show in no repr."""
    d = Dispatcher(
        Datadog(api_key="s3cr3t-key", application_id="app"), Freshpaint(token="s3cr3t-token")
    )
    assert "s3cr3t" not in f"{d!r} {d._lanes[0].intake.destination!r} {d.stats()!r}"
    assert repr(d) == "<Dispatcher idle, datadog: 0 pending, freshpaint: 0 pending>"


def test_order_is_kept_within_a_lane() -> None:
    """One batch holds its events in the order of the calls, and a flush does not linger."""
    vendors = Vendors()

    async def main() -> None:
        async with dispatcher(vendors, datadog()) as d:
            for n in range(50):
                d.track("x", user_id="u", properties={"n": n})
            await d.flush()
            assert [event["n"] for event in vendors.accepted] == list(range(50))
            assert now() < 1.0

    run(main())


def test_nothing_slips_in_behind_the_last_flush() -> None:
    """A call that meets the close in its middle is accepted before it or rejected after it."""
    d = dispatcher(Vendors(), datadog())
    intake = d._intakes[0]
    locked, done = threading.Event(), threading.Event()

    def close() -> None:
        with intake.lock:
            locked.set()
            done.wait(0.05)  # the other thread is inside its call by now
            intake.set_closed(True)

    closer = threading.Thread(target=close)
    closer.start()
    locked.wait()
    assert d.track("x", user_id="u") is None
    done.set()
    closer.join()
    assert fates(d, "datadog") == {"rejected": {"closed": 1}}
