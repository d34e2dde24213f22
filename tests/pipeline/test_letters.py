"""
What is given up goes to the dead letters: every reason, what cannot be written, and the end.

On a real loop, because the file is written in worker threads; the vendors are in memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import sendoff._errands
import sendoff._letters
import sendoff._lifecycle
from sendoff import (
    DeadLetters,
    Dispatcher,
    DroppedEvent,
    HttpDestination,
    Letter,
    MemoryTransport,
    OptionError,
    Outcome,
    Request,
    Response,
    Retry,
    TransportError,
    Tuning,
    read_letters,
)
from virtual import datadog, events_of, fates, freshpaint

ONCE = Retry(attempts=1)
PATIENCE = 10.0


def letters(path: Path) -> list[Letter]:
    found = list(read_letters(path))
    assert None not in found
    return [letter for letter in found if letter is not None]


def answering(status: int, words: str = "") -> MemoryTransport:
    body = json.dumps({"errors": [{"title": words}]}).encode()
    return MemoryTransport(lambda request: Response(status, body=body))


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "refused"), (413, "too_large"), (503, "attempts")]
)
def test_what_the_vendor_does_not_take_is_written(tmp_path: Path, status: int, reason: str) -> None:
    """
    With its id, the reason, the status and the vendor's redacted words; no drop, no `on_drop`.
    """
    path = tmp_path / "letters"
    dropped: list[str] = []

    async def main() -> None:
        async with Dispatcher(
            datadog(retry=ONCE, flush_interval=0),
            transport=answering(status, "this key is wrong"),
            dead_letters=path,
            on_drop=lambda why, events: dropped.append(why),
        ) as d:
            event_id = d.track("x", user_id="u", properties={"n": 1})
            assert await d.flush(PATIENCE)
            assert fates(d, "datadog") == {"dead_lettered": 1}
            (letter,) = letters(path)
            assert (letter.id, letter.reason, letter.status) == (event_id, reason, status)
            assert letter.detail == f"{status} this … is wrong"
            assert letter.destination == "datadog"
            assert letter.event == {
                "application": {"id": "app"},
                "event": {"name": "x"},
                "type": "server",
                "usr": {"id": "u"},
                "n": 1,
            }

    asyncio.run(main())
    assert dropped == []


def test_a_failure_without_an_answer_has_no_status(tmp_path: Path) -> None:
    """The status is null, and the detail says what happened."""

    def answer(request: Request) -> Response:
        raise TransportError("connect", perhaps_sent=False)

    async def main() -> None:
        retry = Retry(base=0.001, cap=0.001, max_elapsed=0)
        async with Dispatcher(
            freshpaint(retry=retry), transport=MemoryTransport(answer), dead_letters=tmp_path
        ) as d:
            d.identify("u")
            assert await d.flush(PATIENCE)

    asyncio.run(main())
    (letter,) = letters(tmp_path)
    assert (letter.reason, letter.status) == ("expired", None)
    assert letter.detail == "refused or unreachable; not sent"


class Broken(HttpDestination):
    """A destination whose bodies are no JSON, and which cannot make a request of them."""

    def encode(self, event: Any, dumps: Any) -> bytes:
        return b"\x00" + str(event.name).encode()

    def request(self, bodies: Any) -> Request:
        raise LookupError("s3cret")


def test_a_destination_that_raises_is_written(tmp_path: Path) -> None:
    """The reason is internal, the detail the error's type, the body base64."""
    broken = Broken(name="own", endpoint="http://x.test/", tuning=Tuning(max_batch_events=1))

    async def main() -> None:
        async with Dispatcher(broken, transport=MemoryTransport(), dead_letters=tmp_path) as d:
            d.track("x")
            assert await d.flush(PATIENCE)
            assert fates(d, "own") == {"dead_lettered": 1}

    asyncio.run(main())
    (letter,) = letters(tmp_path)
    assert (letter.reason, letter.detail, letter.body) == ("internal", "raised LookupError", b"\0x")


def test_one_poison_event_of_a_batch_is_written_alone(tmp_path: Path) -> None:
    """The other events of its batch are delivered."""

    def answer(request: Request) -> Response:
        return Response(400 if any(event["n"] == 21 for event in events_of(request)) else 202)

    async def main() -> None:
        async with Dispatcher(
            datadog(), transport=MemoryTransport(answer), dead_letters=tmp_path
        ) as d:
            for n in range(50):
                d.track("x", user_id="u", properties={"n": n})
            assert await d.flush(PATIENCE)
            assert fates(d, "datadog") == {"delivered": 49, "dead_lettered": 1}

    asyncio.run(main())
    assert [letter.event and letter.event["n"] for letter in letters(tmp_path)] == [21]


def test_an_overflow_stays_a_drop(tmp_path: Path) -> None:
    """A full queue writes no letters: it would write as fast as a loop can call."""
    dropped: list[str] = []

    async def main() -> None:
        d = Dispatcher(
            datadog(),
            transport=MemoryTransport(),
            max_queue_events=2,
            dead_letters=tmp_path,
            on_drop=lambda why, events: dropped.append(f"{why} {len(events)}"),
        )
        for _ in range(5):
            d.track("x", user_id="u")
        await d.aclose()
        assert fates(d, "datadog") == {"delivered": 2, "dropped": {"overflow": 3}}

    asyncio.run(main())
    assert dropped == ["overflow 3"]
    assert not (tmp_path / "dead-letters.ndjson").exists()


@pytest.mark.parametrize("events", [1, 700])
def test_what_a_shutdown_leaves_is_written(tmp_path: Path, events: int) -> None:
    """With what the vendor last said; the report still says that it was not delivered."""

    async def main() -> None:
        d = Dispatcher(freshpaint(workers=3), transport=answering(403, "no"), dead_letters=tmp_path)
        ids = [d.track("x", user_id="u") for _ in range(events)]
        report = await d.aclose(timeout=5)
        assert dict(report.left) == {"freshpaint": events}
        assert fates(d, "freshpaint") == {"dead_lettered": events}
        found = letters(tmp_path)
        assert sorted(letter.id for letter in found) == sorted(str(one) for one in ids)
        assert {(one.reason, one.status, one.detail) for one in found} == {
            ("shutdown", 403, "403 no")
        }

    asyncio.run(main())


def test_a_vendor_that_is_well_again_is_not_blamed_at_shutdown(tmp_path: Path) -> None:
    """Once something was delivered, an earlier answer is forgotten."""
    answers = iter([503, 202])

    async def main() -> None:
        async def answer(request: Request) -> Response:
            status = next(answers, None)
            if status is None:
                await asyncio.sleep(1_000)
            return Response(status or 202)

        d = Dispatcher(
            freshpaint(workers=1, retry=Retry(base=0.001)),
            transport=MemoryTransport(answer),
            dead_letters=tmp_path,
        )
        async with d:
            d.track("x", user_id="u")
            assert await d.flush(PATIENCE)
            d.track("x", user_id="u")
            await d.aclose(timeout=0.05)

    asyncio.run(main())
    assert [(one.status, one.detail) for one in letters(tmp_path)] == [(None, "")]


# --- faults ---------------------------------------------------------------------------------------


def test_what_cannot_be_written_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For its own reason, to `on_drop`; counted, and said once."""
    dropped: list[tuple[str, int]] = []

    def on_drop(reason: str, events: Any) -> None:
        dropped.extend((reason, len(one.body) > 0) for one in events)

    async def main() -> None:
        d = Dispatcher(
            freshpaint(workers=2),
            transport=answering(400),
            dead_letters=tmp_path / "missing" / "letters",
            on_drop=on_drop,
        )
        async with d:
            for _ in range(20):
                d.track("x", user_id="u")
            assert await d.flush(PATIENCE)
        assert fates(d, "freshpaint") == {"dropped": {"refused": 20}}
        assert d.stats().destinations["freshpaint"].dead_letter_faults == 20

    asyncio.run(main())
    assert dropped == [("refused", True)] * 20
    said = [message for message in caplog.messages if "dead letters" in message]
    assert said == [
        "freshpaint: no dead letters are written, events are dropped: No such file or directory"
    ]


def test_a_full_file_is_never_above_its_limit(tmp_path: Path) -> None:
    """The first letters are there, the others dropped; the ledger has both."""
    path = tmp_path / "letters"
    fate: dict[str, int] = {}

    def on_outcome(outcome: Outcome) -> None:
        fate[outcome.fate] = fate.get(outcome.fate, 0) + len(outcome.ids)

    async def main() -> None:
        d = Dispatcher(
            datadog(),
            transport=answering(403),
            dead_letters=DeadLetters(path, max_bytes=3_000),
            on_outcome=on_outcome,
        )
        for _ in range(100):
            d.track("x", user_id="u")
        await d.aclose(timeout=3)
        stats = d.stats().destinations["datadog"]
        assert stats.dead_lettered == len(letters(path)) > 5
        assert stats.dropped == {"shutdown": 100 - stats.dead_lettered}
        assert stats.dead_letter_faults == stats.dropped["shutdown"]
        assert fate == {"dead_lettered": stats.dead_lettered, "dropped": stats.dropped["shutdown"]}

    asyncio.run(main())
    assert 2_500 < path.stat().st_size <= 3_000


class Disk:
    """A disk that hangs until it is let go; then it writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writing, self.go = threading.Event(), threading.Event()
        self._append = sendoff._letters.append
        monkeypatch.setattr(sendoff._letters, "append", self)

    def __call__(self, *arguments: Any) -> int:
        self.writing.set()
        assert self.go.wait(PATIENCE)
        return self._append(*arguments)


def test_a_flush_waits_until_letters_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is being written is pending, and the lane works on meanwhile."""
    disk = Disk(monkeypatch)
    answers = iter([400, 400])
    transport = MemoryTransport(lambda request: Response(next(answers, 202)))

    async def main() -> None:
        async with Dispatcher(
            freshpaint(workers=1), transport=transport, dead_letters=tmp_path
        ) as d:
            for _ in range(10):
                d.track("x", user_id="u")
            assert dict((await d.flush(timeout=0.3)).left) == {"freshpaint": 2}
            assert fates(d, "freshpaint") == {"delivered": 8, "pending": 2}
            flush = asyncio.create_task(asyncio.wait_for(d.flush(), PATIENCE))
            await asyncio.sleep(0.05)
            assert not flush.done()
            disk.go.set()
            assert await flush
            assert fates(d, "freshpaint") == {"delivered": 8, "dead_lettered": 2}

    asyncio.run(main())


def test_a_disk_that_hangs_does_not_keep_a_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not begun is dropped; what is under way has its fate when the disk answers."""
    disk = Disk(monkeypatch)
    monkeypatch.setattr(sendoff._errands, "LETTERS_SECONDS", 0.1)
    answers = iter([400])
    transport = MemoryTransport(lambda request: Response(next(answers, 403)))

    async def main() -> None:
        d = Dispatcher(freshpaint(workers=2), transport=transport, dead_letters=tmp_path)
        d.track("x", user_id="u")
        assert await asyncio.to_thread(disk.writing.wait, PATIENCE)
        for _ in range(600):
            d.track("x", user_id="u")
        await asyncio.wait_for(d.aclose(timeout=0.1), PATIENCE)
        assert fates(d, "freshpaint") == {"pending": 1, "dropped": {"shutdown": 600}}
        disk.go.set()
        for _ in range(500):
            if "pending" not in fates(d, "freshpaint"):
                break
            await asyncio.sleep(0.01)
        assert fates(d, "freshpaint") == {"dead_lettered": 1, "dropped": {"shutdown": 600}}

    asyncio.run(main())


def test_a_close_waits_while_letters_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its own time, so that what it leaves has its fate when it returns."""
    disk = Disk(monkeypatch)
    monkeypatch.setattr(sendoff._lifecycle, "GRACE", 0.0)

    async def main() -> None:
        d = Dispatcher(freshpaint(), transport=answering(403), dead_letters=tmp_path)
        d.track("x", user_id="u")
        let_go = asyncio.get_running_loop().call_later(0.3, disk.go.set)
        assert dict((await d.aclose(timeout=0.05)).left) == {"freshpaint": 1}
        let_go.cancel()
        assert fates(d, "freshpaint") == {"dead_lettered": 1}

    asyncio.run(main())


def test_a_loop_that_ends_without_close_writes_what_was_refused(tmp_path: Path) -> None:
    """What the vendor refused is in the file when `asyncio.run` returns."""
    d = Dispatcher(freshpaint(), transport=answering(400), dead_letters=tmp_path)

    async def main() -> None:
        for _ in range(30):
            d.track("x", user_id="u")
        await asyncio.sleep(0)

    asyncio.run(main())
    assert fates(d, "freshpaint") == {"dead_lettered": 30}
    assert len(letters(tmp_path)) == 30


def test_the_file_may_be_moved_away_meanwhile(tmp_path: Path) -> None:
    """The next letter makes a new one."""

    async def main() -> None:
        async with Dispatcher(
            freshpaint(), transport=answering(400), dead_letters=tmp_path / "a"
        ) as d:
            for _ in range(2):
                d.track("x", user_id="u")
                assert await d.flush(PATIENCE)
                os.replace(tmp_path / "a", tmp_path / f"b{len(os.listdir(tmp_path))}")

    asyncio.run(main())
    assert [len(letters(tmp_path / name)) for name in sorted(os.listdir(tmp_path))] == [1, 1]


@pytest.mark.parametrize("wrong", ["", 3, object()])
def test_a_wrong_option_is_refused(wrong: Any) -> None:
    """At construction, by name."""
    with pytest.raises(OptionError, match="dead_letters must be"):
        Dispatcher(datadog(), dead_letters=wrong)


# --- hooks ----------------------------------------------------------------------------------------


def test_on_outcome_learns_every_fate_in_order(tmp_path: Path) -> None:
    """By destination, with the ids that the calls returned; the last ones come before the end."""
    seen: list[Outcome] = []
    threads: set[threading.Thread] = set()

    def on_outcome(outcome: Outcome) -> None:
        seen.append(outcome)
        threads.add(threading.current_thread())

    answers = iter([202, 400, 202])
    transport = MemoryTransport(lambda request: Response(next(answers, 403)))
    ids: list[str | None] = []

    async def main() -> None:
        async with Dispatcher(
            freshpaint(workers=1), transport=transport, on_outcome=on_outcome
        ) as d:
            ids.extend(d.track("x", user_id="u") for _ in range(3))
            assert await d.flush(PATIENCE)
            ids.extend(d.track("x", user_id="u") for _ in range(2))
            await d.aclose(timeout=3)
            assert dict(d.stats().hook_failures) == dict(d.stats().hook_missed) == {}

    asyncio.run(main())
    assert [(one.fate, one.reason) for one in seen[:3]] == [
        ("delivered", None),
        ("dropped", "refused"),
        ("delivered", None),
    ]
    assert {(one.destination, one.reason) for one in seen[3:]} == {("freshpaint", "shutdown")}
    assert [event_id for one in seen for event_id in one.ids] == ids
    assert threading.main_thread() not in threads


def test_failures_of_hooks_are_in_the_statistics(caplog: pytest.LogCaptureFixture) -> None:
    """Not only in a log line."""

    def broken(*arguments: object) -> None:
        raise ValueError("s3cret")

    async def main() -> None:
        d = Dispatcher(
            freshpaint(),
            transport=answering(400),
            on_drop=broken,
            on_outcome=broken,
            before_send=lambda event: broken() if event.name == "bad" else event,
        )
        async with d:
            assert d.track("bad", user_id="u") is None
            assert d.track("x", user_id="u") is not None
        assert dict(d.stats().hook_failures) == {"before_send": 1, "on_drop": 1, "on_outcome": 1}

    with caplog.at_level(logging.DEBUG, "sendoff"):
        asyncio.run(main())
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("option", ["before_send", "on_drop", "on_outcome"])
def test_a_hook_is_a_plain_function(option: str) -> None:
    """A coroutine function would never be awaited, and anything else cannot be called."""

    async def hook(*arguments: object) -> None:
        raise NotImplementedError

    class Hook:
        async def __call__(self, *arguments: object) -> None:
            raise NotImplementedError

    for wrong in (hook, Hook()):
        with pytest.raises(OptionError, match=f"{option} must be a plain function"):
            Dispatcher(datadog(), **{option: wrong})  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=f"{option} must be callable, not int"):
        Dispatcher(datadog(), **{option: 3})  # type: ignore[arg-type]


def test_on_drop_still_gets_the_event_itself() -> None:
    """Without dead letters everything is as it was."""
    seen: list[DroppedEvent] = []

    async def main() -> None:
        async with Dispatcher(
            freshpaint(), transport=answering(400), on_drop=lambda why, events: seen.extend(events)
        ) as d:
            d.track("x", user_id="u")
            assert await d.flush(PATIENCE)

    asyncio.run(main())
    assert [json.loads(one.body)["event"] for one in seen] == ["x"]
