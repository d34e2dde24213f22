"""
The captured events of a test, and what it can ask of them.

Always holds: a question that fails raises a plain AssertionError, whose text says all that came; an
event is here as soon as the call that gave it has returned, from whatever thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from sendoff.diversion import Notes
from sendoff.testing._captured import (
    CapturedEvent,
    Rejection,
    captured,
    filtered_name,
    line,
    rejection,
)
from sendoff.testing._expected import Expected
from sendoff.testing._matching import ANYTHING
from sendoff.testing._words import miscounted, refused

__all__ = ["CapturedEvents"]


class CapturedEvents(Sequence[CapturedEvent]):
    """
    What was captured, in the order of the calls; `capture` makes it.

    It is a sequence of the events that at least one destination took. What is given to a question
    is compared; what is not given is not looked at. Of properties only the keys that are given
    count, at every depth; None as an id expects that there is none.

    Args:
        notes: Where they are noted.
        allow_rejected: Whether rejected events are expected.
    """

    def __init__(self, notes: Notes, *, allow_rejected: bool = False) -> None:
        self._notes = notes
        # All mutable state.
        self._allow_rejected = allow_rejected
        self._first = self._first_refusal = 0  # what `clear` has taken away lies before

    # --- looking ----------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> CapturedEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[CapturedEvent]: ...

    def __getitem__(self, index: int | slice) -> CapturedEvent | list[CapturedEvent]:
        """
        One event, or several.
        """
        return self._all()[index]

    def __len__(self) -> int:
        """
        How many events were captured.
        """
        return len(self._all())

    def __iter__(self) -> Iterator[CapturedEvent]:
        """
        The events as they are now: what comes while one walks over them is not among them.
        """
        return iter(self._all())

    def __repr__(self) -> str:
        """
        Every event on a line of its own.
        """
        lines = "".join(f"\n    {line(event)}" for event in self)
        return f"<{len(self)} captured events{lines and ':'}{lines}>"

    @property
    def names(self) -> list[str]:
        """
        The names of all events, in order.
        """
        return [event.name for event in self]

    @property
    def rejected(self) -> list[Rejection]:
        """
        Every time that a destination did not take an event.
        """
        return [rejection(one) for one in self._notes.refusals[self._first_refusal :]]

    @property
    def filtered(self) -> list[str]:
        """
        The names of the events that `before_send` took back.
        """
        given = self._notes.given[self._first :]
        return [filtered_name(one) for one in given if one.filtered]

    def named(self, name: str) -> list[CapturedEvent]:
        """
        All events of a name.

        Args:
            name: The name; ``"$identify"`` for identifications.
        """
        return [event for event in self if event.name == name]

    # --- asking -----------------------------------------------------------------------------------

    def one(
        self,
        name: Any = ANYTHING,
        *,
        user_id: Any = ANYTHING,
        account_id: Any = ANYTHING,
        session_id: Any = ANYTHING,
        device_id: Any = ANYTHING,
        properties: Any = ANYTHING,
        to: Any = ANYTHING,
    ) -> CapturedEvent:
        """
        The one event that is like this.

        Args:
            name: Its name.
            user_id: The user.
            account_id: The account.
            session_id: The session.
            device_id: The device.
            properties: Some of its properties.
            to: The name of a destination that took it.

        Raises:
            AssertionError: There is none, or more than one.
        """
        __tracebackhide__ = True
        expected = Expected(name, user_id, account_id, session_id, device_id, properties, to)
        return self._exactly(1, expected)[0]

    def none(
        self,
        name: Any = ANYTHING,
        *,
        user_id: Any = ANYTHING,
        account_id: Any = ANYTHING,
        session_id: Any = ANYTHING,
        device_id: Any = ANYTHING,
        properties: Any = ANYTHING,
        to: Any = ANYTHING,
    ) -> None:
        """
        Makes sure that no event is like this; without arguments, that there is none at all.

        Args:
            name: Its name.
            user_id: The user.
            account_id: The account.
            session_id: The session.
            device_id: The device.
            properties: Some of its properties.
            to: The name of a destination that took it.

        Raises:
            AssertionError: There is one.
        """
        __tracebackhide__ = True
        expected = Expected(name, user_id, account_id, session_id, device_id, properties, to)
        self._exactly(0, expected)

    def exactly(
        self,
        number: int,
        name: Any = ANYTHING,
        *,
        user_id: Any = ANYTHING,
        account_id: Any = ANYTHING,
        session_id: Any = ANYTHING,
        device_id: Any = ANYTHING,
        properties: Any = ANYTHING,
        to: Any = ANYTHING,
    ) -> list[CapturedEvent]:
        """
        The events that are like this, which must be so many.

        Args:
            number: How many.
            name: Their name.
            user_id: The user.
            account_id: The account.
            session_id: The session.
            device_id: The device.
            properties: Some of their properties.
            to: The name of a destination that took them.

        Raises:
            AssertionError: There are more or fewer.
        """
        __tracebackhide__ = True
        expected = Expected(name, user_id, account_id, session_id, device_id, properties, to)
        return self._exactly(number, expected)

    def count(
        self,
        name: Any = ANYTHING,
        *,
        user_id: Any = ANYTHING,
        account_id: Any = ANYTHING,
        session_id: Any = ANYTHING,
        device_id: Any = ANYTHING,
        properties: Any = ANYTHING,
        to: Any = ANYTHING,
    ) -> int:
        """
        How many events are like this; `exactly` says more where the number is wrong.

        Args:
            name: Their name.
            user_id: The user.
            account_id: The account.
            session_id: The session.
            device_id: The device.
            properties: Some of their properties.
            to: The name of a destination that took them.
        """
        expected = Expected(name, user_id, account_id, session_id, device_id, properties, to)
        return sum(map(expected.matches, self))

    # --- what was refused -------------------------------------------------------------------------

    def allow_rejected(self) -> None:
        """
        Says that rejected events are expected, so that the end of the capture finds no fault.
        """
        self._allow_rejected = True

    def check(self) -> None:
        """
        Makes sure that no event was rejected, unless that is allowed; the end of a capture asks it.

        Raises:
            AssertionError: One was.
        """
        __tracebackhide__ = True
        rejected = self.rejected
        if rejected and not self._allow_rejected:
            raise AssertionError(refused(rejected))

    def clear(self) -> None:
        """
        Forgets what came so far, rejections included.
        """
        self._first = len(self._notes.given)
        self._first_refusal = len(self._notes.refusals)

    def _all(self) -> list[CapturedEvent]:
        return [captured(given) for given in self._notes.given[self._first :] if given.bodies]

    def _exactly(self, number: int, expected: Expected) -> list[CapturedEvent]:
        __tracebackhide__ = True
        events = self._all()
        matching = [event for event in events if expected.matches(event)]
        if len(matching) != number:
            raise AssertionError(miscounted(number, expected, events, self.rejected, self.filtered))
        return matching
