"""One timer for all attempts: each ends at its time, and whoever cancels from outside wins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff import Response, TransportError
from sendoff._deadlines import AGAIN, Deadlines
from virtual import Vendors, dispatcher, fates, freshpaint, now, run

QUICK = settings(derandomize=True, deadline=None, max_examples=150)

Work = Callable[[], Awaitable[Any]]


async def attempt(deadlines: Deadlines, work: Work) -> Any:
    """One attempt, as the lane makes them: what it brings, or "timed out"."""
    timed_out = False
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task, now())
    try:
        try:
            return await work()
        finally:
            timed_out = deadlines.end(task)
    except asyncio.CancelledError:
        if not timed_out:
            raise
        return "timed out"


async def model(seconds: float, work: Work) -> Any:
    """The same by the standard library."""
    try:
        async with asyncio.timeout(seconds):
            return await work()
    except TimeoutError:
        return "timed out"


def sleeping(seconds: float) -> Work:
    return lambda: asyncio.sleep(seconds, "answered")


def of(seconds: float) -> Deadlines:
    return Deadlines(seconds, now)


def test_an_attempt_ends_at_its_time() -> None:
    """Not before, and hardly later; the task is as free as it was."""

    async def main() -> None:
        assert await attempt(of(3.0), sleeping(99.0)) == "timed out"
        assert now() == 3.0
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


def test_an_attempt_in_time_is_left_alone() -> None:
    """Nothing of the attempt before reaches the next one of the same task."""

    async def main() -> None:
        deadlines = of(3.0)
        answers = [await attempt(deadlines, sleeping(2.0)) for _ in range(20)]
        assert (answers, now()) == (["answered"] * 20, 40.0)

    run(main())


def test_each_attempt_has_its_own_time() -> None:
    """Many under way: each ends its seconds after its beginning, in any order of their ends."""
    ends: dict[float, tuple[Any, float]] = {}

    async def one(deadlines: Deadlines, begin: float, takes: float) -> None:
        await asyncio.sleep(begin)
        ends[begin] = await attempt(deadlines, sleeping(takes)), now()

    async def main() -> None:
        deadlines = of(3.0)
        cases = [(0.0, 9.0), (0.5, 1.0), (1.0, 9.0), (1.5, 2.0), (2.75, 9.0), (7.0, 9.0)]
        await asyncio.gather(*(one(deadlines, *case) for case in cases))

    run(main())
    assert ends == {
        0.0: ("timed out", 3.0),
        0.5: ("answered", 1.5),
        1.0: ("timed out", 4.0),
        1.5: ("answered", 3.5),
        2.75: ("timed out", 5.75),
        7.0: ("timed out", 10.0),
    }


def test_there_is_one_timer_and_in_the_end_none() -> None:
    """A thousand attempts set no thousand timers; when nobody is under way it ends by itself."""
    asked: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        real = loop.call_later

        def call_later(delay: float, callback: Any, *args: Any, **rest: Any) -> Any:
            if callback == deadlines._fired:
                asked.append(delay)
            return real(delay, callback, *args, **rest)

        loop.call_later = call_later  # type: ignore[method-assign]
        deadlines = of(3.0)
        for _ in range(1_000):
            await attempt(deadlines, sleeping(0.01))
        assert len(asked) == 4  # ten seconds
        await asyncio.sleep(60.0)
        assert (len(asked), deadlines._timer) == (4, None)

    run(main())


def test_an_answer_of_the_same_turn_counts() -> None:
    """After a stall of the loop answers and timer come at once: the answers win."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        loop.call_at(3.0, answer.set_result, "answered")
        deadlines = of(3.0)
        assert await attempt(deadlines, lambda: answer) == "answered"

    run(main())


@pytest.mark.parametrize("moment", [1.0, 3.0])
@pytest.mark.parametrize("first", ["outside", "deadline"])
@pytest.mark.parametrize("how", ["task", "scope", "group"])
def test_a_cancellation_from_outside_wins(moment: float, first: str, how: str) -> None:
    """Of a task, of a scope around it, of its group: before and at the deadline, whichever of the
    two timers was set first, the attempt is cut off, and its transport too."""
    seen: list[Any] = []

    async def hanging() -> None:
        try:
            await asyncio.sleep(99.0)
        finally:
            seen.append("transport cut off")

    async def worker(deadlines: Deadlines) -> None:
        seen.append(await attempt(deadlines, hanging))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = of(3.0)

        async def cancel_at(cancel: Callable[[], object]) -> None:
            if first == "outside":
                loop.call_at(moment, cancel)
            else:
                loop.call_later(0.0, lambda: loop.call_at(moment, cancel))

        if how == "task":
            task = asyncio.create_task(worker(deadlines))
            await cancel_at(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "scope":
            with anyio.CancelScope() as scope:
                await cancel_at(scope.cancel)
                await worker(deadlines)
            assert scope.cancelled_caught
        else:
            async with anyio.create_task_group() as tasks:
                await cancel_at(tasks.cancel_scope.cancel)
                tasks.start_soon(worker, deadlines)
        assert now() == pytest.approx(moment)
        task_here = asyncio.current_task()
        assert task_here is not None
        assert task_here.cancelling() == 0

    run(main())
    assert seen == ["transport cut off"]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["task", "group"])
def test_a_cancellation_wins_in_every_turn_around_the_deadline(turns: int, how: str) -> None:
    """Also between the sweep and the moment at which the task learns of it."""
    seen: list[Any] = []

    async def worker(deadlines: Deadlines) -> None:
        seen.append(await attempt(deadlines, sleeping(99.0)))
        seen.append(await attempt(deadlines, sleeping(0.5)))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = of(3.0)

        def after(turns: int, callback: Callable[[], object]) -> None:
            if turns:
                loop.call_soon(after, turns - 1, callback)
            else:
                callback()

        async with anyio.create_task_group() as tasks:
            if how == "task":
                inner = asyncio.create_task(worker(deadlines))
                loop.call_at(3.0, after, turns, inner.cancel)
                await asyncio.wait([inner])
                assert inner.cancelled()
            else:
                loop.call_at(3.0, after, turns, tasks.cancel_scope.cancel)
                tasks.start_soon(worker, deadlines)
        assert now() == 3.0

    run(main())
    # In the first turn the timer fires, in the second it cancels, in the third the task wakes.
    assert seen == ([] if turns <= 2 else ["timed out"])


def test_a_transport_that_swallows_its_cancellation_once_is_cancelled_again() -> None:
    """It may clean up for a moment, and does not keep the worker."""

    async def stubborn() -> str:
        try:
            await asyncio.sleep(99.0)
        except asyncio.CancelledError:
            await asyncio.sleep(99.0)
        return "answered"

    async def main() -> None:
        assert await attempt(of(3.0), stubborn) == "timed out"
        assert now() == 3.0 + AGAIN
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


def test_a_transport_that_cleans_up_is_not_disturbed_by_others() -> None:
    """Those whose time is over while it does are no reason to cancel it again."""
    cleaned: list[float] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(99.0)
        finally:
            await asyncio.sleep(AGAIN * 0.9)
            cleaned.append(now())

    async def one(deadlines: Deadlines, begin: float) -> None:
        await asyncio.sleep(begin)
        assert await attempt(deadlines, slow) == "timed out"

    async def main() -> None:
        deadlines = of(3.0)
        await asyncio.gather(*(one(deadlines, begin) for begin in (0.0, 0.1, 0.2)))

    run(main())
    assert cleaned == pytest.approx([3.0 + AGAIN * 0.9 + begin for begin in (0.0, 0.1, 0.2)])


@pytest.mark.parametrize("ending", ["answer", "failure"])
def test_what_a_transport_makes_of_its_cancellation_counts(ending: str) -> None:
    """An answer or a failure in its place is taken as such, and leaves no cancellation behind."""

    async def late() -> str:
        try:
            await asyncio.sleep(99.0)
        except asyncio.CancelledError:
            if ending == "failure":
                raise TransportError("disconnected", perhaps_sent=True) from None
        return "answered"

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        deadlines = of(3.0)
        if ending == "answer":
            assert await attempt(deadlines, late) == "answered"
        else:
            with pytest.raises(TransportError):
                await attempt(deadlines, late)
        assert task.cancelling() == 0
        assert await attempt(deadlines, sleeping(2.0)) == "answered"

    run(main())


def test_a_cancellation_swallowed_before_is_none_of_an_attempts() -> None:
    """A task that has swallowed one still learns that its time was over, as with the model."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1.0)
        assert await attempt(of(3.0), sleeping(99.0)) == "timed out"
        assert await model(3.0, sleeping(99.0)) == "timed out"
        assert task.cancelling() == 1

    run(main())


ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.25, 1.0, 2.5]),  # before it begins
        st.sampled_from([0.0, 0.5, 2.75, 3.25, 6.0, 20.0]),  # what its answer takes
        st.sampled_from(["plain", "plain", "fails", "slow to clean up", "answers late"]),
    ),
    min_size=1,
    max_size=8,
)


@QUICK
@given(
    workers=st.lists(ATTEMPTS, min_size=1, max_size=6),
    cut=st.none() | st.sampled_from([0.1, 1.1, 3.1, 4.6, 7.9, 13.3]),
    which=st.integers(0, 5),
)
def test_it_does_what_the_standard_library_does(
    workers: list[list[tuple[float, float, str]]], cut: float | None, which: int
) -> None:
    """Workers with attempts in a row, one of them cancelled at some moment: the same ends at the
    same times as with a timer of each attempt's own."""

    async def transport(takes: float, kind: str) -> str:
        try:
            await asyncio.sleep(takes)
        except asyncio.CancelledError:
            if kind == "answers late":
                return "late answer"
            if kind == "slow to clean up":
                await asyncio.sleep(AGAIN / 2)
            raise
        if kind == "fails":
            raise TransportError("disconnected", perhaps_sent=True)
        return "answered"

    def world(make: Callable[[], Callable[[Work], Awaitable[Any]]]) -> list[Any]:
        log: list[Any] = []

        async def work(number: int, plan: list[tuple[float, float, str]], tried: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                for gap, takes, kind in plan:
                    await asyncio.sleep(gap)
                    try:
                        end = await tried(lambda takes=takes, kind=kind: transport(takes, kind))
                    except TransportError as exc:
                        end = exc.failure
                    log.append((number, end, round(now(), 6), task.cancelling()))
            except asyncio.CancelledError:
                log.append((number, "cancelled", round(now(), 6)))

        async def main() -> None:
            tried = make()
            tasks = [asyncio.create_task(work(n, plan, tried)) for n, plan in enumerate(workers)]
            if cut is not None:
                chosen = tasks[which % len(tasks)]
                asyncio.get_running_loop().call_at(cut, chosen.cancel)
            await asyncio.wait(tasks)

        run(main())
        return sorted(log, key=str)

    def ours() -> Callable[[Work], Awaitable[Any]]:
        deadlines = of(3.0)
        return lambda work: attempt(deadlines, work)

    assert world(ours) == world(lambda: lambda work: model(3.0, work))


def test_a_lane_takes_no_harm_from_stubborn_transports() -> None:
    """A transport that swallows every first cancellation: each event is retried and arrives."""
    first: set[bytes] = set()

    async def answer(body: bytes) -> int:
        if body in first:
            return 202
        first.add(body)
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            await asyncio.sleep(1_000)
        return 500

    vendors = Vendors(lambda request, events: answer(request.body))

    async def main() -> None:
        async with dispatcher(vendors, freshpaint(workers=3, timeout=2.0)) as d:
            for number in range(3):
                d.track("e", user_id=str(number))
            assert await d.flush()
            assert fates(d, "freshpaint") == {"delivered": 3}

    run(main())


@pytest.mark.parametrize("offset", [-1e-9, 0.0, 1e-9])
def test_a_close_that_ends_as_an_attempt_does(offset: float) -> None:
    """The last flush is over at the very moment at which an attempt is: the event is given up for
    `shutdown` once, whichever comes first."""

    async def hang() -> Response:
        await asyncio.sleep(1_000)
        return Response(202)

    vendors = Vendors(lambda request, events: hang())

    async def main() -> None:
        d = dispatcher(vendors, freshpaint(workers=1, timeout=2.0))
        await d.start()
        d.track("e", user_id="u")
        await asyncio.sleep(1.0)
        report = await d.aclose(timeout=1.0 + offset)
        assert dict(report.left) == {"freshpaint": 1}
        assert now() == pytest.approx(2.0)
        assert fates(d, "freshpaint") == {"dropped": {"shutdown": 1}}

    run(main())


def test_closing_leaves_no_timer() -> None:
    """A loop that goes on has nothing to remember of a dispatcher that is closed."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with dispatcher(Vendors(), freshpaint()) as d:
            d.track("e", user_id="u")
            assert await d.flush()
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []  # type: ignore[attr-defined]

    run(main())
