"""
From a dispatcher's options to its parts: the checks, and what is made of what they let through.

Always holds: `Settings` that exist are right, so nothing that is made of them finds fault; one set
of parts belongs to one process, and a forked child makes itself another one from the same settings.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sendoff._before import BeforeSend, Filter
from sendoff._errands import Errand, Errands
from sendoff._hook import DropHook, Hooks, OnDrop, OnOutcome, OutcomeHook
from sendoff._host import Parts, Tend
from sendoff._intake import Intake
from sendoff._lane import Lane
from sendoff._lifecycle import Lifecycle
from sendoff._log import Log
from sendoff._queue import EventQueue
from sendoff._threads import under_gevent
from sendoff.dead_letters import DeadLetters
from sendoff.destinations.base import Destination
from sendoff.errors import OptionError
from sendoff.option_checks import check_callback, check_choice, check_number, check_text
from sendoff.options import Overflow, Spool
from sendoff.transports.base import Transport

if TYPE_CHECKING:
    from sendoff._letters import LetterBox
    from sendoff.spool.store import Store

__all__ = ["Assembly", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The options of a dispatcher, which says what they mean.

    Raises:
        OptionError: An option is wrong; the message names it and its limit.
    """

    destinations: tuple[Destination, ...]
    max_queue_events: int
    max_queue_bytes: int
    overflow: Overflow
    spool: Spool | None
    shutdown_timeout: float
    handle_sigterm: bool
    dead_letters: DeadLetters | None
    before_send: BeforeSend | None
    on_drop: OnDrop | None
    on_outcome: OnOutcome | None
    blocking: bool
    transport: Transport | None

    def __post_init__(self) -> None:
        _check_destinations(self.destinations)
        check_number("max_queue_events", self.max_queue_events, least=1, whole=True)
        check_number("max_queue_bytes", self.max_queue_bytes, least=1, whole=True)
        check_choice("overflow", self.overflow, ("drop_newest", "drop_oldest"))
        check_number("shutdown_timeout", self.shutdown_timeout, least=0)
        check_choice("handle_sigterm", self.handle_sigterm, (True, False))
        check_choice("blocking", self.blocking, (True, False))
        if self.blocking and under_gevent():
            raise OptionError("blocking must be False under gevent: asyncio needs real threads")
        check_callback("before_send", self.before_send)
        check_callback("on_drop", self.on_drop)
        check_callback("on_outcome", self.on_outcome)
        if self.transport is not None and not hasattr(self.transport, "send"):
            raise OptionError(f"transport must be a transport, not {type(self.transport).__name__}")

    @property
    def names(self) -> frozenset[str]:
        """
        The destinations' names.
        """
        return frozenset(destination.name for destination in self.destinations)


def _check_destinations(destinations: tuple[Destination, ...]) -> None:
    if not destinations:
        raise OptionError("destinations must be at least one")
    for destination in destinations:
        is_class = isinstance(destination, type)
        if is_class or not hasattr(destination, "encode") or not hasattr(destination, "tuning"):
            raise OptionError(
                "destinations must be destinations such as Datadog(...), one argument each, not"
                f" {_called(destination)}"
            )
        check_text("name", destination.name)
    names = [destination.name for destination in destinations]
    if len(set(names)) < len(names):
        raise OptionError(f"destinations must have different names, not {', '.join(names)}")


def _called(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__} itself"
    return type(thing).__name__


class Assembly:
    """
    The parts of one dispatcher in one process, put together.

    Args:
        settings: The dispatcher's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.log = Log()
        self.filter = None if settings.before_send is None else Filter(settings.before_send)
        drops = outcomes = None
        if settings.on_drop is not None:
            drops = DropHook(settings.on_drop, lambda: self._ring(drops))
        if settings.on_outcome is not None:
            outcomes = OutcomeHook(settings.on_outcome, lambda: self._ring(outcomes))
        hooks = Hooks(drops, outcomes)
        self.hooks = hooks.all()
        letters = self._new_letters()
        self._store = self._new_store()
        # What every intake tells of fates, and where it says so.
        self._told: dict[str, Any] = {
            "hooks": hooks if self.hooks else None,
            "letters": letters,
            "log": self.log,
        }
        self.intakes = tuple(map(self._new_intake, settings.destinations))
        self.lanes = tuple(map(Lane, self.intakes))
        self.life = Lifecycle(
            Parts(
                lanes=self.lanes,
                transport=settings.transport,
                errands=Errands(letters, self.hooks),
                tend=self._new_tend(),
                log=self.log,
            ),
            blocking=settings.blocking,
            handle_sigterm=settings.handle_sigterm,
            shutdown_timeout=float(settings.shutdown_timeout),
            where=partial(_where, letters, drops),
        )
        if self._store is not None:
            # What a close leaves in the spool is ours as long as we live, and then anybody's. Not
            # at exit: other threads may still write, and the system lets go by itself.
            weakref.finalize(self.life, self._store.release).atexit = False

    def forget(self) -> None:
        """
        In a forked child: lets go of what the parent alone may use.
        """
        if self._store is not None:
            self._store.forget()

    def renewed(self) -> Assembly:
        """
        In a forked child: the same once more, empty, and as closed as this one.
        """
        fresh = Assembly(self._settings)
        fresh.life.set_closed(self.life.hosts.closed)
        return fresh

    def _ring(self, errand: Errand | None) -> None:
        if errand is not None:
            self.life.hosts.ring(errand)

    # What only some dispatchers have is loaded where they are made.

    def _new_letters(self) -> LetterBox | None:
        if self._settings.dead_letters is None:
            return None
        from sendoff._letters import LetterBox

        letters: LetterBox = LetterBox(self._settings.dead_letters, lambda: self._ring(letters))
        return letters

    def _new_store(self) -> Store | None:
        if self._settings.spool is None:
            return None
        from sendoff.spool.store import Store

        return Store(self._settings.spool, self._settings.names, self.log)

    def _new_intake(self, destination: Destination) -> Intake:
        bounds: dict[str, Any] = {
            "max_events": self._settings.max_queue_events,
            "max_bytes": self._settings.max_queue_bytes,
            "overflow": self._settings.overflow,
        }
        if self._store is None:
            return Intake(destination, EventQueue(**bounds), **self._told)
        from sendoff._backlog import SpooledQueue
        from sendoff._spooled import SpooledIntake

        spool = self._store.lanes[destination.name]
        return SpooledIntake(destination, SpooledQueue(**bounds), spool, **self._told)

    def _new_tend(self) -> Tend | None:
        if self._store is None:
            return None
        from sendoff._refill import tend

        refills = {lane.name: lane.refill for lane in self.lanes if lane.refill is not None}
        return partial(tend, self._store, refills)


def _where(letters: LetterBox | None, drops: DropHook | None) -> str:
    """
    Where events are that a close gives up.
    """
    if letters is not None:
        return "given to the dead letters"
    if drops is None:
        return "lost"
    return "given to on_drop" + (", which is not done with them" if drops.behind else "")
