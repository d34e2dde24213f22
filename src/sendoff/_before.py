"""
The way through `before_send`: in the caller's thread, once for each event, before anything is
encoded.

Always holds: an event whose callback raised, or returned something else than an event, goes
nowhere: it may hold what should have been taken out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sendoff._log import type_name
from sendoff.destinations.checks import insert_id_of, object_of
from sendoff.errors import EventRejected
from sendoff.events import Event

__all__ = ["BeforeSend", "Filter"]

BeforeSend = Callable[[Any], Any]
"""
Called with an `Event`, or with the mapping that was given to `enqueue`; returns what is to be sent
in its place, or None for nothing.
"""


class _Taker(Protocol):
    def reject(self, reason: str, detail: str) -> None:
        """
        Counts an event that was not taken.
        """

    def filtered(self) -> None:
        """
        Counts an event that the user took back.
        """


class Filter:
    """
    The user's callback, contained.

    Args:
        callback: The user's.
    """

    name = "before_send"

    def __init__(self, callback: BeforeSend) -> None:
        self._callback = callback
        self._lock = threading.RLock()
        self.failures = 0  # exceptions and wrong results, changed under the lock

    def event(self, event: Event, takers: Iterable[_Taker]) -> Event | None:
        """
        What is to be sent in an event's place, or None; then every taker has counted why.
        """
        changed: Event | None = self._call(event, Event, takers)
        if changed is None or changed.id is event.id:
            return changed
        try:
            return changed._replace(id=insert_id_of(changed.id, field="id"))
        except EventRejected as exc:
            for taker in takers:
                taker.reject(exc.reason, exc.detail)
            return None

    def payload(
        self, payload: Mapping[str, Any], takers: Iterable[_Taker]
    ) -> Mapping[str, Any] | None:
        """
        What is to be sent in a body's place, or None; then every taker has counted why.
        """
        try:
            object_of("payload", payload)
        except Exception:  # noqa: BLE001 it is no mapping, and the takers will say so
            return payload
        changed: Mapping[str, Any] | None = self._call(payload, Mapping, takers)
        return changed

    def _call(self, given: object, kind: type[Any], takers: Iterable[_Taker]) -> Any:
        try:
            result = self._callback(given)
        except Exception as exc:  # noqa: BLE001 the user's code may raise anything
            self._failed(f"it raised {type_name(exc)}", takers)
            return None
        if result is None:
            for taker in takers:
                taker.filtered()
        elif not isinstance(result, kind):
            self._failed(f"it returned {type_name(result)}", takers)
            return None
        return result

    def _failed(self, detail: str, takers: Iterable[_Taker]) -> None:
        with self._lock:
            self.failures += 1
        for taker in takers:
            taker.reject("before_send", detail)
