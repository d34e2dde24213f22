"""
What is noted of events that a `sendoff.diversion` leads away from the vendors.

Always holds: what a call gave is noted once, however many destinations look at it, in the form that
JSON gives it, so later changes to the caller's objects do not show; every refusal is noted with the
event that was refused, whatever thread it came from.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sendoff._encode import Encoder
from sendoff.events import Event

__all__ = ["Given", "Notes", "Refusal", "json_form"]

Call = Literal["track", "identify", "enqueue"]
"""The name of the call that an event came by."""


def json_form(value: object) -> Any:
    """
    What a value looks like when it has been sent: encoded as properties are, and parsed again.
    """
    return json.loads(Encoder().dumps(value))


@dataclass(slots=True, eq=False)
class Given:
    """
    One event that a call gave, and what became of it.

    Attributes:
        call: By which call.
        event: In neutral form, as it was after `before_send`, with properties in the form that
            JSON gave them; None for `enqueue`.
        payload: The body given to `enqueue`, in that form; None otherwise.
        bodies: What each destination that took it would have been sent, but for a credential that
            is put in at every sending; by the destination's name.
        ids: The event's id at each of these.
        filtered: Whether `before_send` took it back.
    """

    call: Call
    event: Event | None
    payload: Any
    bodies: dict[str, bytes] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    filtered: bool = False


class Refusal(NamedTuple):
    """
    That a destination did not take an event.

    Attributes:
        destination: The destination's name.
        reason: The word under which it is counted, such as ``missing_identity``.
        detail: What is missing or wrong.
        given: The event; None where it was refused before there was one, for its `insert_id`.
    """

    destination: str
    reason: str
    detail: str
    given: Given | None


class _Here(threading.local):
    """
    What this thread's call is about.
    """

    source: object = None  # the object that `last` was made of
    last: Given | None = None  # of the last call, whose next destination may come
    asked: tuple[str, ...] = ()  # the destinations that have had it
    now: Given | None = None  # what is being looked at in this very moment


class Notes:
    """
    What is noted of diverted dispatchers; one or several may share them.

    Attributes:
        given: Every event, in the order of the calls.
        refusals: Every time that a destination did not take one, in order.
    """

    def __init__(self) -> None:
        # All mutable state; lists are only added to, so no lock is needed.
        self.given: list[Given] = []
        self.refusals: list[Refusal] = []
        self._here = _Here()

    @contextmanager
    def begun(self, source: object) -> Iterator[Given]:
        """
        A call brings something, and `before_send` looks at it.
        """
        given = self._new(source)
        outer, self._here.now = self._here.now, given
        try:
            yield given
        finally:
            self._here.now = outer

    def changed(self, given: Given, source: object) -> None:
        """
        What goes to the destinations, once `before_send` has seen it.
        """
        _fill(given, source)
        self._here.source, self._here.last, self._here.asked = source, given, ()

    @contextmanager
    def asked(self, source: object, destination: str) -> Iterator[None]:
        """
        A destination looks at what the call brought.
        """
        here = self._here
        if here.last is None or here.source is not source or destination in here.asked:
            # No `before_send` was asked: it is none that it could look at.
            here.source, here.last, here.asked = source, self._new(source), ()
        here.asked += (destination,)
        outer, here.now = here.now, here.last
        try:
            yield
        finally:
            here.now = outer

    def taken(self, destination: str, body: bytes, event_id: str) -> None:
        """
        A destination took what it was asked for.
        """
        given = self._here.now
        assert given is not None
        given.bodies[destination] = body
        given.ids[destination] = event_id

    def refused(self, destination: str, reason: str, detail: str) -> None:
        """
        A destination did not.
        """
        self.refusals.append(Refusal(destination, reason, detail, self._here.now))

    def _new(self, source: object) -> Given:
        given = Given("enqueue", None, None)
        _fill(given, source)
        self.given.append(given)
        return given


def _fill(given: Given, source: object) -> None:
    if not isinstance(source, Event):
        given.payload = json_form(source)
        return
    given.call = "identify" if source.identify else "track"
    given.event = source._replace(
        name=json_form(source.name),
        properties=json_form(source.properties),
        integrations=json_form(source.integrations),
    )
