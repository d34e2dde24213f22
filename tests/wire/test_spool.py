"""
The spool in processes of their own, killed at random instants, with the sink in another one.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.kills import DRAIN, PRODUCER, produce

from sendoff.sink import Settings, SinkProcess

KILLS = 6

WITHOUT_WRITING = """
import types
from sendoff.spool import lane
lane.os = types.SimpleNamespace(**{**vars(lane.os), "write": lambda fd, data: len(data)})
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess(Settings(keep_events=100_000)) as process:
        yield process


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def kill_and_drain(sink: SinkProcess, root: Path, kills: int, before: str = "") -> dict[str, int]:
    """
    Everything that the producers said was accepted, after the last run has sent what was left.
    """
    sink.reset()
    chance = random.Random(5)
    accepted: dict[str, int] = {}
    ends = {"datadog": sink.datadog_endpoint, "freshpaint": sink.freshpaint_endpoint}
    root.mkdir()
    for number in range(kills):
        sink.faults(*(("latency 30ms",), ("503",), ())[number % 3])
        code = PRODUCER.format(
            before=before,
            seed=chance.random(),
            memory=chance.choice((10, 1_000)),
            spool=repr(str(root)),
            **ends,
        )
        accepted |= produce(code, chance.choice((1, chance.randrange(2, 300), 400)))
    sink.faults()
    result = run(DRAIN.format(path=str(root), **ends))
    assert (result.returncode, result.stderr) == (0, "")
    return accepted


def test_what_was_accepted_survives_kill_9(sink: SinkProcess, tmp_path: Path) -> None:
    """Every accepted id arrives at both vendors with its own body; nothing is left on disk."""
    accepted = kill_and_drain(sink, tmp_path / "spool", KILLS)
    assert len(accepted) > KILLS
    for vendor, key in (("datadog", "insert_id"), ("freshpaint", "$insert_id")):
        bodies: dict[str, Any] = {}
        for event in sink.events(vendor):  # type: ignore[arg-type]
            properties = event.get("properties", event)
            # Those that came twice are equal, and those that were reported have their number.
            assert bodies.setdefault(properties[key], event) == event
            assert accepted.get(properties[key], properties["n"]) == properties["n"]
        assert accepted.keys() - bodies.keys() == set()
    assert list((tmp_path / "spool").iterdir()) == []


def test_without_the_write_events_are_lost(sink: SinkProcess, tmp_path: Path) -> None:
    """The same run, with the writing switched off: the test above would notice."""
    accepted = kill_and_drain(sink, tmp_path / "spool", 2, WITHOUT_WRITING)
    assert accepted.keys() - set(sink.ids("freshpaint"))


LIMITED = """
import os, resource
from sendoff import Dispatcher, Freshpaint

resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
dispatcher = Dispatcher(Freshpaint(token="t", endpoint={freshpaint!r}), spool={path!r})
for number in range(100):
    assert dispatcher.track("x", user_id="u", insert_id=f"e-{{number}}") is not None
stats = dispatcher.stats().destinations["freshpaint"]
assert stats.pending == 100 and stats.spool_faults == 1, stats
assert 3_000 < stats.spool_bytes <= 4_096, stats
os._exit(0)  # without the last flush
"""


def test_a_system_that_refuses_a_write_is_borne(sink: SinkProcess, tmp_path: Path) -> None:
    """A real limit on a file's size cuts a write short: nothing raises, and no record is torn."""
    root = tmp_path / "spool"
    values = {"path": str(root), "freshpaint": sink.freshpaint_endpoint}
    result = run(LIMITED.format(**values))
    assert result.returncode == 0, result.stderr
    assert "the spool has a fault" in result.stderr
    sink.reset()
    result = run(DRAIN.format(datadog=sink.datadog_endpoint, **values))
    assert (result.returncode, result.stderr) == (0, "")
    ids = sink.ids("freshpaint")
    assert set(ids) == {f"e-{number}" for number in range(len(ids))}
    assert len(ids) > 10
    assert list(root.iterdir()) == []


FORKED = """
import asyncio, os, signal, sys
from sendoff import Dispatcher, Freshpaint

dispatcher = Dispatcher(Freshpaint(token="t", endpoint={freshpaint!r}), spool={path!r})
for number in range(5):
    dispatcher.track("x", user_id="u", insert_id=f"parent-{{number}}")
read, write = os.pipe()
if os.fork() == 0:
    assert dispatcher.stats().destinations["freshpaint"].pending == 0
    dispatcher.track("x", user_id="u", insert_id="child-0")
    assert len(os.listdir({path!r})) == 2
    os.close(write)
    os.read(read, 1)  # until the parent is dead

    async def main():
        async with dispatcher:
            while dispatcher.stats().destinations["freshpaint"].delivered < 6:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 20))
    print(*sorted(os.listdir({path!r})), "done", flush=True)
    os._exit(0)
os.close(read)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_child_begins_anew_and_holds_no_lock(sink: SinkProcess, tmp_path: Path) -> None:
    """It has a folder of its own; a dead parent's is free to be taken over, by the child too."""
    sink.reset()
    values = {"path": str(tmp_path / "spool"), "freshpaint": sink.freshpaint_endpoint}
    result = run(FORKED.format(**values))
    assert (result.stdout, result.stderr) == ("done\n", "")
    expected = ["child-0", *(f"parent-{number}" for number in range(5))]
    assert sorted(sink.ids("freshpaint")) == expected


HOLDER = """
import os, sys
from sendoff import Dispatcher, Freshpaint

dispatcher = Dispatcher(Freshpaint(token="t"), spool={path!r})
dispatcher.track("x", user_id="u", insert_id="held")
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
"""

OTHER = """
import asyncio
from sendoff import Dispatcher, Freshpaint
import sendoff._refill

sendoff._refill.ADOPT_SECONDS = 0.05

async def main():
    async with Dispatcher(
        Freshpaint(token="t", endpoint={freshpaint!r}), spool={path!r}
    ) as dispatcher:
        await asyncio.sleep(0.2)  # some looks
        print(dispatcher.stats().destinations["freshpaint"].recovered, flush=True)
        input()
        async with asyncio.timeout(20):
            while not dispatcher.stats().destinations["freshpaint"].delivered:
                await asyncio.sleep(0.01)

asyncio.run(main())
"""


def test_a_living_process_keeps_what_is_its_own(sink: SinkProcess, tmp_path: Path) -> None:
    """Another process takes it over when the first one is dead, and not before."""
    sink.reset()
    values = {"path": str(tmp_path / "spool"), "freshpaint": sink.freshpaint_endpoint}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    python = [sys.executable, "-c"]
    with subprocess.Popen([*python, HOLDER.format(**values)], **pipes) as holder:
        assert holder.stdout.readline() == "ready\n"
        with subprocess.Popen([*python, OTHER.format(**values)], **pipes) as other:
            assert other.stdout.readline() == "0\n"
            assert sink.ids("freshpaint") == []
            holder.kill()
            holder.wait()
            other.communicate("\n")
            assert other.returncode == 0
    assert sink.ids("freshpaint") == ["held"]
