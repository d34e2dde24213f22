"""
A soak: producers of four kinds give events to a sink that fails at random, are ended at random and
started again, and every accepted event must arrive or be handed to `on_drop`.

The producers are an asyncio program, threads beside a loop, a program in blocking mode and one that
forks. They are ended by SIGTERM, SIGINT, `sys.exit` or a plain return; with ``--spool`` they share
one spool, and are also ended by SIGKILL. In the end the sink is well again, and what is still
pending is sent by those that have it.

One line every ten seconds says how it goes, the last one is the result as JSON. Exits with 1 if an
event is lost: accepted, not at the vendor, and not given to `on_drop`; or if a producer does not
end in its time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from glob import glob
from pathlib import Path
from typing import Any

from benchmarks.producer import KINDS, SHUTDOWN_SECONDS, WAYS, Job
from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.sink import SinkProcess

FAULTS = (
    "503 for 700ms",
    "503 share 0.3",
    "429 first 5 retry-after 1",
    "400 first 1",
    "401 for 400ms",
    "408 share 0.1",
    "413 first 2",
    "html 502 first 10",
    "redirect first 1",
    "reset share 0.05",
    "reset-before share 0.1",
    "truncate share 0.05",
    "close share 0.2",
    "hang first 3",
    "latency 30ms",
    "latency 700ms first 20",
)
END_SECONDS = SHUTDOWN_SECONDS + 10.0
"""Seconds after which a producer that was ended is overdue: its deadline and a busy machine."""

LONGEST_SECONDS = 8.0
LIVES = (0.025, 0.125, 0.375, 1.0)
"""Shares of the longest life: some end while they start, some when all is in motion."""

PROGRESS_SECONDS = 10.0
NAMES = ("datadog", "freshpaint")


class Slot:
    """
    One place for a producer: the next one starts when the last one has ended.

    Args:
        kind: Of all its producers.
        folder: Where their files are.
        common: What all jobs have in common.
        chance: Of their lives' lengths and ends.
        longest: Seconds of their longest life.
    """

    def __init__(
        self,
        kind: str,
        folder: str,
        common: dict[str, Any],
        chance: random.Random,
        longest: float,
    ) -> None:
        self.kind = kind
        self.files = f"{folder}/{kind}"
        self.rss = 0  # KiB, the most of any of them
        self.ends: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.overdue = 0
        self._common = common
        self._chance = chance
        self._longest = longest
        self._process: subprocess.Popen[bytes] | None = None
        self._job: Job
        self._end_at = 0.0
        self._ended_at = 0.0  # when it was told to, or will end by itself; 0 if not yet

    def turn(self, *, go_on: bool) -> bool:
        """
        Starts, watches, ends; whether there is nothing more to do.
        """
        now = time.monotonic()
        process = self._process
        if process is None:
            if go_on:
                self._start(now)
            return not go_on
        self.rss = max(self.rss, _most_memory(process.pid))
        if process.poll() is not None and not _has_members(process.pid):
            self.statuses[process.returncode] += 1
            self._process = None
        elif not self._ended_at and (now >= self._end_at or not go_on):
            self._ended_at = now
            if self._job.way.startswith("SIG"):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.Signals[self._job.way])
        elif self._ended_at and now > self._ended_at + END_SECONDS + self._job.seconds:
            self.overdue += 1
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return False

    def _start(self, now: float) -> None:
        ways = WAYS if self._common["spool"] else WAYS[:-1]
        way = self._chance.choice(ways)
        seconds = self._chance.choice(LIVES) * self._longest
        self._job = Job(
            kind=self.kind,
            way=way,
            seconds=1_000.0 if way.startswith("SIG") else seconds,
            seed=self._chance.randrange(10**9),
            files=self.files,
            **self._common,
        )
        self.ends[way] += 1
        # It takes half a second to start.
        self._end_at, self._ended_at = now + 0.5 + seconds, 0.0
        with open(f"{self.files}.stderr", "ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.producer", json.dumps(asdict(self._job))],
                stderr=stderr,
                process_group=0,
            )


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _most_memory(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def soak(
    minutes: float, rate: float, seed: int, *, spool: bool, folder: str, kinds: tuple[str, ...]
) -> dict[str, Any]:
    """
    Lets producers work and end for so long; what became of their events.
    """
    chance = random.Random(seed)
    with SinkProcess() as sink:
        common = {
            "rate": rate / len(kinds),
            "datadog": sink.datadog_endpoint,
            "freshpaint": sink.freshpaint_endpoint,
            "spool": f"{folder}/spool" if spool else None,
        }
        longest = min(LONGEST_SECONDS, minutes * 20)
        slots = [Slot(kind, folder, common, chance, longest) for kind in kinds]
        begun = time.monotonic()
        end, faults_at, line_at = begun + minutes * 60, begun, begun + PROGRESS_SECONDS
        while True:
            now = time.monotonic()
            going = now < end
            if going and now >= faults_at:
                faults_at = now + chance.choice((0.3, 1.0, 3.0))
                sink.faults(*chance.sample(FAULTS, chance.randrange(3)))
            elif not going:
                sink.faults()
            if now >= line_at:
                line_at += PROGRESS_SECONDS
                print(_progress(now - begun, sink, folder), flush=True)
            over = [slot.turn(go_on=going) for slot in slots]  # all of them have their turn
            if all(over):
                break
            time.sleep(0.05)
        if spool:
            asyncio.run(_send_the_rest(sink, f"{folder}/spool"))
        taken = time.monotonic() - begun
        return {
            "seconds": round(taken),
            **_fates(sink, folder),
            "MiB of a producer": {slot.kind: slot.rss // 1024 for slot in slots},
            "log lines a minute": {
                slot.kind: round(_lines(f"{slot.files}.log") / taken * 60, 1) for slot in slots
            },
            "ends": dict(sum((slot.ends for slot in slots), Counter())),
            "said at exit": [line for slot in slots for line in _said(f"{slot.files}.stderr")],
            "overdue": sum(slot.overdue for slot in slots),
        }


async def _send_the_rest(sink: SinkProcess, path: str) -> None:
    """
    Sends what is in the spool of processes that are no more.
    """
    async with Dispatcher(
        Datadog(
            api_key="k",
            application_id="a",
            endpoint=sink.datadog_endpoint,
            id_attribute="insert_id",
        ),
        Freshpaint(token="t", endpoint=sink.freshpaint_endpoint),
        spool=path,
    ) as dispatcher:
        end = time.monotonic() + 60
        while glob(f"{path}/*/*.seg") and time.monotonic() < end:
            await dispatcher.flush(10)
            await asyncio.sleep(0.1)


def _progress(seconds: float, sink: SinkProcess, folder: str) -> str:
    stats = sink.stats()
    accepted = sum(_lines(str(path)) for path in Path(folder).glob("*.accepted"))
    return (
        f"{seconds:4.0f} s  accepted {accepted:,}, "
        f"arrived {stats.datadog.unique:,} and {stats.freshpaint.unique:,}"
    )


def _fates(sink: SinkProcess, folder: str) -> dict[str, Any]:
    given = {path.stem: set(_words(path)) for path in Path(folder).glob("*.accepted")}
    accepted = set().union(*given.values())
    reasons: dict[str, dict[str, str]] = {name: {} for name in NAMES}
    for path in Path(folder).glob("*.dropped"):
        for line in _words(path):
            name, event_id, reason = line.split()
            reasons[name][event_id] = reason
    result: dict[str, Any] = {"accepted": len(accepted)}
    for name in NAMES:
        arrivals = sink.ids(name)  # type: ignore[arg-type]
        arrived = set(arrivals)
        gone = {event_id: why for event_id, why in reasons[name].items() if event_id in accepted}
        result[name] = {
            "delivered": len(arrived & accepted),
            "lost": len(lost := accepted - arrived - gone.keys()),
            "lost of": {kind: len(own & lost) for kind, own in given.items() if own & lost},
            "given up": dict(Counter(gone.values())),
            "duplicated": len(arrivals) - len(arrived),
        }
    return result


def _words(path: Path) -> list[str]:
    # A line that was cut short by the end of its process was not written: `os.write` is one call.
    return path.read_text().splitlines()


def _said(path: str) -> list[str]:
    """
    What the last flushes of processes said on what they left.
    """
    return [line for line in _words(Path(path)) if line.startswith("sendoff: ")]


def _lines(path: str) -> int:
    with suppress(FileNotFoundError):
        return Path(path).read_bytes().count(b"\n")
    return 0


def main() -> int:
    """
    Soaks; the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second, of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spool", action="store_true")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--keep", metavar="FOLDER", help="leave the files there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = options.keep or own
        os.makedirs(folder, exist_ok=True)
        result = soak(
            options.minutes,
            options.rate,
            options.seed,
            spool=options.spool,
            folder=folder,
            kinds=tuple(options.kinds),
        )
    print(json.dumps(result))
    return 1 if result["overdue"] or any(result[name]["lost"] for name in NAMES) else 0


if __name__ == "__main__":
    sys.exit(main())
