"""
AWS Lambda: a handler that flushes before it answers.

Always holds: the answer waits for the flush, since the process is frozen with the answer and what
is not sent then waits for the next call. That wait has a bound: `flush_timeout`, and what is left
of the call's own time. What the handler returns or raises passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from sendoff.dispatcher import Dispatcher
from sendoff.integrations._shared import (
    KEY,
    NO_DISPATCHER,
    Context,
    Requests,
    check_blocking,
    check_installable,
)
from sendoff.option_checks import check_number

__all__ = ["FLUSH_TIMEOUT", "MARGIN", "dispatcher_of", "install"]

AnswerT = TypeVar("AnswerT")
Event = Any
"""
What the function is called with.
"""

FLUSH_TIMEOUT: Final = 2.0
"""
Seconds: many round trips to a vendor, and what a caller can be made to wait while one is down.
"""

MARGIN: Final = 0.25
"""
Seconds of the call's time that a flush leaves for the answer itself.
"""


def install(
    handler: Callable[[Event, Any], AnswerT],
    dispatcher: Dispatcher,
    *,
    context: Context[Event] | None = None,
    client_address: bool = False,
    flush_timeout: float = FLUSH_TIMEOUT,
    margin: float = MARGIN,
) -> Callable[[Event, Any], AnswerT]:
    """
    Gives a handler its dispatcher, which is flushed before each answer, and binds for each call
    what `context` says of it.

    The dispatcher is started here, so that what its start loads is loaded while the function is
    being initialised and not in its first call.

    Args:
        handler: The function's handler, a plain function.
        dispatcher: What sends; with ``blocking=True``. It stays open from call to call.
        context: Keywords of `sendoff.bind` for the event of a call, or None.
        client_address: Whether to bind the source address that API Gateway or a function URL names
            in the event's ``requestContext``; other events have none.
        flush_timeout: Seconds that an answer waits at most; above 0. What is left then goes with
            the next call.
        margin: Seconds before the end of the call's own time at which the flush ends, too; at
            least 0.

    Returns:
        The handler for Lambda to call.

    Raises:
        OptionError: The dispatcher is not `blocking`, `context` is no plain function, or a number
            is outside its limits.
        RuntimeError: The handler has a dispatcher already.
    """
    check_blocking(dispatcher, "AWS Lambda")
    check_number("flush_timeout", flush_timeout, least=0, above=True)
    check_number("margin", margin, least=0)
    requests = Requests(context, client_address=client_address)
    check_installable(dispatcher, installed=hasattr(handler, KEY))

    @wraps(handler)
    def flushing(event: Event, lambda_context: Any) -> AnswerT:
        try:
            if not requests.binds:
                return handler(event, lambda_context)
            with requests.bind(event, _address(event)):
                return handler(event, lambda_context)
        finally:
            dispatcher.flush_blocking(_seconds(lambda_context, flush_timeout, margin))

    setattr(flushing, KEY, dispatcher)
    # A loop of its own, so that the thread's is left as it is.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(dispatcher.start())
    return flushing


def dispatcher_of(handler: Callable[..., Any]) -> Dispatcher:
    """
    The dispatcher of a handler that `install` returned.

    Raises:
        LookupError: It has none.
    """
    found: Dispatcher | None = getattr(handler, KEY, None)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found


def _seconds(lambda_context: Any, flush_timeout: float, margin: float) -> float:
    """
    How long a flush may last now.
    """
    remaining = getattr(lambda_context, "get_remaining_time_in_millis", None)
    if remaining is None:  # a call by a test, say
        return flush_timeout
    left: float = remaining() / 1000 - margin
    return min(flush_timeout, max(0.0, left))


def _address(event: Event) -> str | None:
    """
    The source address in an event of API Gateway (either form of its payload) or a function URL.
    """
    try:
        request = event["requestContext"]
        source = request["http"] if "http" in request else request["identity"]
        found = source["sourceIp"]
    except (KeyError, TypeError, IndexError):
        return None
    return found if isinstance(found, str) else None
