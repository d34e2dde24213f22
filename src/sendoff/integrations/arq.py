"""
arq: a dispatcher that the worker starts and closes in its loop, and what a job binds.

Always holds: the settings' own hooks run as before, within the dispatcher's life: it is open before
`on_startup` and closed after `on_shutdown`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from sendoff.context import Binding
from sendoff.dispatcher import Dispatcher
from sendoff.integrations._shared import KEY, NO_DISPATCHER, Context, Requests, check_installable

__all__ = ["dispatcher_of", "install"]

Job = dict[str, Any]
"""
What arq calls `ctx`: the worker's own, or that of a job with ``job_id`` and ``job_try``.
"""

Hook = Callable[[Job], Awaitable[None]]

BINDING: Final = "sendoff.binding"
"""
The key under which a job's `ctx` holds its binding.
"""


def install(settings: Any, dispatcher: Dispatcher, *, context: Context[Job] | None = None) -> None:
    """
    Has a worker start and close a dispatcher, and binds for each job what `context` says of it.

    A job has no client, so there is no `client_address`.

    Args:
        settings: The class (or dict) that the worker is run with. Its `on_startup`, `on_shutdown`,
            `on_job_start` and `on_job_end` are replaced by ones that call yours. arq looks at the
            class alone and not at its bases, and so does this.
        dispatcher: What sends.
        context: Keywords of `sendoff.bind` for a job about to run, or None. It is given the job's
            `ctx`, after your own `on_job_start`.

    Raises:
        OptionError: `context` is no plain function.
        RuntimeError: The settings have a dispatcher already.
    """
    requests = Requests(context, client_address=False)
    check_installable(dispatcher, installed=KEY in _entries(settings))
    _set(settings, KEY, dispatcher)
    began, ended = _own(settings, "on_startup"), _own(settings, "on_shutdown")

    async def on_startup(ctx: Job) -> None:
        ctx[KEY] = dispatcher
        await dispatcher.start()
        if began is not None:
            await began(ctx)

    async def on_shutdown(ctx: Job) -> None:
        try:
            if ended is not None:
                await ended(ctx)
        finally:
            await dispatcher.aclose()

    _set(settings, "on_startup", on_startup)
    _set(settings, "on_shutdown", on_shutdown)
    if requests.binds:
        _bind_jobs(settings, requests)


def _bind_jobs(settings: Any, requests: Requests[Job]) -> None:
    begins, ends = _own(settings, "on_job_start"), _own(settings, "on_job_end")

    async def on_job_start(ctx: Job) -> None:
        if begins is not None:
            await begins(ctx)
        # The job's task begins later and from here, so it inherits this.
        ctx[BINDING] = requests.bind(ctx)

    async def on_job_end(ctx: Job) -> None:
        try:
            if ends is not None:
                await ends(ctx)
        finally:
            binding = ctx.pop(BINDING, None)
            if isinstance(binding, Binding):
                binding.undo()

    _set(settings, "on_job_start", on_job_start)
    _set(settings, "on_job_end", on_job_end)


def dispatcher_of(ctx_or_settings: Any) -> Dispatcher:
    """
    The dispatcher of a job, by its `ctx`, or of a worker's settings.

    Raises:
        LookupError: There is none.
    """
    found: Dispatcher | None = _entries(ctx_or_settings).get(KEY)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found


def _entries(settings: Any) -> Any:
    return settings if isinstance(settings, MutableMapping) else vars(settings)


def _own(settings: Any, name: str) -> Hook | None:
    hook: Hook | None = _entries(settings).get(name)
    return hook


def _set(settings: Any, name: str, value: object) -> None:
    if isinstance(settings, MutableMapping):
        settings[name] = value
    else:
        setattr(settings, name, value)
