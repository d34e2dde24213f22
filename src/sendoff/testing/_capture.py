"""
`capture`: while its block runs, events stay in memory.
"""

from __future__ import annotations

from types import TracebackType

from sendoff import Dispatcher
from sendoff.diversion import Diversion, Notes
from sendoff.testing._events import CapturedEvents

__all__ = ["capture"]


class capture:  # noqa: N801 a context manager that reads as a verb, like `contextlib.suppress`
    """
    Captures events in memory, as a context manager: no network, no disk, no task, no thread.

    Calls return at once, as ever, and what they gave can be looked at at once, with or without a
    loop. What `before_send` changes or takes back is changed or taken back. The dispatcher counts
    what it accepts as delivered; `on_drop` and `on_outcome` are not called. Each dispatcher begins
    open; one that the app closes meanwhile rejects events, as ever. At the end everything is as it
    was before, also what was pending.

    Args:
        dispatchers: Whose events. Without any, those of every dispatcher in this process, also of
            those that are made meanwhile.
        allow_rejected: Whether events may be rejected. By default the end of the block raises
            AssertionError if one was, and nothing else was raised.
    """

    def __init__(self, *dispatchers: Dispatcher, allow_rejected: bool = False) -> None:
        for dispatcher in dispatchers:
            if not isinstance(dispatcher, Dispatcher):
                raise TypeError(
                    f"capture takes dispatchers, not {type(dispatcher).__name__}; without any it"
                    " takes the events of all"
                )
        notes = Notes()
        self._diversion = Diversion(*dispatchers, notes=notes)
        self._events = CapturedEvents(notes, allow_rejected=allow_rejected)

    def __enter__(self) -> CapturedEvents:
        """
        Begins; what was captured is still there after the end.
        """
        self._diversion.__enter__()
        return self._events

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Ends.

        Raises:
            AssertionError: An event was rejected, and that is not allowed.
        """
        __tracebackhide__ = True
        self._diversion.__exit__(kind, error, trace)
        if error is None:
            self._events.check()
