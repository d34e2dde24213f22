"""
The spool under a dispatcher: what is accepted is on disk, in order, until it has its fate.

On a real loop and a real disk, because worker threads read.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sendoff import (
    Dispatcher,
    DroppedEvent,
    Freshpaint,
    MemoryTransport,
    OptionError,
    Request,
    Response,
    Retry,
    Spool,
    _exit,
    _refill,
)
from sendoff._batcher import Batch
from sendoff.spool import files, lane
from virtual import datadog, fates

RETRY = Retry(base=0.001, cap=0.01, attempts=1_000_000)


class Vendor:
    """
    Freshpaint, up or down: keeps the ids that arrive, in order, and their bodies.
    """

    def __init__(self) -> None:
        self.status = 200
        self.ids: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.transport = MemoryTransport(self._answer)

    def _answer(self, request: Request) -> Response:
        if self.status == 200:
            event = json.loads(request.body)
            self.ids.append(event["properties"]["$insert_id"])
            self.bodies[self.ids[-1]] = event
        return Response(self.status, body=b"{}")


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk is tried again at once, so that no test waits for a second to go by."""
    monkeypatch.setattr(lane, "RETRY", 0.0)
    yield
    vanish()


def vanish() -> None:
    """
    Has dispatchers that nobody holds let go of their folders, as the end of their process would.
    """
    _exit._exit.kept.clear()
    gc.collect()


def open_one(vendor: Vendor, root: Any, **options: Any) -> Dispatcher:
    options.setdefault("shutdown_timeout", 0.05)
    tuning = {"workers": options.pop("workers", 1), "name": options.pop("name", "freshpaint")}
    destination = Freshpaint(token="t", retry=RETRY, rate_limit=None, **tuning)
    return Dispatcher(destination, transport=vendor.transport, spool=root, **options)


def give(dispatcher: Dispatcher, start: int, stop: int) -> list[str]:
    ids = [f"e-{n}" for n in range(start, stop)]
    for event_id in ids:
        assert dispatcher.track("x", user_id="u", insert_id=event_id) == event_id
    return ids


def leave_behind(vendor: Vendor, root: Path, start: int, stop: int, **options: Any) -> Path:
    """
    Has a dispatcher that never sends accept some events and vanish; its file.

    Not in a running loop, where the first call would start the sending.
    """
    dispatcher = open_one(vendor, root, **options)
    give(dispatcher, start, stop)
    path = max(segments(root), key=lambda one: one.stat().st_mtime_ns)
    del dispatcher
    vanish()
    return path


def stats(dispatcher: Dispatcher, name: str = "freshpaint") -> Any:
    return dispatcher.stats().destinations[name]


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("*-*/*.seg"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def drain(dispatcher: Dispatcher, recovered: int) -> None:
    """
    Waits until so much was taken over, and sent.
    """
    await until(lambda: stats(dispatcher).recovered == recovered)
    assert await dispatcher.flush(10)


# --- from one life to the next --------------------------------------------------------------------


def test_what_was_accepted_is_sent_by_the_next_one(vendor: Vendor, root: Path) -> None:
    """Without any loop, without a close: the next dispatcher sends it, same ids, same order."""

    async def main() -> None:
        async with open_one(vendor, root) as second:
            await drain(second, 20)
            assert fates(second, "freshpaint") == {"delivered": 20}

    first = open_one(vendor, root)
    ids = give(first, 0, 20)
    del first
    vanish()
    asyncio.run(main())
    assert vendor.ids == ids
    assert list(root.iterdir()) == []


def test_a_clean_close_leaves_nothing(vendor: Vendor, root: Path) -> None:
    """Files and folder are gone when every event has its fate; so they are without a close."""

    async def main(*, close: bool) -> None:
        dispatcher = open_one(vendor, root, shutdown_timeout=5)
        await dispatcher.start()
        give(dispatcher, 0, 5)
        assert len(segments(root)) == 1
        if close:
            assert await dispatcher.aclose()

    asyncio.run(main(close=True))
    assert list(root.iterdir()) == []
    asyncio.run(main(close=False))
    assert list(root.iterdir()) == []
    assert len(vendor.ids) == 10


def test_what_a_close_leaves_stays_for_the_next_start(
    vendor: Vendor, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is pending, in the report and in the log; not dropped, and not shown to `on_drop`."""
    shown: list[Any] = []
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, on_drop=lambda *args: shown.append(args))
        await dispatcher.start()
        ids = give(dispatcher, 0, 30)
        report = await dispatcher.aclose(timeout=0.05)
        assert dict(report.left) == {"freshpaint": 30}
        assert f"events are left at the end: freshpaint 30 (kept in {root})" in caplog.messages
        assert fates(dispatcher, "freshpaint") == {"pending": 30}
        queue = dispatcher._intakes[0].queue
        assert (queue.held_events, queue.held_bytes, len(queue)) == (0, 0, 0)
        # A second close is over at once, and says the same.
        assert dict((await dispatcher.aclose(timeout=50)).left) == {"freshpaint": 30}
        vendor.status = 200
        await dispatcher.start()
        ids += give(dispatcher, 30, 35)
        assert await dispatcher.aclose(timeout=5)
        assert fates(dispatcher, "freshpaint") == {"delivered": 35}
        assert vendor.ids == ids

    asyncio.run(main())
    assert shown == []
    assert list(root.iterdir()) == []


def test_a_folder_in_use_is_nobody_elses(vendor: Vendor, root: Path) -> None:
    """What a living dispatcher keeps is its own, also after its close, until it is collected."""
    vendor.status = 503

    async def main() -> None:
        first = open_one(vendor, root)
        await first.start()
        give(first, 0, 3)
        await first.aclose(timeout=0)
        vendor.status = 200
        async with open_one(vendor, root) as second:
            await asyncio.sleep(0.1)
            assert stats(second).submitted == 0
        del first
        vanish()
        async with open_one(vendor, root) as third:
            await drain(third, 3)

    asyncio.run(main())
    assert vendor.ids == ["e-0", "e-1", "e-2"]


def test_only_the_same_destination_takes_over(
    vendor: Vendor, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files of a destination that is not here are left alone, said once, and free for others."""

    async def main() -> None:
        async with open_one(vendor, root, name="two") as two:
            await until(lambda: stats(two, "two").delivered == 2)
            assert len(segments(root)) == 1
        assert sum("is of a destination that is not here" in line for line in caplog.messages) == 1
        async with open_one(vendor, root, name="one") as one:
            await until(lambda: stats(one, "one").delivered == 2)

    for name in ("one", "two"):
        leave_behind(vendor, root, 0, 2, name=name)
    asyncio.run(main())
    assert list(root.iterdir()) == []


# --- beyond the memory ----------------------------------------------------------------------------


def test_the_queue_goes_on_on_disk(vendor: Vendor, root: Path) -> None:
    """Beyond the memory's bounds nothing overflows: it is sent in order, and flushes are exact."""
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, max_queue_events=10, shutdown_timeout=5)
        queue = dispatcher._intakes[0].queue
        await dispatcher.start()
        ids = give(dispatcher, 0, 2_000)
        assert fates(dispatcher, "freshpaint") == {"pending": 2_000}
        assert (queue.held_events, stats(dispatcher).pending_bytes > 2_000 * 100) == (10, True)
        flush = asyncio.create_task(dispatcher.flush())
        await asyncio.sleep(0)
        ids += give(dispatcher, 2_000, 2_100)
        vendor.status = 200
        most = 0
        while not flush.done():
            most = max(most, queue.held_events)
            await asyncio.sleep(0)
        assert await flush
        assert 2_000 <= stats(dispatcher).delivered < 2_100
        assert most <= 10
        assert await dispatcher.aclose()
        assert vendor.ids == ids

    asyncio.run(main())


def test_the_bytes_of_the_memory_bound_what_is_read_back(vendor: Vendor, root: Path) -> None:
    """Large events come back one by one; one larger than the memory goes alone."""

    first = open_one(vendor, root, max_queue_events=1)
    for n in range(20):
        assert first.track("x", user_id="u", insert_id=f"e-{n}", properties={"t": "x" * 3_000})
    del first
    vanish()

    async def main() -> None:
        async with open_one(vendor, root, max_queue_bytes=1_000) as dispatcher:
            await drain(dispatcher, 20)

    asyncio.run(main())
    assert vendor.ids == [f"e-{n}" for n in range(20)]


def test_files_go_as_their_events_have_gone(vendor: Vendor, root: Path) -> None:
    """Full files are deleted one by one; `spool_bytes` is what is on disk."""
    vendor.status = 503

    async def main() -> None:
        options = Spool(root, segment_bytes=2_000)
        dispatcher = open_one(vendor, options, max_queue_events=5, shutdown_timeout=5)
        await dispatcher.start()
        give(dispatcher, 0, 200)
        before = len(segments(root))
        on_disk = sum(path.stat().st_size for path in root.glob("*/*"))
        assert (before > 10, stats(dispatcher).spool_bytes) == (True, on_disk)
        vendor.status = 200
        await until(lambda: stats(dispatcher).delivered > 100)
        assert len(segments(root)) < before
        assert await dispatcher.aclose()
        assert stats(dispatcher).spool_bytes == 0

    asyncio.run(main())


def test_a_full_spool_drops_the_new_event(vendor: Vendor, root: Path) -> None:
    """For `spool_full`, shown to `on_drop`; when events have gone there is room again."""
    shown: list[DroppedEvent] = []
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(
            vendor,
            Spool(root, max_bytes=8_192),
            on_drop=lambda reason, events: shown.extend(events),
            shutdown_timeout=5,
        )
        await dispatcher.start()
        taken = [dispatcher.track("x", user_id="u") for _ in range(100)]
        kept = [one for one in taken if one is not None]
        assert 20 < len(kept) < 60
        assert taken == kept + [None] * (100 - len(kept))
        assert stats(dispatcher).spool_bytes <= 8_192
        assert fates(dispatcher, "freshpaint") == {
            "pending": len(kept),
            "dropped": {"spool_full": 100 - len(kept)},
        }
        vendor.status = 200
        assert await dispatcher.flush(5)
        kept += give(dispatcher, 0, 10)
        assert await dispatcher.aclose()
        assert vendor.ids == kept

    asyncio.run(main())
    assert len(shown) == 100 - stats_len(vendor)


def stats_len(vendor: Vendor) -> int:
    return len([one for one in vendor.ids if not one.startswith("e-")])


def test_a_write_under_way_is_not_taken_for_damage(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back while another thread has written half of a record is read again."""
    real_write, real_read = os.write, _refill.read_window
    half, whole = threading.Event(), threading.Event()
    others: list[threading.Thread] = []
    vendor.status = 503

    def write(fd: int, data: bytes) -> int:
        if threading.current_thread() not in others:
            return real_write(fd, data)
        written = real_write(fd, data[:40])
        half.set()
        assert whole.wait(10)
        return written + real_write(fd, data[40:])

    def read(path: str, at: int, window: int) -> Any:
        if others:
            return real_read(path, at, window)
        others.append(threading.Thread(target=give, args=(dispatcher, 20, 21)))
        others[0].start()
        assert half.wait(10)
        dispatcher._intakes[0].queue.max_events = 100  # room for all that is read
        try:
            return real_read(path, at, 2**20)
        finally:
            whole.set()

    monkeypatch.setattr(files.os, "write", write)
    monkeypatch.setattr(_refill, "read_window", read)
    dispatcher = open_one(vendor, root, max_queue_events=4, shutdown_timeout=5)

    async def main() -> None:
        await dispatcher.start()
        give(dispatcher, 0, 20)
        vendor.status = 200
        await until(lambda: whole.is_set() and not others[0].is_alive())
        assert await dispatcher.aclose()

    asyncio.run(main())
    assert vendor.ids == [f"e-{n}" for n in range(21)]
    assert fates(dispatcher, "freshpaint") == {"delivered": 21}


# --- a disk that does not want --------------------------------------------------------------------


def test_a_path_that_is_no_folder_costs_nothing_but_the_spool(
    vendor: Vendor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Events are in memory alone; the fault is counted, said, and mended by itself."""
    (tmp_path / "file").write_text("")

    async def main() -> None:
        dispatcher = open_one(vendor, tmp_path / "file" / "spool", max_queue_events=10)
        give(dispatcher, 0, 10)
        assert dispatcher.track("x", user_id="u") is None
        assert fates(dispatcher, "freshpaint") == {"pending": 10, "dropped": {"overflow": 1}}
        assert stats(dispatcher).spool_faults == 11
        assert [line for line in caplog.messages if "spool" in line] == [
            "freshpaint: the spool has a fault (ENOTDIR); what cannot be written is in memory alone"
        ]
        (tmp_path / "file").unlink()
        give(dispatcher, 20, 25)
        assert len(segments(tmp_path / "file" / "spool")) == 1
        await dispatcher.aclose(timeout=0)
        # Five are on disk; what was in memory alone is gone with the close, as without a spool.
        assert fates(dispatcher, "freshpaint") == {
            "pending": 5,
            "dropped": {"overflow": 1, "shutdown": 10},
        }

    vendor.status = 503
    asyncio.run(main())


def test_events_that_the_disk_refused_keep_their_turn(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event in memory alone waits behind those that are on disk alone, and flushes are exact."""
    real = os.write
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, max_queue_events=10, shutdown_timeout=5)
        await dispatcher.start()
        ids = give(dispatcher, 0, 40)
        await until(lambda: stats(dispatcher).requests)
        dispatcher._intakes[0].queue.max_events = 13  # some room in memory
        monkeypatch.setattr(files.os, "write", full_disk)
        ids += give(dispatcher, 40, 43)
        monkeypatch.setattr(files.os, "write", real)
        flush = asyncio.create_task(dispatcher.flush())
        await asyncio.sleep(0)
        ids += give(dispatcher, 43, 60)
        assert fates(dispatcher, "freshpaint") == {"pending": 60}
        assert stats(dispatcher).in_flight == 1
        vendor.status = 200
        assert await flush
        assert 43 <= stats(dispatcher).delivered < 60
        assert await dispatcher.aclose()
        assert vendor.ids == ids

    def full_disk(fd: int, data: bytes) -> int:
        # Half of it fits, as on a disk that is full.
        return real(fd, data[: len(data) // 2])

    asyncio.run(main())


def test_a_write_that_was_cut_short_is_cut_back(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes on as if nothing had been; nobody ever finds damage there."""
    real = os.write

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 4)
            assert stats(dispatcher).damaged == 0

    first = open_one(vendor, root)
    give(first, 0, 2)
    size = segments(root)[0].stat().st_size
    monkeypatch.setattr(files.os, "write", lambda fd, data: real(fd, data[:30]))
    give(first, 2, 3)
    assert segments(root)[0].stat().st_size == size
    monkeypatch.setattr(files.os, "write", real)
    give(first, 3, 5)
    assert len(segments(root)) == 1
    del first
    vanish()
    asyncio.run(main())
    assert vendor.ids == ["e-0", "e-1", "e-3", "e-4"]


@pytest.mark.parametrize("when", ["write", "fstat"])
def test_what_is_written_behind_a_torn_write_stays_there(
    when: str, vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler's event comes between a write that was cut short and its cutting back."""
    real = {name: getattr(os, name) for name in ("write", "fstat")}
    first = open_one(vendor, root)
    give(first, 0, 2)
    handler = [partial(give, first, 3, 4)]  # gone when it was called, and the dispatcher with it
    torn: list[int] = []

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(files.os, "write", real["write"])
        torn.append(real["write"](fd, data[:30]))
        if when == "write":
            handler.pop()()
        return torn[0]

    def fstat(fd: int) -> os.stat_result:
        seen: os.stat_result = real["fstat"](fd)
        if torn:
            monkeypatch.setattr(files.os, "fstat", real["fstat"])
            if when == "fstat":
                handler.pop()()
        return seen

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 3)

    monkeypatch.setattr(files.os, "write", write)
    monkeypatch.setattr(files.os, "fstat", fstat)
    give(first, 2, 3)
    assert torn
    assert stats(first).spool_bytes == segments(root)[0].stat().st_size
    del first
    vanish()
    asyncio.run(main())
    assert vendor.ids == ["e-0", "e-1", "e-3"]


def test_what_is_written_during_an_acknowledgement_counts(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool knows its bytes, whenever a signal handler's event comes."""
    real = os.write
    dispatcher = open_one(vendor, root)
    give(dispatcher, 0, 2)
    intake = dispatcher._intakes[0]
    body, event_id, place = intake.queue.take_one()

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(files.os, "write", real)
        give(dispatcher, 2, 3)
        return real(fd, data)

    monkeypatch.setattr(files.os, "write", write)
    intake.delivered(Batch([body], [event_id], 0, None, [place or 0]))
    on_disk = sum(one.stat().st_size for one in root.glob("*/*.[sa]*"))
    assert stats(dispatcher).spool_bytes == on_disk


def test_what_cannot_be_cut_back_stays_behind(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a new file begins, and the torn piece hides nothing."""
    real = os.write

    def refuse(*_: object) -> None:
        raise OSError(5, "no")

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 4)
            assert stats(dispatcher).damaged == 1

    first = open_one(vendor, root)
    give(first, 0, 2)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", lambda fd, data: real(fd, data[:30]))
        patch.setattr(files.os, "ftruncate", refuse)
        give(first, 2, 3)
    give(first, 3, 5)
    assert len(segments(root)) == 2
    del first
    vanish()
    asyncio.run(main())
    assert vendor.ids == ["e-0", "e-1", "e-3", "e-4"]


def test_a_deleted_folder_is_noticed(vendor: Vendor, root: Path) -> None:
    """What is in memory goes on, a new folder is made, what was on disk alone is counted."""
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, max_queue_events=10, shutdown_timeout=5)
        await dispatcher.start()
        give(dispatcher, 0, 30)
        folder = segments(root)[0].parent
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        root.rmdir()
        assert dispatcher.track("x", user_id="u") is None  # noticed here; the memory is full
        give(dispatcher, 40, 45)
        assert len(segments(root)) == 1
        vendor.status = 200
        assert await dispatcher.flush(5)
        assert fates(dispatcher, "freshpaint") == {
            "delivered": 15,
            "dropped": {"spool_damaged": 20, "overflow": 1},
        }
        assert stats(dispatcher).spool_faults > 0
        assert await dispatcher.aclose()

    asyncio.run(main())
    assert list(root.iterdir()) == []


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_damaged_file_costs_what_is_damaged(
    vendor: Vendor, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is sent, the damage counted and said, the file kept aside."""
    path = leave_behind(vendor, root, 0, 10)
    data = path.read_bytes()
    flip(path, data.index(b"e-3"))
    path.write_bytes(path.read_bytes()[:-5])  # and torn

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 8)
            assert stats(dispatcher).damaged == 2

    asyncio.run(main())
    assert vendor.ids == [f"e-{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8)]
    assert [path.parent.name for path in root.rglob("*.seg")] == ["damaged"]
    assert [line for line in caplog.messages if "damaged" in line] == [
        f"freshpaint: the spool was damaged in 2 places; the files are kept aside in {root}/damaged"
    ]


def test_a_damaged_header_hides_nothing(vendor: Vendor, root: Path) -> None:
    """The file's name knows its destination, too."""
    flip(leave_behind(vendor, root, 0, 3), 3)

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 3)

    asyncio.run(main())
    assert vendor.ids == ["e-0", "e-1", "e-2"]


def test_strangers_in_the_folder_are_left_alone(vendor: Vendor, root: Path) -> None:
    """Files, folders and links that are not ours, and files of a later version."""
    path = leave_behind(vendor, root, 0, 1)
    later = bytearray(path.read_bytes())
    later[len(b"\xffsendoff-spool\n") + 1] = 2
    from sendoff.spool import record

    text = b"freshpaint"
    check = record.crc32(text, record.crc32(b"\x00\x02" + len(text).to_bytes(2, "big")))
    later[19:23] = check.to_bytes(4, "big")
    path.write_bytes(later)
    (root / "notes.txt").write_text("mine")
    (root / "123-0123456789abcdef").write_text("a file with a folder's name")
    (root / "link").symlink_to("/")
    (path.parent / "notes.txt").write_text("mine")

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            give(dispatcher, 5, 7)
            assert await dispatcher.flush()
            await asyncio.sleep(0.05)
            assert stats(dispatcher).spool_faults == stats(dispatcher).recovered == 0

    asyncio.run(main())
    assert vendor.ids == ["e-5", "e-6"]
    assert path.read_bytes() == later
    assert len(list(root.iterdir())) == 4


def test_damaged_files_are_kept_within_bounds(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first."""
    from sendoff.spool import folder

    monkeypatch.setattr(folder, "MAX_DAMAGED", 500)

    async def main() -> None:
        async with open_one(vendor, root, shutdown_timeout=5) as dispatcher:
            await drain(dispatcher, 1)

    for start in range(4):
        path = leave_behind(vendor, root, start, start + 2)
        path.write_bytes(path.read_bytes()[:-1])
        os.utime(path, (start, start))
        asyncio.run(main())
    kept = list((root / "damaged").iterdir())
    assert 0 < sum(path.stat().st_size for path in kept) <= 500
    assert min(path.stat().st_mtime for path in kept) == 4 - len(kept)


def test_an_event_that_cannot_be_read_back_has_a_fate(vendor: Vendor, root: Path) -> None:
    """It is dropped for `spool_damaged`; those around it go, and a flush ends."""
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, max_queue_events=4, shutdown_timeout=5)
        await dispatcher.start()
        ids = give(dispatcher, 0, 40)
        path = segments(root)[0]
        data = path.read_bytes()
        for event_id in (b"e-10", b"e-11", b"e-39"):
            flip(path, data.index(event_id))
        flush = asyncio.create_task(dispatcher.flush())
        await asyncio.sleep(0)
        vendor.status = 200
        assert await flush
        assert fates(dispatcher, "freshpaint") == {
            "delivered": 37,
            "dropped": {"spool_damaged": 3},
        }
        assert await dispatcher.aclose()
        lost = {"e-10", "e-11", "e-39"}
        assert vendor.ids == [one for one in ids if one not in lost]

    asyncio.run(main())
    assert [path.parent.name for path in root.rglob("*.seg")] == ["damaged"]


# --- the call -------------------------------------------------------------------------------------


def test_a_call_that_interrupts_a_write_loses_nothing(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may track an event at any instant of another call, at a file's end too."""
    real = os.write
    dispatcher = open_one(vendor, Spool(root, segment_bytes=1_024), max_queue_events=3)
    inner: list[str] = []
    depth = 0

    def interrupted(fd: int, data: bytes) -> int:
        nonlocal depth
        depth += 1
        if depth == 1:
            for _ in range(7):
                inner.extend(give(dispatcher, 1_000 + len(inner), 1_001 + len(inner)))
        depth -= 1
        return real(fd, data)

    monkeypatch.setattr(files.os, "write", interrupted)
    ids = give(dispatcher, 0, 30)
    monkeypatch.setattr(files.os, "write", real)
    assert stats(dispatcher).spool_faults == 0

    async def main() -> None:
        async with dispatcher:
            assert await dispatcher.flush(10)

    asyncio.run(main())
    assert sorted(vendor.ids) == sorted(ids + inner)
    assert list(root.iterdir()) == []


def test_construction_touches_no_disk(vendor: Vendor, tmp_path: Path) -> None:
    """The folder is made by the first accepted event, for the owner alone."""
    root = tmp_path / "a" / "spool"
    dispatcher = open_one(vendor, str(root))
    dispatcher.track("", user_id="u")
    assert not root.parent.exists()
    give(dispatcher, 0, 1)
    path = segments(root)[0]
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (root, path.parent, path)]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("spool", "words"),
    [
        (3, "Spool.path must be a str or a Path, not int"),
        ("", "Spool.path must be the path of a folder, not ''"),
        ("a\0b", "Spool.path must be the path of a folder"),
        (b"bytes", "Spool.path must be a str or a Path, not bytes"),
    ],
)
def test_a_wrong_path_is_said_at_construction(vendor: Vendor, spool: Any, words: str) -> None:
    """The message names the option and the limit."""
    with pytest.raises(OptionError, match=words):
        open_one(vendor, spool)


def test_only_posix_has_the_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is said at construction."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        with pytest.raises(OptionError, match="spool needs a POSIX system"):
            Spool("spool")


def test_an_error_of_the_reading_stops_nothing(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted and tried again; what is in memory goes on meanwhile."""
    failures = [OSError(5, "no"), ValueError("what?")]
    real = _refill.read_window

    def read(path: str, at: int, window: int) -> Any:
        if failures:
            raise failures.pop()
        return real(path, at, window)

    monkeypatch.setattr(_refill, "read_window", read)
    monkeypatch.setattr(_refill, "RETRY_SECONDS", 0)
    vendor.status = 503

    async def main() -> None:
        dispatcher = open_one(vendor, root, max_queue_events=4, shutdown_timeout=5)
        await dispatcher.start()
        ids = give(dispatcher, 0, 10)
        vendor.status = 200
        assert await dispatcher.flush(5)
        assert (vendor.ids, stats(dispatcher).spool_faults) == (ids, 2)
        assert await dispatcher.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "option",
    [
        {"max_bytes": 4_095},
        {"max_bytes": 1e9},
        {"segment_bytes": 1_023},
        {"segment_bytes": 2**28 + 1},
        {"fsync": "sometimes"},
        {"fsync": 0},
        {"fsync": True},
    ],
)
def test_a_wrong_option_is_named(option: dict[str, Any], root: Path) -> None:
    """Each option of `Spool` has its limits."""
    with pytest.raises(OptionError, match=f"Spool.{next(iter(option))} must be"):
        Spool(root, **option)


def test_fsync_is_done_as_often_as_asked(
    vendor: Vendor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each call, now and then while a loop runs, or never."""
    synced: list[int] = []
    monkeypatch.setattr(lane.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))

    async def main(fsync: Any) -> list[int]:
        vendor.status = 503
        dispatcher = open_one(vendor, Spool(root, fsync=fsync), shutdown_timeout=5)
        give(dispatcher, 0, 3)
        found = [one for one in synced if one != root.stat().st_size]
        await dispatcher.start()
        if fsync == 0.01:
            synced.clear()
            await until(lambda: len(synced) >= 2)
            found = [*synced[:2]]
        vendor.status = 200
        assert await dispatcher.aclose()
        synced.clear()
        return found

    assert len(set(asyncio.run(main("always")))) >= 3
    now_and_then = asyncio.run(main(0.01))
    assert now_and_then[0] == now_and_then[1] > 0
    assert asyncio.run(main("never")) == []


@pytest.mark.slow
def test_no_descriptor_is_left_open(vendor: Vendor, root: Path) -> None:
    """Neither by dispatchers that were closed with everything sent, nor by those that kept some."""

    async def main() -> int:
        for number in range(8):
            vendor.status = 503 if number % 2 else 200
            dispatcher = open_one(vendor, Spool(root, segment_bytes=1_024), max_queue_events=5)
            await dispatcher.start()
            give(dispatcher, 0, 20)
            await dispatcher.aclose(timeout=0 if number % 2 else 5)
            del dispatcher
            vanish()
        return len(os.listdir("/dev/fd"))

    async def first() -> int:
        async with open_one(vendor, root) as dispatcher:
            give(dispatcher, 0, 1)
        del dispatcher
        vanish()
        return len(os.listdir("/dev/fd"))

    before = asyncio.run(first())
    assert asyncio.run(main()) == before


def test_two_destinations_share_a_spool(vendor: Vendor, root: Path) -> None:
    """Each has its own files and its own fates."""
    transport = MemoryTransport(lambda request: Response(202 if b"app" in request.body else 503))

    async def main() -> None:
        dispatcher = Dispatcher(
            datadog(flush_interval=0, retry=RETRY),
            Freshpaint(token="t", retry=RETRY),
            transport=transport,
            spool=root,
        )
        await dispatcher.start()
        give(dispatcher, 0, 9)
        report = await dispatcher.aclose(timeout=0.2)
        assert dict(report.left) == {"freshpaint": 9}
        assert fates(dispatcher, "datadog") == {"delivered": 9}
        assert (stats(dispatcher, "datadog").spool_bytes, len(segments(root))) == (0, 1)

    asyncio.run(main())
