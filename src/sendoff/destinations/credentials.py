"""
Credentials: a fixed text, or a callable that is asked before every attempt.

Always holds: no credential is in a repr or an error; what a callable raised is named by its type
alone, and whatever it does loses no event.
"""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable

from sendoff.errors import OptionError, TransportError
from sendoff.option_checks import check_text

__all__ = ["Credential", "Secret"]

Credential = str | Callable[[], str]
"""A credential, or what returns the one of the moment, at once: it is called in the loop."""

REMEMBERED = 8
"""Values of a callable that are kept: an answer may repeat the one before a rotation."""


class Secret:
    """
    One credential of a destination.

    Args:
        option: The option's name, for messages.
        given: What the user gave.
        longest: Most characters; None for any number.

    Raises:
        OptionError: It is neither a fit text nor a plain callable.
    """

    def __init__(self, option: str, given: Credential, *, longest: int | None = None) -> None:
        self._option = option
        self._longest = longest
        self._ask: Callable[[], object] | None = None
        # All mutable state, changed in the loop: the values seen, the newest last.
        self._seen: deque[str] = deque(maxlen=REMEMBERED)
        if isinstance(given, str) or not callable(given):
            self._note(given)
            return
        if inspect.iscoroutinefunction(given) or inspect.isasyncgenfunction(given):
            raise OptionError(f"{option} must be a str or a plain callable, not a coroutine's")
        self._ask = given

    def __repr__(self) -> str:
        """
        What kind it is; never its value.
        """
        return f"<{self._option}, {'fixed' if self.is_fixed else 'asked for at every attempt'}>"

    @property
    def is_fixed(self) -> bool:
        """
        Whether it never changes.
        """
        return self._ask is None

    @property
    def known(self) -> tuple[str, ...]:
        """
        Every value that an answer may still repeat.
        """
        return tuple(self._seen)

    def now(self) -> str:
        """
        The credential of this moment.

        Raises:
            TransportError: The callable raised, or returned no fit text; nothing is to be sent.
        """
        if self._ask is None:
            return self._seen[-1]
        try:
            value = self._ask()
        # A cancellation out of a plain call is what some task's result raised, not this task's own.
        except (Exception, CancelledError) as exc:  # noqa: BLE001 the user's code may raise anything
            problem = f"what gives {self._option} raised {type(exc).__name__}"
        else:
            if inspect.iscoroutine(value):
                value.close()  # else it would complain that nobody awaited it
            try:
                return self._note(value)
            except OptionError as exc:
                problem = str(exc)
        # Out here, so that it does not carry what the callable raised: that may say too much.
        raise TransportError("no_credential", perhaps_sent=False, detail=problem)

    def _note(self, value: object) -> str:
        if self._seen and type(value) is str and value == self._seen[-1]:
            return value
        check_text(self._option, value, secret=True)
        text = str(value)
        if self._longest is not None and len(text) > self._longest:
            raise OptionError(f"{self._option} must be at most {self._longest} characters")
        self._seen.append(text)
        return text
