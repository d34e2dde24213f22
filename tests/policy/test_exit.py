"""
The end of a process, with something that leaves by the book.
"""

from __future__ import annotations

import pytest

from sendoff import _exit


class Leaver:
    """
    Notes what is asked of it, and when.
    """

    def __init__(self, seconds: float | None, left: dict[tuple[str, str], int]) -> None:
        self.asked: list[str] = []
        self._seconds = seconds
        self._left = left

    def stop_taking(self) -> None:
        self.asked.append("stop taking")

    def seconds_left(self) -> float | None:
        self.asked.append("seconds")
        return self._seconds

    async def leave(self) -> None:
        self.asked.append("leave")

    def left(self) -> dict[tuple[str, str], int]:
        return self._left


def test_nothing_is_taken_once_the_end_has_begun() -> None:
    """Also by what has nothing pending: a call of another thread's might come just then."""
    busy, idle = Leaver(1.0, {}), Leaver(None, {})
    for leaver in (busy, idle):
        _exit.keep_until_exit(leaver, handle_sigterm=False)
    _exit._leave()
    assert busy.asked == ["stop taking", "seconds", "leave"]
    assert idle.asked == ["stop taking", "seconds"]


def test_what_is_left_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Of all dispatchers together, by destination and by where the events are."""
    for left in (
        {("datadog", "lost"): 1_000, ("freshpaint", "kept in spool"): 7},
        {("datadog", "lost"): 500},
    ):
        _exit.keep_until_exit(Leaver(0.0, left), handle_sigterm=False)
    _exit._leave()
    assert capsys.readouterr().err == (
        "sendoff: events are left at the end: datadog 1,500 (lost), freshpaint 7 (kept in spool)\n"
    )


def test_one_that_cannot_leave_keeps_no_other_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it break the end."""

    class Broken(Leaver):
        async def leave(self) -> None:
            raise ValueError("no")

    good = Leaver(1.0, {})
    for leaver in (Broken(1.0, {("datadog", "lost"): 1}), good):
        _exit.keep_until_exit(leaver, handle_sigterm=False)
    _exit._leave()
    assert "leave" in good.asked
    assert capsys.readouterr().err == "sendoff: events are left at the end: datadog 1 (lost)\n"


def test_nothing_is_said_where_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """A process that ends well is silent, and one that was released is not asked at all."""
    released = Leaver(1.0, {("datadog", "lost"): 1})
    _exit.keep_until_exit(released, handle_sigterm=False)
    _exit.release(released)
    _exit.keep_until_exit(Leaver(1.0, {}), handle_sigterm=False)
    _exit._leave()
    assert released.asked == []
    assert capsys.readouterr().err == ""
