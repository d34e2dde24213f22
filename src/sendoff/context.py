"""
What is bound once, for instance for a web request, and added to every event given within it.

Always holds: a binding belongs to the context it was made in, as `contextvars` has it: to the task
or thread, and to what is started from there later. Calls read it and never change it; nothing
here raises for what is bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Any, Final
from uuid import UUID

from sendoff._lines import BOUND_PROPERTIES
from sendoff._log import type_name, write

__all__ = ["Binding", "Bound", "bind"]


@dataclass(frozen=True, slots=True, repr=False)
class Bound:
    """
    What is bound at the moment: each field as `track` takes it, None where nothing is.

    Attributes:
        user_id: The user.
        account_id: The account.
        session_id: The session.
        device_id: The device.
        ip: The end user's address.
        properties: Properties for every event; never changed once bound.
    """

    user_id: str | int | UUID | None = None
    account_id: str | int | UUID | None = None
    session_id: str | int | UUID | None = None
    device_id: str | int | UUID | None = None
    ip: str | IPv4Address | IPv6Address | None = None
    properties: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        """
        The names of the fields alone: their values are the caller's data.
        """
        return f"<Bound {', '.join(name for name in _FIELDS if getattr(self, name) is not None)}>"

    def with_own(self, own: Any) -> Any:
        """
        What an event's properties are: the bound ones, and over them its own.

        Args:
            own: What the call gave. Anything that cannot be joined is given back as it is, so
                that it meets the fate it would have had without a binding.
        """
        if self.properties is None:
            return own
        if own is None:
            return self.properties
        if not isinstance(own, Mapping):
            return own
        try:
            return {**self.properties, **own}
        except Exception:  # noqa: BLE001 a mapping of the caller's may do anything
            return own


_FIELDS: Final = ("user_id", "account_id", "session_id", "device_id", "ip", "properties")

BOUND: Final[ContextVar[Bound | None]] = ContextVar("sendoff.bound", default=None)
"""
What calls in this context add; None as long as nothing is bound.
"""


class Binding:
    """
    A binding that is in force; `bind` makes it.

    As a context manager it is undone at the end of the block. Left alone it holds as long as its
    context: to the end of the task, for instance, that serves a request.
    """

    __slots__ = ("_token",)

    def __init__(self, token: Token[Bound | None]) -> None:
        self._token: Token[Bound | None] | None = token

    def undo(self) -> None:
        """
        Puts back what was bound before. Does nothing the second time, or in another context, which
        this binding never reached.
        """
        token, self._token = self._token, None
        if token is not None:
            try:
                BOUND.reset(token)
            except ValueError:
                # Made in another context: a generator, say, that was closed by somebody else.
                return

    def __enter__(self) -> Binding:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()


def bind(
    *,
    user_id: str | int | UUID | None = None,
    account_id: str | int | UUID | None = None,
    session_id: str | int | UUID | None = None,
    device_id: str | int | UUID | None = None,
    ip: str | IPv4Address | IPv6Address | None = None,
    properties: Mapping[str, Any] | None = None,
    inherit: bool = True,
) -> Binding:
    """
    Binds fields for every `track` (and `device_id` for every `identify`) of this context, at once.

    What a call gives itself goes before what is bound; of properties, key by key. `enqueue` sends
    bodies as they are and takes nothing from here. Nothing is checked before an event is made of
    it, and never raises: properties that are no mapping, or cannot be read, are left out and
    logged.

    Args:
        user_id: The user, as `track` takes it.
        account_id: The account.
        session_id: The session.
        device_id: The device.
        ip: The end user's address. Bind it only if you mean to send it.
        properties: Properties of every event. Copied now; values are encoded at each call.
        inherit: Whether what was bound before holds where this binding says nothing. False begins
            anew, in a job for instance that a request has started.

    Returns:
        The binding: a context manager that undoes it, or to be left alone.
    """
    own: Mapping[str, Any] | None = None
    if properties is not None:
        try:
            own = dict(properties)
        except Exception as exc:  # noqa: BLE001 a request must not fail because of what it binds
            write(BOUND_PROPERTIES, type_name(exc))
    outer = BOUND.get() if inherit else None
    if outer is None:
        bound = Bound(user_id, account_id, session_id, device_id, ip, own)
    else:
        bound = Bound(
            outer.user_id if user_id is None else user_id,
            outer.account_id if account_id is None else account_id,
            outer.session_id if session_id is None else session_id,
            outer.device_id if device_id is None else device_id,
            outer.ip if ip is None else ip,
            outer.properties if own is None else outer.with_own(own),
        )
    return Binding(BOUND.set(bound))
