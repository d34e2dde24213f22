"""
What a host does in worker threads beside the lanes: the dead letters, `on_drop` and `on_outcome`.

Always holds: each has a bell of its own, so none waits for another; at the end the letters come
first, because the hooks are shown what could not be written, and each has a bounded time.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

import anyio

from sendoff._threads import in_thread

__all__ = ["Errand", "Errands"]

HOOK_SECONDS = 0.3
"""
Seconds for the last calls of the hooks: a process ends within its deadline and half a second, and
connections want some of that too.
"""

LETTERS_SECONDS = 2.0
"""
Seconds, beyond the deadline, for writing what a last flush left to the dead letters: a queue of
64 MiB takes less than one.
"""


class Errand(Protocol):
    """
    What is done in a worker thread whenever somebody rings for it.
    """

    @property
    def name(self) -> str:
        """
        For its task's name.
        """

    def deliver(self) -> None:
        """
        Does what there is to do. Never raises.
        """


class Hook(Errand, Protocol):
    """
    One that shows something to a callback of the user's.
    """

    @property
    def behind(self) -> bool:
        """
        Whether there is something that the callback has not seen, or has not returned from.
        """


class LastErrand(Errand, Protocol):
    """
    One that must have an end when the dispatcher closes, because events wait for it.
    """

    def give_up(self) -> None:
        """
        Lets go of what is not begun.
        """


class Errands:
    """
    All errands of one dispatcher.

    Args:
        letters: The way to the dead letters, if there are any.
        hooks: The ways to `on_drop` and `on_outcome`, as far as they are set.
    """

    def __init__(self, letters: LastErrand | None, hooks: Sequence[Hook]) -> None:
        self._letters = letters
        self._hooks = hooks
        self.all: tuple[Errand, ...] = (*(() if letters is None else (letters,)), *hooks)
        self.seconds = 0.0 if letters is None else LETTERS_SECONDS  # that a close may take longer

    @property
    def late(self) -> bool:
        """
        Whether a hook has not seen everything.
        """
        return any(hook.behind for hook in self._hooks)

    async def finish(self, *, closing: bool) -> None:
        """
        Does everything once more, in bounded time.

        Args:
            closing: Whether what has no fate then must get one.
        """
        if self._letters is not None:
            await _once_more((self._letters,), self.seconds)
            if closing:
                self._letters.give_up()
        if self._hooks:
            await _once_more(self._hooks, HOOK_SECONDS)


async def _once_more(errands: Sequence[Errand], seconds: float) -> None:
    coroutines = [in_thread(errand.deliver) for errand in errands]
    try:
        with anyio.move_on_after(seconds, shield=True):
            async with anyio.create_task_group() as tasks:
                for coroutine in coroutines:
                    tasks.start_soon(partial(_same, coroutine))
    finally:
        for coroutine in coroutines:
            # One that a loop closed under us never began would complain that nobody awaited it.
            coroutine.close()


def _same(coroutine: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    return coroutine
