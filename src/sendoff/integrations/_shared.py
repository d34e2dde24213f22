"""
What the integrations have in common: where the dispatcher is kept, and what a request binds.

Always holds: a request is served whatever the app's own `context` function does.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from sendoff.context import Binding, bind
from sendoff.dispatcher import Dispatcher
from sendoff.errors import OptionError
from sendoff.option_checks import check_callback, check_choice

__all__ = [
    "KEY",
    "NO_DISPATCHER",
    "TWICE",
    "Context",
    "Requests",
    "check_blocking",
    "check_dispatcher",
    "check_installable",
]

KEY: Final = "sendoff.dispatcher"
"""
The key under which an app's state, a WSGI environ or an ASGI scope holds the dispatcher.
"""

NO_DISPATCHER: Final = "no dispatcher here; was `install(app, dispatcher)` called?"
"""
What `dispatcher_of` says, as a `LookupError`.
"""

TWICE: Final = "a dispatcher is installed here already; `install` is called once for an app"
"""
What `install` says the second time, as a `RuntimeError`.
"""

_FIELDS: Final = frozenset(inspect.signature(bind).parameters)

RequestT = TypeVar("RequestT")

Context = Callable[[RequestT], Mapping[str, Any] | None]
"""
The app's own word on a request: keywords of `sendoff.bind`, or None for nothing.
"""

_logger = logging.getLogger("sendoff")


def check_dispatcher(dispatcher: object) -> None:
    """
    Raises unless it is one: otherwise an app would start, and fail with its first request.

    Args:
        dispatcher: What an app is to be given.

    Raises:
        OptionError: It is something else.
    """
    if not isinstance(dispatcher, Dispatcher):
        raise OptionError(f"dispatcher must be a Dispatcher, not {type(dispatcher).__name__}")


def check_installable(dispatcher: object, *, installed: bool, started: bool = False) -> None:
    """
    Raises unless an app can be given a dispatcher.

    Args:
        dispatcher: What it is to be given.
        installed: Whether it has one.
        started: Whether its start-up is over, so that nothing could be added to it.

    Raises:
        OptionError: It is given something else.
        RuntimeError: It has one, or it is too late.
    """
    check_dispatcher(dispatcher)
    if installed:
        raise RuntimeError(TWICE)
    if started:
        raise RuntimeError("this app has started: install the dispatcher before it serves")


class Requests(Generic[RequestT]):
    """
    Binds for each request what is known of it.

    Args:
        context: The app's own function, or None. It runs once for each request, before the
            handler; one that raises or returns what `bind` does not know binds nothing, and says so
            in the log once.
        client_address: Whether the client's address is bound, too. An address is personal data:
            off unless asked for.

    Raises:
        OptionError: One of them is something else.
    """

    def __init__(self, context: Context[RequestT] | None, *, client_address: bool) -> None:
        check_callback("context", context)
        check_choice("client_address", client_address, (True, False))
        self._context = context
        self._client_address = client_address
        # All mutable state.
        self._told = False

    @property
    def binds(self) -> bool:
        """
        Whether there is anything to do for a request.
        """
        return self._context is not None or self._client_address

    @property
    def asks(self) -> bool:
        """
        Whether the app's own function runs for a request.
        """
        return self._context is not None

    def bind(self, request: RequestT, address: str | None = None) -> Binding:
        """
        Binds, and returns the binding, to be undone at the end of the request. Never raises.

        Args:
            request: What the app's function is given.
            address: The client's address as the framework has it; bound only if asked for. Empty is
                none: so a Unix socket shows.
        """
        return self.prepare(request, address)()

    def prepare(self, request: RequestT, address: str | None = None) -> Callable[[], Binding]:
        """
        Asks the app once, and returns what binds its answer as often as it is called: where the
        request is served in another thread or task than the one that asked. Never raises.

        Args:
            request: As for `bind`.
            address: As for `bind`.
        """
        ip = (address or None) if self._client_address else None
        if self._context is None:
            return partial(bind, ip=ip)
        try:
            fields = {"ip": ip, **(self._context(request) or {})}
            if not fields.keys() <= _FIELDS:
                raise TypeError
        except Exception as exc:  # noqa: BLE001 the app's own code, and a request waits
            if not self._told:
                self._told = True
                error = type(exc).__name__
                _logger.warning(
                    "the context of requests is not bound: %s (told once)",
                    error,
                    extra={"sendoff_event": "sendoff.context.failed", "sendoff_error": error},
                )
            return partial(bind, ip=ip)
        return partial(bind, **fields)


def check_blocking(dispatcher: Dispatcher, where: str) -> None:
    """
    Raises unless a dispatcher sends from a thread of its own: without a loop its events would wait
    for the end of the process.

    Args:
        dispatcher: The dispatcher.
        where: What has no event loop, for people.

    Raises:
        OptionError: It is no dispatcher, or not `blocking`.
    """
    check_dispatcher(dispatcher)
    if not dispatcher.blocking:
        raise OptionError(f"blocking must be True for {where}, which has no event loop")
