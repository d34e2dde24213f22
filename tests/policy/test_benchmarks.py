"""
What the measurements make of figures: goals, baselines, noise, tables, pages and charts; with
made-up figures and modules, nothing is timed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import xml.etree.ElementTree as ET
from array import array
from pathlib import Path
from typing import Any

import benchmarks
import pytest
from benchmarks import __main__ as suite
from benchmarks import charts, report
from benchmarks.harness import Figure, amount, in_turns, ratios, spread, table
from benchmarks.judgement import Mark, judge, judge_all, noise_of, renewed
from benchmarks.server import FullestSeconds, Server

from sendoff._throttle import GUARD

pytestmark = pytest.mark.slow

QUIET, LOUD = 1.2, 2.5


def ratio(value: float, **rest: Any) -> Figure:
    return Figure("enqueue.one", value, **rest)


# --- figures --------------------------------------------------------------------------------------


def test_what_takes_turns_is_compared_turn_by_turn() -> None:
    """Each repeat runs all of them, and ratios are made within a repeat, not across."""
    ran: list[str] = []
    values = iter(range(1, 100))

    def run(name: str) -> float:
        ran.append(name)
        return next(values)

    found = in_turns({name: lambda name=name: run(name) for name in "abc"}, 3, seed=1)
    assert [sorted(ran[at : at + 3]) for at in range(0, 9, 3)] == [["a", "b", "c"]] * 3
    assert len({tuple(ran[at : at + 3]) for at in range(0, 9, 3)}) > 1  # in changing orders
    assert ratios({"a": [2.0, 30.0], "b": [1.0, 10.0]}, "a", "b") == [2.0, 3.0]
    assert all(len(one) == 3 for one in found.values())


def test_a_figure_survives_json() -> None:
    """What is stored and read again is equal."""
    one = Figure.median("a.b", [3.0, 1.0, 2.0], against="x", goal=2.5, detail="d")
    assert one.value == 2.0
    assert Figure.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_table_says_what_is_missed() -> None:
    """A line for each figure, with goal, mark and what it is measured against."""
    figures = [
        Figure("a.ratio", 4.0, against="one dumps", goal=5.0),
        Figure("a.rate", 4_700.0, "req/s", goal=4_850.0, at_most=False, detail="at the receiver"),
    ]
    assert [line.split() for line in table(figures).splitlines()] == [
        ["figure", "value", "goal", "detail"],
        ["a.ratio", "4", "x", "<=", "5", "met", "times", "one", "dumps"],
        ["a.rate", "4,700", "req/s", ">=", "4850", "MISSED", "at", "the", "receiver"],
    ]
    assert table(figures, ["", "noisy"]).splitlines()[2].split()[5] == "noisy"
    assert amount(figures[1]) == "4,700 req/s"


# --- goals and noise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "quick", "mark"),
    [
        (ratio(4.9, goal=5.0), False, Mark.MET),
        (ratio(5.1, goal=5.0), False, Mark.FAILED),
        (ratio(5.1, goal=5.0), True, Mark.MISSED),
        (ratio(7.9, goal=5.0), True, Mark.MISSED),
        (ratio(8.1, goal=5.0), True, Mark.FAILED),
        (ratio(99.0), False, Mark.PLAIN),
        # A goal from below.
        (ratio(14.0, goal=15.0, at_most=False), False, Mark.FAILED),
        (ratio(9.5, goal=15.0, at_most=False), True, Mark.MISSED),
        (ratio(9.3, goal=15.0, at_most=False), True, Mark.FAILED),
        # Absolute times fail a long run only; counts fail both.
        (ratio(50.0, unit="ms", goal=2.0), True, Mark.MISSED),
        (ratio(50.0, unit="ms", goal=2.0), False, Mark.FAILED),
        (ratio(1.0, unit="req/s", goal=4_850.0, at_most=False), True, Mark.MISSED),
        (ratio(90.0, unit="MB", goal=45.0), True, Mark.FAILED),
        (ratio(1.0, unit="events lost", goal=0.0), True, Mark.FAILED),
    ],
)
def test_a_goal_is_judged(figure: Figure, quick: bool, mark: Mark) -> None:
    """A long run fails by a missed goal; a short one by a wide margin, never by absolute time."""
    found = judge(figure, quick=quick, noise=QUIET)
    assert found.mark is mark
    assert found.fails == (mark is Mark.FAILED)


@pytest.mark.parametrize(
    ("figure", "baseline", "mark"),
    [
        (ratio(3.1), 2.0, Mark.PLAIN),
        (ratio(3.3), 2.0, Mark.WORSE),
        (ratio(0.1), 2.0, Mark.PLAIN),  # better is no fault
        (ratio(3.3), None, Mark.PLAIN),
        (ratio(3.3), 0.0, Mark.PLAIN),  # nothing is so many times as much as nothing
        (ratio(3.3, goal=5.0), 2.0, Mark.WORSE),  # also within the goal
        (ratio(11.0, at_most=False), 20.0, Mark.WORSE),
        (ratio(13.0, at_most=False), 20.0, Mark.PLAIN),
        (ratio(9.0, unit="ms"), 2.0, Mark.PLAIN),  # only ratios are compared
        # What missed its goal before is held to what it was, in a short run.
        (ratio(14.0, goal=5.0), 9.0, Mark.MISSED),
        (ratio(14.5, goal=5.0), 9.0, Mark.FAILED),
        (ratio(9.0, goal=5.0), 4.0, Mark.FAILED),
    ],
)
def test_a_ratio_is_compared_with_its_baseline(
    figure: Figure, baseline: float | None, mark: Mark
) -> None:
    """More than 1.6 times worse fails; what has a unit is another machine's."""
    assert judge(figure, quick=True, noise=QUIET, baseline=baseline).mark is mark


def test_a_noisy_machine_is_said_and_fails_nothing() -> None:
    """Neither a goal nor a baseline; what is met is met all the same."""
    assert judge(ratio(50.0, goal=5.0), quick=True, noise=LOUD).mark is Mark.NOISY
    assert judge(ratio(50.0), quick=False, noise=LOUD, baseline=5.0).mark is Mark.NOISY
    assert judge(ratio(4.0, goal=5.0), quick=True, noise=LOUD).mark is Mark.MET
    assert "2.5 times" in judge(ratio(50.0, goal=5.0), quick=True, noise=LOUD).why


def test_scattered_repeats_excuse_only_if_the_best_is_within_bounds() -> None:
    """Repeats that lie far apart are noise, unless all of them are out of bounds."""
    excused = Figure.median("a.b", [4.0, 9.0, 12.0], goal=5.0)
    guilty = Figure.median("a.b", [9.0, 19.0, 29.0], goal=5.0)
    assert spread(excused.samples) > 2 < spread(guilty.samples)
    assert judge(excused, quick=True).mark is Mark.NOISY
    assert judge(guilty, quick=True).mark is Mark.FAILED
    from_below = Figure.median("a.b", [4.0, 9.0, 12.0], goal=20.0, at_most=False)
    assert judge(from_below, quick=False).mark is Mark.FAILED
    assert judge(from_below, quick=False, baseline=16.0).mark is Mark.FAILED
    fast_once = Figure.median("a.b", [4.0, 9.0, 22.0], goal=20.0, at_most=False)
    assert judge(fast_once, quick=False).mark is Mark.NOISY


def test_single_interruptions_are_no_noise() -> None:
    """One repeat in ten may take as long as it likes; more of them, and the machine is noisy."""
    assert noise_of([1.0] * 18 + [9.0, 9.0]) == 1.0
    assert noise_of([1.0] * 17 + [9.0, 9.0, 9.0]) == 9.0
    assert noise_of([9.0, *[1.0] * 19]) == 1.0
    assert noise_of([]) == spread([1.0]) == spread([0.0, 1.0]) == 1.0


# --- the baseline ---------------------------------------------------------------------------------


def test_a_baseline_is_renewed_by_module() -> None:
    """A module's old figures go, others' stay; no units, and nothing measured amid noise."""
    figures = {
        "enqueue": [ratio(4.0), Figure("enqueue.rate", 9.0, "req/s")],
        "wire": [Figure("wire.one", 1.2)],
    }
    old = {"enqueue.one": 9.0, "enqueue.gone": 1.0, "wire.one": 7.0, "memory.one": 3.0}
    assert renewed(old, figures, noise={"enqueue": QUIET, "wire": LOUD}) == {
        "enqueue.one": 4.0,
        "memory.one": 3.0,
        "wire.one": 7.0,
    }


def test_each_figure_meets_its_own_baseline() -> None:
    """By name."""
    figures = [Figure("a.one", 4.0), Figure("a.two", 4.0)]
    marks = judge_all(figures, quick=True, noise=QUIET, baseline={"a.two": 1.0})
    assert [one.mark for one in marks] == [Mark.PLAIN, Mark.WORSE]


# --- the command ----------------------------------------------------------------------------------

MODULES = {
    "good": "return [Figure('good.one', 4.0, goal=5.0), Figure('good.two', 2.0)]",
    "bad": "return [Figure('bad.one', 50.0, goal=5.0)]",
    "broken": "raise RuntimeError('no')",
    "stuck": "import time; time.sleep(1_000)",
    "empty": "return []",
    "loud": "print('a word'); return [Figure('loud.one', 1.0)]",
    "unlucky": (
        "from pathlib import Path; seen = Path('unlucky.txt').exists(); "
        "Path('unlucky.txt').touch(); "
        "return [Figure('unlucky.one', 1.0 if seen else 50.0, goal=5.0)]"
    ),
    "aside": (
        "import os, sys; return [Figure('aside.modules', float('benchmarks.good' in sys.modules))]"
    ),
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up modules in a package like the real one's, with real processes around them."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for path in Path(benchmarks.__file__).parent.glob("*.py"):
        (package / path.name).write_text(path.read_text())
    for name, body in MODULES.items():
        (package / f"{name}.py").write_text(
            f"from benchmarks.harness import Figure\ndef measure(*, quick):\n    {body}\n"
        )
    monkeypatch.setattr(suite, "NAMES", tuple(MODULES))
    monkeypatch.setattr(benchmarks, "__path__", [str(package)])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # How noisy this machine is now is not asked here.
    (package / "harness.py").write_text(
        (package / "harness.py").read_text() + "\ncalibration = lambda: [1.0] * 20\n"
    )
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = suite.main(arguments)
    return status, capfd.readouterr().out


def test_all_is_well(modules: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The table, and a closing line; the exit status is 0."""
    status, out = run(capfd, "good", "empty", "--baseline", "none.json")
    assert status == 0
    assert "good.one  4 x    <= 5  met" in out
    assert "nothing to measure here" in out
    assert out.splitlines()[-1] == "2 figures, 1 of 1 goals met"


def test_a_failing_module_does_not_stop_the_others(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is named, and so it is in the exit status."""
    status, out = run(capfd, "broken", "good", "--baseline", "none.json")
    assert status == 1
    assert "FAILED: ended with status 1" in out
    assert out.splitlines()[-1] == "2 figures, 1 of 1 goals met; failed: broken"


def test_a_module_that_hangs_is_killed(modules: Path) -> None:
    """With whatever it has started, when its time is over."""
    found = suite.run_alone("stuck", quick=True, timeout=0.1)
    assert found == suite.Found("stuck", seconds=0.1, failure="not done after 0.1 s")


def test_a_missed_goal_is_the_exit_status(modules: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also in a short run, where it is missed by far."""
    for arguments in (["bad"], ["bad", "--quick"]):
        status, out = run(capfd, *arguments, "--baseline", "none.json")
        assert status == 1
        assert out.splitlines()[-1] == "1 figures, 0 of 1 goals met; failed: bad.one"
        assert out.count("once more") == ("--quick" in arguments)


def test_a_short_run_fails_only_by_what_it_finds_twice(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unlucky repeat of a few is no news."""
    status, out = run(capfd, "unlucky", "--quick", "--baseline", "none.json")
    assert status == 0
    assert out.count("== unlucky") == 2
    assert out.splitlines()[-1] == "1 figures, 1 of 1 goals met"


def test_modules_do_not_touch_each_other(modules: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each runs in a process that has not imported the others."""
    status, out = run(capfd, "good", "aside", "--json", "-", "--baseline", "none.json")
    assert status == 0
    found = json.loads(out)["modules"]["aside"]["figures"]
    assert [one["value"] for one in found] == [0.0]


def test_what_is_written(
    modules: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on stdout is JSON alone, names no machine and no moment, and can be read again."""
    status = suite.main(["loud", "good", "--quick", "--json", "-", "--baseline", "none.json"])
    found = json.loads(capfd.readouterr().out)
    assert status == 0
    assert found["quick"] is True
    assert found["python"] == sys.version.split()[0]
    assert set(found) == {
        *("python", "implementation", "system", "machine", "cpus", "loop", "packages", "quick"),
        "modules",
    }
    assert [suite.Found.from_json(name, one).failure for name, one in found["modules"].items()] == [
        "",
        "",
    ]
    assert report.figures_of(found)[1] == Figure("good.one", 4.0, goal=5.0)


def test_a_baseline_is_kept_and_compared(modules: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What was saved passes; what is much worse than it fails, of this version of Python only."""
    path = modules / "baseline.json"
    path.write_text(json.dumps({"2.7": {"good.two": 0.1}}))
    arguments = ("good", "--baseline", str(path))
    assert run(capfd, *arguments, "--save-baseline")[0] == 0
    own = suite.python_version()
    saved = json.loads(path.read_text())
    assert saved == {"2.7": {"good.two": 0.1}, own: {"good.one": 4.0, "good.two": 2.0}}
    assert run(capfd, *arguments)[0] == 0
    path.write_text(json.dumps({own: {"good.two": 1.0}}))
    status, out = run(capfd, *arguments)
    assert status == 1
    assert "good.two: WORSE, it was 1, the limit is 1.6" in out


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Not silently left out."""
    with pytest.raises(SystemExit):
        suite.main(["enqeue"])
    assert "no such benchmark: enqeue" in capsys.readouterr().err


# --- the page and the charts ----------------------------------------------------------------------

PAGE = """before
<!-- facts -->
old
<!-- end -->
<!-- figures ^enqueue\\. -->
<!-- end -->
<!-- chart calls -->
<!-- end -->
after
"""


def results(*figures: Figure, noise: float = 1.0) -> dict[str, Any]:
    facts = {**suite.facts(quick=False), "python": "3.11.2", "packages": {"orjson": "3.0"}}
    facts |= {"implementation": "CPython", "system": "Linux", "machine": "m", "cpus": 2}
    return {**facts, "modules": {"a": suite.Found("a", figures, noise=noise).as_json()}}


def test_a_page_is_filled_between_its_marks() -> None:
    """A table with a column for each version; missed goals stand out; the rest stays."""
    found = {
        "3.11": results(ratio(4.123, goal=5.0, against="one|two", detail="d")),
        "3.13": results(
            ratio(6.0, goal=5.0),
            Figure("enqueue.n", 1_234.0, "events"),
            Figure("b.c", 1.0),
            noise=LOUD,
        ),
    }
    filled = report.filled(PAGE, found)
    assert filled == report.filled(filled, found)
    assert filled.splitlines()[:10] == [
        "before",
        "<!-- facts -->",
        "* CPython 3.11.2, Linux on m, 2 processors, orjson 3.0",
        "* CPython 3.11.2, Linux on m, 2 processors, orjson 3.0; the machine was noisy during `a`",
        "<!-- end -->",
        "<!-- figures ^enqueue\\. -->",
        "| figure | goal | Python 3.11 | Python 3.13 | against |",
        "| --- | --- | --- | --- | --- |",
        "| `enqueue.one` | ≤ 5 × | 4.12 × | **6 ×, missed** | one\\|two; d |",  # noqa: RUF001
        "| `enqueue.n` |  | not measured | 1,234 events |  |",
    ]
    assert "Not measured yet." in filled
    assert "b.c" not in filled


def test_a_page_without_results_says_so() -> None:
    """Nothing is made up."""
    assert report.filled(PAGE, {}).count("Not measured yet.") == 2


def test_short_runs_are_not_published(tmp_path: Path) -> None:
    """Stored results are those of long runs."""
    (tmp_path / "3.11.json").write_text(json.dumps({**results(), "quick": True}))
    with pytest.raises(ValueError, match=r"3\.11\.json comes from a short run"):
        report.read_results(tmp_path)


def test_versions_come_in_order(tmp_path: Path) -> None:
    """3.9 before 3.13; the rivals' figures join their version's, and charts take the newest."""
    for name, value in (("3.13", 1.0), ("3.9", 2.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(results(Figure("a.b", value))))
    rivals = {"quick": False, "figures": [Figure("rivals.b.call", 3.0).as_json()]}
    (tmp_path / "rivals-3.9.json").write_text(json.dumps(rivals))
    found = report.read_results(tmp_path)
    assert {version: report.figures_of(one) for version, one in found.items()} == {
        "3.9": [Figure("a.b", 2.0), Figure("rivals.b.call", 3.0)],
        "3.13": [Figure("a.b", 1.0)],
    }
    assert list(found) == ["3.9", "3.13"]
    assert report.charted(found) == [Figure("a.b", 1.0), Figure("rivals.b.call", 3.0)]
    (tmp_path / "rivals-3.9.json").write_text(json.dumps({**rivals, "quick": True}))
    with pytest.raises(ValueError, match=r"rivals-3\.9\.json comes from a short run"):
        report.read_results(tmp_path)


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.name)
def test_a_chart_is_drawn_to_scale(chart: charts.Chart) -> None:
    """Valid XML with both themes; lengths follow the values; ours stands out; text is escaped."""
    bars = [
        charts.Bar("a <b>", 4.0, own=False),
        charts.Bar("sendoff", 40.0, own=True),
        charts.Bar("c", 400.0, own=False),
    ]
    text = charts.draw(chart, bars)
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    rects = [one for one in root.iter(f"{space}rect") if one.get("class") != "ground"]
    lengths = [float(one.get("width", "")) for one in rects]
    assert [one.get("class") for one in rects] == ["bar", "own", "bar"]
    if chart.log:
        assert lengths[2] - lengths[1] == pytest.approx(lengths[1] - lengths[0], abs=0.2)
    else:
        assert lengths[2] == pytest.approx(10 * lengths[1], abs=1)
    assert max(lengths) <= charts.WIDTH - charts.LABELS - charts.VALUES
    assert "prefers-color-scheme: dark" in text
    assert "a &lt;b&gt;" in text


def test_charts_are_made_of_the_figures_there_are() -> None:
    """Each takes its own, the least first; without any there is no file."""
    figures = [
        Figure("rivals.posthog.call", 200.0),
        Figure("rivals.sendoff_datadog.call", 5.0),
        Figure("rivals.posthog.memory", 126.0, "MB"),
    ]
    assert sorted(charts.drawn(figures)) == ["calls.svg", "memory.svg"]
    assert charts.CHARTS[0].bars(figures) == [
        charts.Bar("sendoff datadog", 5.0, own=True),
        charts.Bar("posthog", 200.0, own=False),
    ]
    assert charts.drawn([]) == {}


def test_the_wire_is_drawn_between_the_floor_and_aiohttp() -> None:
    """The stored ratios are ours to either; aiohttp is so much more than the bare one."""
    figures = [
        Figure("wire.tls.asyncio.bare", 1.25),
        Figure("wire.tls.asyncio.aiohttp", 0.25),
        Figure("wire.plain.uvloop.bare", 1.5),  # half of it: left out
    ]
    assert charts.on_the_wire(figures) == [
        charts.Bar("tls, asyncio: bare", 1.0, own=False),
        charts.Bar("tls, asyncio: sendoff", 1.25, own=True),
        charts.Bar("tls, asyncio: aiohttp", 5.0, own=False),
    ]


# --- the receiver ---------------------------------------------------------------------------------


class Receiver:
    """
    A server that has seen what it is told.
    """

    def __init__(self, times: list[float], still: float) -> None:
        self._times, self._still = array("d", times), still

    def seen(self) -> array[float]:
        return self._times

    def stood_still(self) -> float:
        return self._still


def test_a_run_whose_receiver_did_not_run_is_left_out_and_said() -> None:
    """What it noted late came in a crowd that nobody had sent."""
    most = FullestSeconds()
    crowded = Receiver([0.0, 0.5, 0.9, 1.1], GUARD + 0.001)
    most.note(crowded)
    assert (most.samples, "left out" in most.detail) == ((3,), True)  # there is no other
    assert list(most.note(Receiver([0.0, 0.6, 1.1], GUARD))) == [0.0, 0.6, 1.1]
    assert most.samples == (2,)
    assert most.detail == "; a run with 3 left out: the receiver did not run for 23 ms"


def test_a_receiver_knows_for_how_long_it_stood_still() -> None:
    """A process that is stopped notes afterwards what came meanwhile."""
    with Server() as server:
        server.reset()
        pid = server._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        for _ in range(1_000):
            if server.stood_still() > 0.2:
                break
            time.sleep(0.01)
        assert 0.2 < server.stood_still() < 60.0
        server.reset()
        assert server.stood_still() < 0.2
