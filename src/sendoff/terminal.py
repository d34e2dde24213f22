"""
Where a command shows how far it is: what `demo`, `replay` and `send` share of their screens.

Imports no rich: a live screen is handed its console and its display, which are imported where there
is a terminal. Always holds: plain lines hold no control sequences of ours, so that they can go into
any file; whatever happens, the terminal is left as it was.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Display", "LiveScreen", "LogNotes", "PlainScreen", "QuietScreen", "Screen", "log_notes"]


class Screen(Protocol):
    """
    What a command is shown on: a context manager, to be updated as often as `interval` says.
    """

    @property
    def interval(self) -> float:
        """
        Seconds between two updates.
        """

    def __enter__(self) -> Self:
        """
        Begins to show.
        """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Leaves the terminal as it was, whatever happened.
        """

    def note(self, text: str) -> None:
        """
        Shows a line that stays.
        """


class PlainScreen:
    """
    Lines for pipes, files and logs.

    Args:
        errors: Whether they go to stderr, as stdout is for data. Whoever reads them there may go
            away, which stops nothing.
    """

    interval: float = 1.0

    def __init__(self, *, errors: bool = False) -> None:
        self._errors = errors

    def __enter__(self) -> Self:
        """
        Begins to show: there is nothing to set up.
        """
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Leaves the terminal as it was, since it was never changed.
        """

    def note(self, text: str) -> None:
        """
        One line, flushed: whoever reads along through a pipe wants it now.
        """
        stream = sys.stderr if self._errors else sys.stdout
        try:
            stream.write(f"{text}\n")
            stream.flush()
        except OSError:
            if not self._errors:
                raise


class QuietScreen(PlainScreen):
    """
    Notes alone, on stderr: what went wrong.
    """

    def __init__(self) -> None:
        super().__init__(errors=True)

    def update(self, *progress: Any, **more: Any) -> None:
        """
        Nothing, whatever a command's own screens would show.
        """


class Display(Protocol):
    """
    What rich draws over and over: its `Live` or its `Progress`.
    """

    def start(self) -> None:
        """
        Begins to draw.
        """

    def stop(self) -> None:
        """
        Leaves the last picture, and the cursor visible.
        """


class LiveScreen:
    """
    A display that is drawn over and over, with notes scrolling by above it.

    Args:
        console: The terminal.
        display: What is drawn there; by `update` of a subclass alone, since a thread that draws by
            itself would compete with the work.
        wrapping: How the console prints a note that is longer than a line.
    """

    interval: float = 0.1

    def __init__(self, console: Console, display: Display, **wrapping: Any) -> None:
        self._console = console
        self._display = display
        self._wrapping = wrapping

    def __enter__(self) -> Self:
        """
        Begins to draw.
        """
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Stops drawing; the last picture stays and the cursor is visible again.
        """
        self._display.stop()

    def note(self, text: str) -> None:
        """
        One line, above the display while there is one.
        """
        # A bracket in a log line is a bracket, and a word between colons is that word.
        self._console.print(text, markup=False, highlight=False, emoji=False, **self._wrapping)


class LogNotes(logging.Handler):
    """
    Shows the library's own log lines on a screen, where they disturb no display.

    Args:
        screen: The screen.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen
        # All mutable state: set once lines would only repeat what the command says itself.
        self.quiet = False

    def emit(self, record: logging.LogRecord) -> None:
        """
        Shows one line.
        """
        if not self.quiet:
            self._screen.note(record.getMessage())


@contextmanager
def log_notes(screen: Screen) -> Iterator[LogNotes]:
    """
    Shows the library's own log lines while its block runs.

    Args:
        screen: Where.
    """
    notes = LogNotes(screen)
    logger = logging.getLogger("sendoff")
    logger.addHandler(notes)
    try:
        yield notes
    finally:
        logger.removeHandler(notes)
