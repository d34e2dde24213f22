"""
Scripts: a block at whose end everything is flushed, reported, and what did not arrive is said.

Always holds: the end takes at most the block's timeout and half a second; what the block raised
passes through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from sendoff.dispatcher import Dispatcher
from sendoff.integrations._shared import check_dispatcher
from sendoff.observers import DestinationStats, Report
from sendoff.option_checks import check_callback, check_number

__all__ = ["Script", "to_stderr"]


def to_stderr(line: str) -> None:
    """
    Writes a line where a script's complaints go; does nothing where there is no such place.
    """
    with suppress(OSError, ValueError):
        print(f"sendoff: {line}", file=sys.stderr, flush=True)  # noqa: T201 it is meant for people


class Script:
    """
    The part of a script that gives events: ``with`` (or ``async with``) opens the dispatcher, and
    closes it at the end.

    Args:
        dispatcher: What sends; for ``with`` with ``blocking=True``, for ``async with`` in any way.
        timeout: Seconds for the last flush, at least 0; None for `shutdown_timeout`.
        say: Called at the end with one line for each destination that did not get everything which
            was given in the block; by default it goes to stderr.

    Attributes:
        dispatcher: What sends.
        report: What was left at the end, truthy when that is nothing; None before.
        complete: Whether every event given in the block had arrived at the end: none was rejected,
            dropped, dead-lettered or left. False before.

    Raises:
        OptionError: The dispatcher is none, the timeout is no number of at least 0, or `say` is no
            plain function.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        timeout: float | None = None,
        say: Callable[[str], object] = to_stderr,
    ) -> None:
        check_dispatcher(dispatcher)
        if timeout is not None:
            check_number("timeout", timeout, least=0)
        check_callback("say", say)
        self.dispatcher = dispatcher
        self._timeout = timeout
        self._say = say
        # All mutable state.
        self.report: Report | None = None
        self.complete: bool = False
        self._before: Mapping[str, DestinationStats] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """
        Takes events.

        Raises:
            TypeError: The dispatcher is not `blocking`.
        """
        self._stack.enter_context(self.dispatcher)
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Flushes, closes, and says what did not arrive.
        """
        with self._stack.pop_all():
            self._end(self.dispatcher.close(self._timeout))

    async def __aenter__(self) -> Self:
        """
        Starts.
        """
        await self.dispatcher.start()
        self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Flushes, closes, and says what did not arrive. Cancelling it cancels the waiting and not the
        flush.
        """
        self._end(await self.dispatcher.aclose(self._timeout))

    def _begin(self) -> None:
        self.report = None
        self.complete = False
        self._before = self.dispatcher.stats().destinations

    def _end(self, report: Report) -> None:
        self.report = report
        missing = list(_missing(self._before, self.dispatcher.stats().destinations, report.left))
        self.complete = not missing
        for line in missing:
            self._say(line)


def _missing(
    before: Mapping[str, DestinationStats],
    after: Mapping[str, DestinationStats],
    left: Mapping[str, int],
) -> Iterator[str]:
    """
    A line for each destination that did not get everything given since: what became of the rest.
    """
    for name, now in after.items():
        then = before[name]
        rest = {
            **_more("rejected", then.rejections, now.rejections),
            **_more("dropped", then.dropped, now.dropped),
            "written to the dead letters": now.dead_lettered - then.dead_lettered,
            # With a spool what is left is there; without one it has been dropped just now.
            "kept for the next start": min(now.pending, left.get(name, 0)),
        }
        parts = [f"{events:,} {what}" for what, events in rest.items() if events]
        if parts:
            delivered = now.delivered - then.delivered
            yield f"{name}: {delivered:,} delivered, {', '.join(parts)}"


def _more(what: str, then: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {f"{what} ({why})": events - then.get(why, 0) for why, events in now.items()}
