"""
Celery: a dispatcher that every process of a worker opens and closes, and what a task binds.

Always holds: a process of the prefork pool flushes before it ends, within `shutdown_timeout`; it
ends by `os._exit`, which runs no exit functions. Outside of workers, where tasks are only sent,
nothing is started and nothing closed.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import Celery, Task, signals

from sendoff.context import Binding
from sendoff.dispatcher import Dispatcher
from sendoff.integrations._shared import (
    KEY,
    NO_DISPATCHER,
    Context,
    Requests,
    check_blocking,
    check_installable,
)

__all__ = ["dispatcher_of", "install"]


def install(
    app: Celery,
    dispatcher: Dispatcher,
    *,
    context: Context[Task] | None = None,
) -> None:
    """
    Gives an app its dispatcher, which its workers start and close, and binds for each task what
    `context` says of it.

    With pools of processes each child has a dispatcher of its own, as after any fork; with solo and
    threads the worker's one process has it. A task has no client, so there is no `client_address`.

    Args:
        app: The app, where its tasks are defined.
        dispatcher: What sends; with ``blocking=True``.
        context: Keywords of `sendoff.bind` for a task about to run, or None. It is given the task,
            whose ``request`` has the id, the arguments and the headers.

    Raises:
        OptionError: The dispatcher is not `blocking`, or `context` is no plain function.
        RuntimeError: The app has a dispatcher already.
    """
    check_blocking(dispatcher, "Celery")
    requests = Requests(context, client_address=False)
    check_installable(dispatcher, installed=KEY in vars(app))
    setattr(app, KEY, dispatcher)
    worker = _Worker(dispatcher)
    for signal, receiver in (
        (signals.worker_init, worker.open),
        (signals.worker_process_init, worker.start),
        (signals.worker_process_shutdown, worker.close),
        (signals.worker_shutdown, worker.close),
    ):
        signal.connect(receiver, weak=False)
    if requests.binds:
        tasks = _Tasks(app, requests)
        signals.task_prerun.connect(tasks.begin, weak=False)
        signals.task_postrun.connect(tasks.end, weak=False)


def dispatcher_of(app_or_task: Celery | Task) -> Dispatcher:
    """
    The dispatcher of an app, or of a task's app.

    Raises:
        LookupError: It has none.
    """
    app = app_or_task.app if isinstance(app_or_task, Task) else app_or_task
    found: Dispatcher | None = getattr(app, KEY, None)
    if found is None:
        raise LookupError(NO_DISPATCHER)
    return found


class _Worker:
    """
    Opens and closes a dispatcher with the process of a worker.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        # All mutable state: the dispatcher is held while the process may run tasks.
        self._stack = ExitStack()
        self._held = False

    def open(self, **_: Any) -> None:
        """
        Takes events again, if a worker in this very process was closed before: those that tests
        embed are.
        """
        if not self._held:
            self._held = True
            self._stack.enter_context(self._dispatcher)

    def start(self, **_: Any) -> None:
        """
        Starts the thread in a process that runs tasks: it takes over what one that was killed has
        left in the spool, and the first task's event need not wait until all is loaded.
        """
        self.open()
        self._dispatcher.flush_blocking(timeout=0)

    def close(self, **_: Any) -> None:
        """
        Flushes and closes, within `shutdown_timeout`.
        """
        self._held = False
        self._stack.close()


class _Tasks:
    """
    Binds for each task of one app.
    """

    def __init__(self, app: Celery, requests: Requests[Task]) -> None:
        self._app = app
        self._requests = requests

    def begin(self, task: Task, **_: Any) -> None:
        """
        Binds, before a task runs.
        """
        if task.app is self._app:
            # With the request, of which a task that calls itself in place has one each.
            setattr(task.request, KEY, self._requests.bind(task))

    def end(self, task: Task, **_: Any) -> None:
        """
        Undoes what was bound, in the thread in which the task has run.
        """
        binding = getattr(task.request, KEY, None)
        if isinstance(binding, Binding):
            binding.undo()
