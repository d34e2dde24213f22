"""
A replay in virtual time: how fast it goes, and what it says when it gives up.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sendoff.dead_letters import Parcel, lines_of
from sendoff.replay import Outcome, Plan, destination_of, run
from sendoff.terminal import QuietScreen
from sendoff.testing import ScriptedVendors, run_virtual


class Notes(QuietScreen):
    """
    Keeps what it is to show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def replayed(
    folder: Path, vendors: ScriptedVendors, screen: QuietScreen, letters: int, rate: int | None
) -> Outcome:
    """
    Writes letters and replays them.
    """
    path = folder / "letters"
    ids = [f"id-{number}" for number in range(letters)]
    fields = {"distinct_id": "u", "token": None, "time": 1_700_000_000}
    parcel = Parcel(
        bodies=[
            json.dumps({"event": "x", "properties": {**fields, "$insert_id": one}}).encode()
            for one in ids
        ],
        ids=ids,
        time=1_700_000_000.0,
        destination="freshpaint",
        reason="expired",
        status=503,
        detail="503",
    )
    path.write_bytes(b"".join(lines_of(parcel)))
    plan = Plan(path=path, to="freshpaint", rate=rate, timeout=20.0)
    return run(plan, destination_of("freshpaint", token="t"), screen, vendors)


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", run_virtual)


def test_a_rate_is_kept(tmp_path: Path) -> None:
    """At two events a second the tenth goes four and a half seconds after the first."""
    vendors = ScriptedVendors()
    outcome = replayed(tmp_path, vendors, Notes(), letters=10, rate=2)
    assert (outcome.sent, outcome.complete) == (10, True)
    since = [time - vendors.times[0] for time in vendors.times]
    assert since == pytest.approx([number / 2 for number in range(10)], abs=0.1)


def test_without_a_rate_nothing_waits(tmp_path: Path) -> None:
    """Only the vendor's own limit holds."""
    vendors = ScriptedVendors()
    outcome = replayed(tmp_path, vendors, Notes(), letters=10, rate=None)
    assert (outcome.sent, outcome.elapsed < 0.2) == (10, True)


def test_what_is_left_in_the_file_is_not_called_lost(tmp_path: Path) -> None:
    """A replay that gives up says why and what was answered, and nothing of an end."""
    screen = Notes()
    outcome = replayed(tmp_path, ScriptedVendors("403"), screen, letters=3, rate=None)
    assert (outcome.sent, outcome.left) == (0, 3)
    assert outcome.gave_up.startswith("no progress for 20 s; the last word was forbidden (403")
    assert len(screen.notes) == 1
    assert "everything is kept" in screen.notes[0]
