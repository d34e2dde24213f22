"""
Any order of calls, faults, ends and starts: the dispatcher's ledger agrees with the vendors' books
and the caller's at every step, and in the end every event has its one fate.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sendoff import Retry, Spool, _spooled
from sendoff.spool import files
from world import FAULTS, NAMES, World, worker_threads_in_place

pytestmark = pytest.mark.slow

KINDS = ("plain", "plain", "identify", "payload", "large", "nobody", "device", "no mapping")
SHUTDOWN = 3.0
SLACK = 0.5
"""Virtual seconds that an end may take beyond its deadline."""

names = st.sampled_from(NAMES)
seconds = st.sampled_from((0.0, 0.01, 0.3, 1.0, 5.0, 60.0))
options = st.fixed_dictionaries(
    {
        "both": st.fixed_dictionaries(
            {
                "rate_limit": st.sampled_from((None, 3, 20)),
                "workers": st.integers(1, 4),
                "timeout": st.sampled_from((1.0, 30.0)),
                "retry": st.builds(
                    Retry,
                    attempts=st.sampled_from((1, 3, 10)),
                    max_elapsed=st.sampled_from((10.0, 600.0)),
                    hold_interval=st.just(5.0),
                ),
            }
        ),
        "datadog": st.fixed_dictionaries(
            {
                "max_batch_bytes": st.sampled_from((1_000, 3_000)),
                "max_batch_events": st.sampled_from((None, 1, 4)),
            }
        ),
        "dispatcher": st.fixed_dictionaries(
            {
                "max_queue_events": st.sampled_from((2, 10, 100)),
                "max_queue_bytes": st.sampled_from((1_500, 100_000)),
                "overflow": st.sampled_from(("drop_newest", "drop_oldest")),
                "shutdown_timeout": st.just(SHUTDOWN),
            }
        ),
        "small": st.sampled_from((300, 900)),
    }
)
modes = st.fixed_dictionaries({name: st.sampled_from(FAULTS) for name in NAMES})
spools = st.fixed_dictionaries(
    {
        "max_bytes": st.sampled_from((4_096, 2**20)),
        "segment_bytes": st.sampled_from((1_024, 2**16)),
    }
)


class Machine(RuleBasedStateMachine):
    spooled = False

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(worker_threads_in_place())
        self.world: World
        self._expected: dict[str, int] = {}  # what this life must take over
        self._unread = False  # the life before has perhaps not taken over all
        self.stalls = 0  # times that our loop stood still while another one ran
        self.longest = 0.0  # timeout of a close that this loop may be busy with

    @initialize(options=options, modes=modes)
    def begin(self, options: dict[str, Any], modes: dict[str, str]) -> None:
        self.world = World(options)
        self._turn_to(modes)

    def _turn_to(self, modes: dict[str, str]) -> None:
        for name, mode in modes.items():
            self.world.vendors[name].mode = mode

    # --- calls ------------------------------------------------------------------------------------

    @rule(times=st.integers(1, 12), to=st.none() | names)
    def track(self, times: int, to: str | None) -> None:
        for _ in range(times):
            self._call("plain", to, "loop")

    @rule(
        kind=st.sampled_from(KINDS),
        times=st.sampled_from((1, 3, 12)),
        to=st.none() | names,
        where=st.sampled_from(("loop", "nowhere", "thread", "later", "other loop")),
    )
    def call(self, kind: str, times: int, to: str | None, where: str) -> None:
        for _ in range(times):
            self._call(kind, to, where)

    @rule(to=st.none() | names, among=st.integers(0, 6))
    def poison(self, to: str | None, among: int) -> None:
        """An event that the vendor refuses, among others that it takes."""
        for place in range(7):
            self._call("poison" if place == among else "plain", to, "loop")

    def _call(self, kind: str, to: str | None, where: str) -> None:
        world, life = self.world, self.world.life
        world.number += 1
        call = kind, world.number, to
        match where:
            case "loop":
                world.run(_within(life.call, *call))
            case "nowhere":
                life.call(*call)
            case "thread":
                life.call_in_thread(*call)
            case "later":
                world.loop.call_later(0.4, life.call, *call)
            case _:
                self._in_other_loop(_within(life.call, *call))

    def _in_other_loop(self, coroutine: Any) -> Any:
        """A loop that ends at once, as `asyncio.run` does, with ours open beside it."""
        ours = self.world.loop
        other = World.new_loop(ours.time())
        with asyncio.Runner(loop_factory=lambda: other) as runner:
            result = runner.run(coroutine)
        ours.catch_up(other.time())
        self.stalls += 1
        return result

    # --- faults and time --------------------------------------------------------------------------

    @rule(modes=modes)
    def turn_to(self, modes: dict[str, str]) -> None:
        self._turn_to(modes)

    @rule(name=names, script=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4))
    def for_the_next_requests(self, name: str, script: list[str]) -> None:
        self.world.vendors[name].next.extend(script)

    @rule()
    def break_the_line(self) -> None:
        self.world.life.transport.broken += 1

    @rule(seconds=seconds)
    def let_time_pass(self, seconds: float) -> None:
        self.world.run(asyncio.sleep(seconds))

    # --- starts and ends --------------------------------------------------------------------------

    @rule()
    def start(self) -> None:
        self.world.run(self._start())

    @rule(timeout=seconds)
    def flush(self, timeout: float) -> None:
        self.world.run(self._flush(timeout))

    @rule(timeout=seconds)
    def aclose(self, timeout: float) -> None:
        # An earlier close's deadline stands.
        alone = not self.world.busy() and not self.longest
        report = self.world.run(self._aclose(timeout))
        if alone and not self.world.busy():
            self.longest = 0.0
            left = self.world.life.pending()
            most = sum(report.left.values()) if self.spooled else 0
            assert left <= most, f"{left} pending after a close: {report}"

    @rule(verb=st.sampled_from(("start", "flush", "aclose")), timeout=seconds)
    def begin_to(self, verb: str, timeout: float) -> None:
        """In a task of its own, beside whatever comes next."""
        started = {"start": self._start, "flush": self._flush, "aclose": self._aclose}[verb]
        self.world.background(started(timeout))
        self.world.run(asyncio.sleep(0))  # nobody would await it if the loop were cut now

    @precondition(lambda self: self.world.busy())
    @rule()
    def lose_patience(self) -> None:
        for task in self.world.tasks:
            task.cancel()
        self.world.run(asyncio.sleep(0))

    @rule(timeout=seconds, verb=st.sampled_from(("flush", "aclose")))
    def ask_from_another_loop(self, timeout: float, verb: str) -> None:
        """Ours does not turn meanwhile, so nothing can come of it but a report in time."""
        if verb == "flush":
            self._in_other_loop(self._flush(timeout))
        else:
            self._in_other_loop(self._aclose(timeout))

    @rule()
    def end_the_loop(self) -> None:
        took, most = self.world.end_loop(), max(SHUTDOWN, self.longest) + SLACK
        assert took <= most, f"the loop took {took} to end"
        self.longest = 0.0

    @rule()
    def close_the_loop(self) -> None:
        self.world.cut_loop()
        self.longest = 0.0

    async def _start(self, _: float = 0.0) -> None:
        life, loop = self.world.life, asyncio.get_running_loop()
        was_broken = life.transport.broken
        life.closed = None
        alone = not self.world.busy()
        await life.dispatcher.start()
        if alone and not self.world.busy() and loop is self.world.loop and not was_broken:
            life.closed = False

    async def _flush(self, timeout: float) -> None:
        life, loop = self.world.life, asyncio.get_running_loop()
        begun, stalls, calls = loop.time(), self.stalls, sum(life.calls.values())
        recovered = life.recovered()
        report = await life.dispatcher.flush(timeout)
        took, left = loop.time() - begun, life.pending()
        in_time = took <= timeout + SLACK or self.stalls > stalls
        life.require(in_time, f"a flush of {timeout} took {took}")
        later = sum(life.calls.values()) - calls + life.recovered() - recovered
        life.require(not report or left <= later, f"a flush forgot {left - later}")

    async def _aclose(self, timeout: float) -> Any:
        life, loop = self.world.life, asyncio.get_running_loop()
        begun, stalls = loop.time(), self.stalls
        self.longest = max(self.longest, timeout)
        life.closed = None if self.world.busy() else True
        report = await life.dispatcher.aclose(timeout)
        took = loop.time() - begun
        in_time = took <= timeout + SLACK or self.stalls > stalls
        life.require(in_time, f"a close of {timeout} took {took}")
        return report

    # --- what holds -------------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Once all is well again, everything gets its fate."""
        with self.stack:
            self.stack.callback(lambda: self.world.loop.close())
            if sys.exc_info()[0] is None:
                self._heal()

    def _heal(self) -> None:
        world, life = self.world, self.world.life
        for vendor in world.vendors.values():
            vendor.mode = "ok"
            vendor.next.clear()
        life.transport.broken = 0
        world.disk.turn_to("")
        world.end_loop()
        world.run(self._start())
        world.run(asyncio.sleep(70))  # a spool looks about once a minute
        assert world.run(life.dispatcher.flush(1_000))
        world.check()
        assert world.run(life.dispatcher.aclose(10))
        world.check()
        world.end_loop()
        assert life.pending() == 0
        for name, one in life.dispatcher.stats().destinations.items():
            assert Counter(life.dropped[name].values()) == Counter(one.dropped)
            assert life.acked[name].keys() <= world.vendors[name].processed.keys()
            assert life.nameless[name] == 0
            assert life.told[name] == life.acked[name].keys() | life.dropped[name].keys()
            gone = world.arrived[name] | life.dropped[name].keys() | life.acked[name].keys()
            assert life.given[name].keys() <= gone
            lost = world.inherited[name].keys() - gone - world.excused[name]
            assert len(lost) <= world.unseen[name], f"{name} lost {sorted(lost)}"


class SpooledMachine(Machine):
    """Also with a disk that fails, and with processes that are killed or end."""

    spooled = True

    @initialize(options=options, modes=modes, spool=spools)
    def begin(  # type: ignore[override]
        self, options: dict[str, Any], modes: dict[str, str], spool: dict[str, Any]
    ) -> None:
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.options, self.spool = options, spool
        self.world = World(self._options(0))
        self._turn_to(modes)
        for module, name in ((files, "os"), (_spooled, "time")):
            self.stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, self.world.disk)

    def _options(self, life: int) -> dict[str, Any]:
        spool = Spool(f"{self.folder}/{life}", **self.spool)
        return {**self.options, "dispatcher": {**self.options["dispatcher"], "spool": spool}}

    @rule(fault=st.sampled_from(("full", "short")), seconds=seconds)
    def fill_the_disk(self, fault: str, seconds: float) -> None:
        self.world.disk.turn_to(fault)
        self.world.run(asyncio.sleep(seconds))

    @rule()
    def mend_the_disk(self) -> None:
        self.world.disk.turn_to("")

    @rule()
    def kill(self) -> None:
        """What SIGKILL leaves is what the files hold at this instant."""
        world = self.world
        old, new = f"{self.folder}/{world.lives}", f"{self.folder}/{world.lives + 1}"
        if os.path.exists(old):
            shutil.copytree(old, new)
        pending = {name: one.pending for name, one in self._ledgers()}
        spoiled, unread = world.life.spoiled, self._unread
        world.next_life(self._options(world.lives + 1))
        self._expected = {} if spoiled or unread else pending
        self._unread = True

    @rule(timeout=seconds)
    def restart(self, timeout: float) -> None:
        """What is left at a close is the next process's."""
        self.aclose(timeout)
        self.kill()

    @rule()
    def take_over(self) -> None:
        """Within a minute the next process has all that the last one left without a fate."""
        self.world.run(self._start())
        if self.world.life.closed is False:
            self.world.run(asyncio.sleep(70))

    def _ledgers(self) -> Any:
        return self.world.life.dispatcher.stats().destinations.items()

    def _heal(self) -> None:
        super()._heal()
        for name, one in self._ledgers():
            if name in self._expected:
                assert one.recovered == self._expected[name], name
        left = list(pathlib.Path(self.folder).glob(f"{self.world.lives}/*/*.seg"))
        assert not left or self.world.life.spoiled


async def _within(call: Any, *args: Any) -> None:
    call(*args)


SETTINGS = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestInMemory = Machine.TestCase
TestInMemory.settings = SETTINGS
TestWithSpool = SpooledMachine.TestCase
TestWithSpool.settings = SETTINGS
