"""The demo as its users run it: a process, a sink of its own, two counts, an exit status."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

import sendoff
from sendoff import demo
from sendoff.cli import cli
from sendoff.demo.live import LiveScreen, frame
from sendoff.demo.progress import Reading
from terminals import on_a_terminal

pytestmark = pytest.mark.slow

PATIENCE = 60.0
SOURCE = str(Path(sendoff.__file__).parents[1])
COMMAND = (sys.executable, "-W", "error", "-m", "sendoff", "demo")


def environment(**more):
    paths = (SOURCE, os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


def run(*arguments, **more):
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def row(output, what, nth=0):
    """The two numbers of the nth line of the table with this word."""
    table = output.split("\n\n")[1]
    lines = [line for line in table.splitlines() if re.search(rf"\b{what}  ", line)]
    return [int(number.replace(",", "")) for number in lines[nth].split(what)[1].split()[:2]]


def test_every_event_is_counted_once_at_both_ends():
    """300 events to two vendors: 600 fates, none lost, none twice, and an exit status of 0."""
    answer = run("--events", "300")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    out = answer.stdout
    for what in ("submitted", "delivered", "accepted", "unique ids"):
        assert row(out, what) == [300, 300], out
    for what in ("given up", "pending", "retries", "duplicates", "met a fault"):
        assert row(out, what) == [0, 0], out
    assert row(out, "requests") == row(out, "requests", nth=1)
    assert row(out, "requests")[1] == 300
    assert out.endswith("Both ends agree: every event arrived and is accounted for.\n")


def test_an_outage_loses_nothing():
    """Every kind of fault is met, what was broken off comes twice, and every id is there."""
    answer = run("--faults", "--events", "300")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    out = answer.stdout
    assert row(out, "delivered") == row(out, "unique ids") == [300, 300]
    assert min(*row(out, "retries"), *row(out, "duplicates"), *row(out, "met a fault")) > 0
    assert "outage: 503 for 0.7 s" in out
    assert "freshpaint: server_error (503); trying again" in out


def test_output_that_is_no_terminal_has_no_escape_codes():
    """Plain ASCII lines, also where the environment asks rich for colours."""
    out = run("--events=20", FORCE_COLOR="1", TTY_COMPATIBLE="1").stdout
    assert out.isascii()
    assert all(char.isprintable() for char in out.replace("\n", ""))
    assert re.search(r"\d\.\d s  datadog +20 enqueued +20 delivered +0 retried .* done\n", out)


def test_a_file_of_ones_own_is_replayed_at_its_rate(tmp_path):
    """All of its rows, no faster than asked: three at ten a second take 0.3 seconds."""
    path = tmp_path / "mine.csv"
    rows = ["customer_id,date,quantity,amount_usd", *["00001,19970101,1,11.77"] * 3]
    path.write_text("\n".join(rows))
    answer = run("--all", str(path), "--rate", "10")
    assert answer.returncode == 0, answer.stderr
    assert row(answer.stdout, "unique ids") == [3, 3]
    assert float(re.search(r"requests in (\d+\.\d) s", answer.stdout)[1]) >= 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--events", "0"), "0 is not in the range x>=1"),
        (("--events", "6788"), "6,788 are more than the 6,787 purchases of the shipped file"),
        (("--rate", "0"), "0 is not in the range x>=1"),
        (("--rate", "nan"), "'nan' is not a valid integer"),
        (("--all", "nowhere.csv"), "'nowhere.csv' does not exist"),
        (("--all", __file__), "line 1 must be customer_id"),
    ],
)
def test_a_wrong_option_exits_with_2_before_anything_starts(arguments, message):
    """The message names the option or the limit."""
    answer = CliRunner().invoke(cli, ["demo", *arguments])
    assert answer.exit_code == 2
    assert message in answer.output


def test_a_file_without_rows_is_wrong_use(tmp_path):
    """There is nothing to compare."""
    path = tmp_path / "empty.csv"
    path.write_text("customer_id,date,quantity,amount_usd\n")
    answer = CliRunner().invoke(cli, ["demo", "--all", str(path)])
    assert (answer.exit_code, answer.output.splitlines()[-1]) == (
        2,
        "Error: the file holds no purchases",
    )


def test_counts_that_differ_by_one_event_exit_with_1(monkeypatch):
    """The status of a run is that of its comparison, and the output says which end lacks what."""
    run_well = demo.run

    def run_badly(plan, screen):
        outcome = run_well(plan, screen)
        return replace(
            outcome, differences={**outcome.differences, "datadog": demo.Differences(lost=1)}
        )

    monkeypatch.setattr(demo, "run", run_badly)
    answer = CliRunner().invoke(cli, ["demo", "--events", "5"])
    assert answer.exit_code == 1
    assert answer.output.endswith("datadog differs: 1 lost.\n")


def test_an_event_that_never_leaves_makes_a_real_run_exit_with_1(monkeypatch):
    """A call that is passed over is seen by the comparison, and not only by its unit test."""
    track = sendoff.Dispatcher.track

    def forgetful(self, *arguments, **options):
        options["to"] = ["datadog"] if options["user_id"] == "00020" else None
        return track(self, *arguments, **options)

    monkeypatch.setattr(sendoff.Dispatcher, "track", forgetful)
    answer = CliRunner().invoke(cli, ["demo", "--events", "5"])
    assert answer.exit_code == 1
    assert re.search(
        r"^freshpaint differs: \d lost, \d unaccounted\.$", answer.output, re.MULTILINE
    )
    assert "datadog differs" not in answer.output


def test_a_sink_that_does_not_start_exits_with_1(monkeypatch):
    """It is told in a line, without a traceback."""

    def fail(*_):
        raise RuntimeError("the sink did not start; its exit status is 1")

    monkeypatch.setattr(demo, "run", fail)
    answer = CliRunner().invoke(cli, ["demo", "--events", "5"])
    assert (answer.exit_code, answer.output) == (
        1,
        "Error: the sink failed: the sink did not start; its exit status is 1\n",
    )


def test_ctrl_c_ends_at_once_and_cleanly():
    """Neither a traceback nor a wait, and the exit status of an interrupted command."""
    process = subprocess.Popen(
        [*COMMAND, "--rate", "100"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while "enqueued" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the sink as well
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert errors == "stopped by Ctrl-C before the end; nothing was compared\n"


@pytest.mark.parametrize("columns", [100, 70])
def test_a_terminal_gets_a_live_display(columns):
    """It moves, it fits, and the cursor that it hides comes back."""
    clean = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    drawn = on_a_terminal([*COMMAND, "--events=100"], clean, columns)
    assert (drawn.status, drawn.cursor) == (0, (1, 1)), drawn.text
    assert "enqueued" in drawn.text
    lines = drawn.plain.splitlines()
    assert max(map(len, lines)) <= columns
    assert "Both ends agree: every event arrived and is accounted for." in lines


@pytest.mark.parametrize("width", [100, 70, 60])
def test_a_picture_cuts_no_number(width):
    """Every number is whole at every sensible width, also with five digits."""
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    readings = [
        Reading("datadog", 69_659, 69_659, 34_000, 12_345, 7, "waiting"),
        Reading("freshpaint", 69_659, 69_659, 69_659, 0, 5_000, "done"),
    ]
    console.print(frame(readings, 12.34, width))
    text = console.file.getvalue()
    for part in ("12.3 s", "69,659", "34,000", "12,345", "5,000", "waiting", "freshpaint"):
        assert part in text
    assert "…" not in text


def test_a_note_with_brackets_is_shown_as_it_is():
    """Log lines are text and no markup."""
    console = Console(width=60, file=io.StringIO())
    LiveScreen(console).note("datadog: [bold]refused[/bold] [1, 2]")
    assert console.file.getvalue() == "datadog: [bold]refused[/bold] [1, 2]\n"
