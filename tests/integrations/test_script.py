"""
Scripts: what the block's end reports and says, and the example.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.live_sync import EXAMPLES, Memory, a_sink, arrived_once, environment, in_memory
from sendoff import Dispatcher, Freshpaint, MemoryTransport, OptionError, Response
from sendoff.integrations.script import Script
from sendoff.sink import SinkProcess

memory = pytest.fixture(in_memory)
sink = pytest.fixture(scope="module")(a_sink)


def test_the_end_has_sent_everything(memory: Memory) -> None:
    """The report is truthy, and nobody is told anything; the block can be had again."""
    said: list[str] = []
    script = Script(memory.dispatcher, say=said.append)
    for round_ in (1, 2):
        with script as same:
            assert same is script
            assert script.report is None
            memory.dispatcher.track("x", device_id="d")
        assert script.report
        assert len(memory.sent) == round_
    assert said == []


def test_in_a_loop_too() -> None:
    """`async with` does the same where there is a loop."""
    transport = MemoryTransport()
    dispatcher = Dispatcher(Freshpaint(token="t"), transport=transport)
    said: list[str] = []

    async def main() -> Script:
        async with Script(dispatcher, say=said.append) as script:
            dispatcher.track("x", device_id="d")
            dispatcher.track("x")
        return script

    assert asyncio.run(main()).report
    assert len(transport.requests) == 1
    assert said == ["freshpaint: 1 delivered, 1 rejected (missing_identity)"]


def test_what_did_not_arrive_is_said(memory: Memory) -> None:
    """By what became of it, and only of what was given in the block."""
    said: list[str] = []
    memory.dispatcher.track("before")
    with Script(memory.dispatcher, say=said.append):
        memory.dispatcher.track("x")
        memory.dispatcher.track("x")
    assert said == ["freshpaint: 0 delivered, 2 rejected (missing_identity)"]
    with Script(memory.dispatcher, say=said.append) as script:
        assert not script.complete
        memory.dispatcher.track("x", device_id="d")
    assert script.complete
    memory.transport.answer = lambda _: Response(503)
    with Script(memory.dispatcher, timeout=0.05, say=said.append) as script:
        memory.dispatcher.track("x", device_id="d")
    assert script.report is not None
    assert dict(script.report.left) == {"freshpaint": 1}
    assert not script.complete
    assert said[1:] == ["freshpaint: 0 delivered, 1 dropped (shutdown)"]


def test_what_is_given_up_is_not_complete(memory: Memory) -> None:
    """Nothing may be left and yet not everything have arrived: a script's exit status says so."""
    memory.transport.answer = lambda _: Response(400)
    with Script(memory.dispatcher, say=lambda _: None) as script:
        memory.dispatcher.track("x", device_id="d")
    assert (bool(script.report), script.complete) == (True, False)


def test_what_a_spool_keeps_is_said(tmp_path: Path) -> None:
    """It is not lost: the next start sends it."""
    down = MemoryTransport(lambda _: Response(503))
    memory = Memory(spool=tmp_path / "spool", dead_letters=tmp_path / "letters")
    memory.transport.answer = down.answer
    said: list[str] = []
    with Script(memory.dispatcher, timeout=0.05, say=said.append) as script:
        memory.dispatcher.track("x", device_id="d")
    assert not script.report
    assert said == ["freshpaint: 0 delivered, 1 kept for the next start"]


def test_what_the_block_raises_passes_through(memory: Memory) -> None:
    """And what it had given before is sent."""
    script = Script(memory.dispatcher)

    def fail() -> None:
        with script:
            memory.dispatcher.track("x", device_id="d")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert script.report
    assert len(memory.sent) == 1


def test_what_cannot_work_is_refused(memory: Memory) -> None:
    """A timeout below 0, nothing to call, and `with` around one that needs a loop."""
    with pytest.raises(OptionError, match="dispatcher must be a Dispatcher, not str"):
        Script("dispatcher")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="timeout must be"):
        Script(memory.dispatcher, timeout=-1)
    with pytest.raises(OptionError, match="say must be callable"):
        Script(memory.dispatcher, say="stderr")  # type: ignore[arg-type]
    with (
        pytest.raises(TypeError, match="use `async with`"),
        Script(Dispatcher(Freshpaint(token="t"))),
    ):
        pass


def test_the_example_counts_every_line(sink: SinkProcess, tmp_path: Path) -> None:
    """Each line's event is at both vendors when the script ends, with 0; with 1 if any is left."""
    orders = {f"o-{number}" for number in range(200)}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(EXAMPLES / "script.py")],
            input="\n".join(orders),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(sink, **more),
            timeout=60,
            check=False,
        )

    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    arrived_once(sink, orders)
    failed = run(FRESHPAINT_TOKEN="")
    assert (failed.returncode, "FRESHPAINT_TOKEN" in failed.stderr) == (1, True)
