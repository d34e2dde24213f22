"""
A process that gives events away until it is ended, for the soak.

Each accepted id goes to a file by one `os.write` right after its call, and so does each event that
`on_drop` is shown: what is in the first file and neither at the vendor nor in the second is lost.

Run as ``python -m benchmarks.producer`` with one JSON object of `Job`'s fields.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sendoff import Datadog, Dispatcher, DroppedEvent, Freshpaint, Retry

SHUTDOWN_SECONDS = 5.0
KINDS = ("asyncio", "threads", "blocking", "forks")
WAYS = ("return", "sys.exit", "SIGTERM", "SIGINT", "SIGKILL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What one producer does.

    Attributes:
        kind: One of `KINDS`.
        way: How it ends, one of `WAYS`; a signal comes from outside.
        seconds: How long it gives events, if it ends by itself.
        rate: Events a second, about.
        seed: Of its choices.
        datadog: URL of Datadog's intake.
        freshpaint: URL of Freshpaint's.
        files: Path of its files, without the ending.
        spool: Folder of the spool; None to keep events in memory.
    """

    kind: str
    way: str
    seconds: float
    rate: float
    seed: int
    datadog: str
    freshpaint: str
    files: str
    spool: str | None


class Producer:
    """
    A dispatcher and the files that tell what it was given and what it gave up.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._accepted = _append(f"{job.files}.accepted")
        self._dropped = _append(f"{job.files}.dropped")
        self._number = 0
        random.seed(job.seed)
        retry = Retry(base=0.05, cap=1.0, hold_interval=0.5)
        own: dict[str, Any] = {} if job.spool is None else {"spool": job.spool}
        self.dispatcher = Dispatcher(
            Datadog(
                api_key="k",
                application_id="a",
                endpoint=job.datadog,
                id_attribute="insert_id",
                flush_interval=random.choice((0.05, 1.0)),
                max_batch_events=random.choice((10, None)),
                timeout=2.0,
                retry=retry,
            ),
            Freshpaint(token="t", endpoint=job.freshpaint, timeout=2.0, retry=retry),
            max_queue_events=random.choice((50, 1_000, 100_000)),
            overflow=random.choice(("drop_newest", "drop_oldest")),
            shutdown_timeout=SHUTDOWN_SECONDS,
            blocking=job.kind in ("blocking", "forks"),
            on_drop=self._on_drop,
            **own,
        )

    def _on_drop(self, reason: str, events: Sequence[DroppedEvent]) -> None:
        lines = (f"{event.destination} {event.id} {reason}\n" for event in events)
        os.write(self._dropped, "".join(lines).encode())

    def give(self) -> None:
        """
        One event, noted if it was accepted.
        """
        self._number += 1
        properties = {"n": self._number, "text": "x" * random.choice((10, 100, 1_000))}
        event_id = self.dispatcher.track("soak", user_id="u", properties=properties)
        if event_id is not None:
            os.write(self._accepted, f"{event_id}\n".encode())

    # --- kinds ------------------------------------------------------------------------------------

    def asyncio(self) -> None:
        """
        A program around `asyncio.run`, which closes its dispatcher or forgets to.
        """

        async def give() -> None:
            for pause in _pauses(self._job.seconds, self._job.rate):
                self.give()
                await asyncio.sleep(pause)
            if self._job.way == "sys.exit":
                sys.exit(3)

        async def main() -> None:
            if random.random() < 0.5:
                await give()
            else:
                async with self.dispatcher:
                    await give()

        asyncio.run(main())

    def threads(self) -> None:
        """
        A loop that sends, and threads that give and are still giving when it ends.
        """
        for _ in range(3):
            threading.Thread(
                target=self._give_for,
                args=(self._job.seconds + SHUTDOWN_SECONDS, self._job.rate / 3),
                daemon=True,
            ).start()

        async def main() -> None:
            await self.dispatcher.start()
            await asyncio.sleep(self._job.seconds)
            if self._job.way == "sys.exit":
                sys.exit(3)

        asyncio.run(main())

    def blocking(self) -> None:
        """
        A program without a loop.
        """
        if random.random() < 0.5:
            self._give_on()
        else:
            with self.dispatcher:
                self._give_on()

    def forks(self) -> None:
        """
        A program without a loop whose children give as well.
        """
        end = time.monotonic() + self._job.seconds
        while time.monotonic() < end:
            self._give_for(0.5, self._job.rate)
            if os.fork() == 0:
                self._give_for(0.3, self._job.rate)
                sys.exit(0)
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
        if self._job.way == "sys.exit":
            sys.exit(3)

    def _give_on(self) -> None:
        self._give_for(self._job.seconds, self._job.rate)
        if self._job.way == "sys.exit":
            sys.exit(3)

    def _give_for(self, seconds: float, rate: float) -> None:
        for pause in _pauses(seconds, rate):
            self.give()
            time.sleep(pause)


def _pauses(seconds: float, rate: float) -> Iterator[float]:
    """
    Seconds to wait after each event, now and then none after many.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        burst = random.choice((1, 1, 1, 50))
        for _ in range(burst - 1):
            yield 0.0
        yield random.expovariate(rate / burst)


def _append(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def main(text: str) -> None:
    """
    Does a job.
    """
    job = Job(**json.loads(text))
    logging.basicConfig(filename=f"{job.files}.log", format="%(levelname)s %(message)s")
    producer = Producer(job)
    kinds: dict[str, Callable[[], None]] = {
        "asyncio": producer.asyncio,
        "threads": producer.threads,
        "blocking": producer.blocking,
        "forks": producer.forks,
    }
    kinds[job.kind]()


if __name__ == "__main__":
    main(sys.argv[1])
