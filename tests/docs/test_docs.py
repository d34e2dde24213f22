"""
What the documents say is true: their code runs, their tables are the code's, their links lead on.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import charts, report
from benchmarks.__main__ import NAMES
from click.testing import CliRunner

import sendoff
from sendoff.cli import cli
from sendoff.sink import SinkProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PRELUDE = """
import sendoff.destinations.datadog as _datadog, sendoff.destinations.freshpaint as _freshpaint
_datadog._endpoint_of_site = lambda site: {datadog!r}
_freshpaint.ENDPOINT = {freshpaint!r}
"""
ENVIRONMENT = {"DD_API_KEY": "k", "DD_APPLICATION_ID": "a", "FRESHPAINT_TOKEN": "t"}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        ):
            yield f"{page.relative_to(ROOT)}-{number}", match.group(1)


def shown(example: Path) -> str:
    """
    An example as a page shows it: without the docstring at its top.
    """
    return re.sub(r'\A""".*?"""\n+', "", example.read_text(), flags=re.DOTALL)


# Apps that other tests run, as they stand in their files.
SHOWN = {shown(path) for path in (ROOT / "docs/examples").glob("*.py")}
CODE = {name: code for name, code in blocks("python") if "import" in code and code not in SHOWN}


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


def run(code: str, sink: SinkProcess) -> subprocess.CompletedProcess[str]:
    """
    Runs code as a script of its own, against the sink and nothing else.
    """
    prelude = PRELUDE.format(datadog=sink.datadog_endpoint, freshpaint=sink.freshpaint_endpoint)
    code = code.replace("http://127.0.0.1:8321", sink.url).replace("…", "any")
    without_proxies = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    path = str(Path(sendoff.__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:  # some write files
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", prelude + code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=folder,
            env={**without_proxies, **ENVIRONMENT, "PYTHONPATH": path},
        )


@pytest.mark.parametrize("name", CODE)
def test_the_code_runs(name: str, sink: SinkProcess) -> None:
    """Every Python block with an import is a script that works as it stands."""
    result = run(CODE[name], sink)
    assert result.returncode == 0, result.stderr


def test_an_example_is_shown_as_it_is() -> None:
    """What a page shows as an example's code is what is in its file."""
    found = []
    for page in PAGES:
        for name, code in re.findall(
            r"^<!-- example (\S+) -->\n```python\n(.*?)^```",
            page.read_text(),
            re.MULTILINE | re.DOTALL,
        ):
            assert code == shown(ROOT / "docs/examples" / name), f"{page}: {name}"
            found.append(name)
    assert len(found) == len(set(found)) >= 6


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_every_page_is_listed(name: str) -> None:
    """Whoever begins there finds all of them."""
    listing = ROOT / name
    links = {
        (listing.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#]+\.md)\)", listing.read_text())
    }
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"}
    assert pages - links == set()


def test_the_tutorial_prints_what_it_says(sink: SinkProcess) -> None:
    """The first script's output is the one that the page shows."""
    page = (ROOT / "docs/tutorial/first-events.md").read_text()
    shown = re.search(r"It prints:\n\n```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert run(CODE["docs/tutorial/first-events.md-0"], sink).stdout == shown.group(1)


USE = """
import threading, time, urllib.request
import uvicorn

server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
url = f"http://127.0.0.1:{port}/checkout?user=u-77&amount=9.5"
with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
    assert answer.read() == b'{"ok":true}'
server.should_exit = True
thread.join()
assert dispatcher.stats().destinations["datadog"].delivered == 1
assert dispatcher.stats().destinations["freshpaint"].delivered == 1
"""


@pytest.mark.parametrize("name", [name for name, code in CODE.items() if "FastAPI" in code])
def test_the_web_apps_send(name: str, sink: SinkProcess) -> None:
    """The FastAPI examples answer under uvicorn, and have sent the event when it has stopped."""
    sink.reset()
    result = run(CODE[name] + USE, sink)
    assert result.returncode == 0, result.stderr
    assert sink.events("datadog")[0]["usr"] == {"id": "u-77"}
    assert sink.events("freshpaint")[0]["properties"]["amount"] == 9.5


def _maker() -> object:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page", sorted(path.name for path in (ROOT / "docs/reference").glob("*.md"))
)
def test_the_reference_is_made_from_the_code(page: str) -> None:
    """No page of the reference differs from what the code says."""
    maker = _maker()
    made = maker.NOTE + maker.MAKERS[page]()  # type: ignore[attr-defined]
    assert (ROOT / "docs/reference" / page).read_text() == made, "run docs/make_reference.py"


def _public_members(name: str) -> list[str]:
    """
    What a public name brings along: methods, properties, fields and members, inherited ones too.
    """
    thing = getattr(sendoff, name)
    bases = getattr(thing, "__mro__", ())
    return [
        member
        for base in bases
        if base.__module__.startswith("sendoff.")
        for member in {**vars(base), **vars(base).get("__annotations__", {})}
        if not member.startswith("_")
    ]


@pytest.mark.parametrize("name", [*sendoff.__all__, "HttpTransport"])
def test_nothing_public_is_missing_from_the_reference(name: str) -> None:
    """Every name has its section, and every member of it stands in the reference as code."""
    pages = {page.name: page.read_text() for page in (ROOT / "docs/reference").glob("*.md")}
    assert re.search(
        rf"^## `(sendoff\.transports\.http\.)?{name}`$", pages["names.md"], re.MULTILINE
    )
    if name == "HttpTransport":
        assert "| `session` |" in pages["names.md"]
        return
    section = re.search(
        rf"^## `{name}`\n(.*?)(^## |\Z)", pages["names.md"], re.MULTILINE | re.DOTALL
    )
    assert section is not None
    text = section.group(1)
    for page in re.findall(r"\]\(([\w-]+\.md)\)", text):
        text += pages[page]
    if name == "Dispatcher":  # other pages speak of some of its methods
        text = "".join(re.findall("^## .*\n", pages["calls.md"], re.MULTILINE))
    for member in _public_members(name):
        assert re.search(rf"`(await )?{member}[`(]", text), member


def test_the_command_line_is_in_the_reference() -> None:
    """What each command prints for `--help` is on the page, word for word."""
    page = (ROOT / "docs/reference/command-line.md").read_text()
    for command in ([], *([name] for name in cli.commands)):
        shown = CliRunner().invoke(
            cli, [*command, "--help"], prog_name="sendoff", terminal_width=80
        )
        assert shown.exit_code == 0
        words = " ".join(shown.stdout.removeprefix("Usage: ").split())
        assert words in " ".join(page.split()), command


def test_every_reason_for_a_rejection_is_in_the_reference() -> None:
    """What the source can reject with is in the table, and the table has nothing else."""
    words: set[str] = set()
    for path in Path(sendoff.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if "sink" not in path.parts:
            words |= set(re.findall(r'(?:EventRejected|reject)\(\s*"(\w+)"', text))
            for form, argument in re.findall(
                r'EventRejected\(\s*f"(invalid_)\{field\}"|(?:text_id|object_of|_require_id)\('
                r'(?:payload, )?"(\w+)"',
                text,
            ):
                if argument:
                    words.add(f"invalid_{argument}")
                assert form in ("", "invalid_")
    words |= {f"invalid_{name}" for name in ("account_id", "session_id", "usr", "account")}
    words |= {"invalid_session"}  # these five come from loops over names
    assert words == set(_maker().REJECTIONS)  # type: ignore[attr-defined]


def test_links_lead_somewhere() -> None:
    """Every relative link of a page names a file."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


EXPLANATIONS = {page.name: page for page in sorted((ROOT / "docs/explanation").glob("*.md"))}


@pytest.mark.parametrize("page", EXPLANATIONS)
def test_what_an_explanation_rests_on_exists(page: str) -> None:
    """Each test that it names is in the suite, and each command is one of ours."""
    text = EXPLANATIONS[page].read_text()
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, name
    for name in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"python -m (benchmarks[\w.]*)", text):
        assert importlib.util.find_spec(name) is not None, name


@pytest.mark.parametrize("page", ["guarantees.md", "path-of-an-event.md"])
def test_a_figure_of_a_measurement_says_where_it_is_from(page: str) -> None:
    """A paragraph or row with what somebody has measured names the test or the command."""
    text = EXPLANATIONS[page].read_text()
    observed = r"\d %|\d (?:MB|µs|clients|letters)\b|\btook\b|[Mm]easure"
    for part in re.split(r"\n\n|\n(?=[|*] )", text):
        if re.search(observed, part):
            assert re.search(r"`test_\w+`|`tests/|python -m benchmarks", part), part


def test_a_decision_quotes_figures_as_they_were_measured() -> None:
    """Each figure in brackets is a row of the page on performance, with the value for 3.11."""
    rows = dict(
        re.findall(r"^\| `([\w.]+)` \|[^|]*\| ([^|]*) \|", report.PAGE.read_text(), re.MULTILINE)
    )
    quoted = re.findall(r"`([a-z_]+\.[\w.]+)`: ([^)]+)\)", EXPLANATIONS["decisions.md"].read_text())
    assert len(quoted) > 5
    for name, value in quoted:
        assert rows[name].strip("*").removesuffix(", missed") == value, name


def test_the_readme_begins_with_two_commands() -> None:
    """The first two `sh` blocks are one command each: the demo, and the tests."""
    first, second, *_ = [code for name, code in blocks("sh") if name.startswith("README")]
    assert first.count("\n") == second.count("\n") == 1
    assert first.strip().endswith("sendoff demo")
    assert second.strip().endswith("-m pytest -n 3 --dist loadfile")


def test_the_page_on_performance_is_made_from_the_results() -> None:
    """Its tables and charts are those of the stored results."""
    results = report.read_results()
    page = report.PAGE.read_text()
    assert page == report.filled(page, results), "run python -m benchmarks.report"
    drawn = charts.drawn(report.charted(results))
    stored = {path.name: path.read_text() for path in report.CHART_FOLDER.glob("*")}
    assert stored == drawn, "run python -m benchmarks.report"


def test_the_page_on_performance_leaves_no_figure_out() -> None:
    """Every stored figure is in a table, whatever it says; every chart has a place."""
    page = report.PAGE.read_text()
    patterns = report.patterns(page)
    for results in report.read_results().values():
        for figure in report.figures_of(results):
            assert any(re.search(pattern, figure.name) for pattern in patterns), figure.name
    for name in NAMES:
        assert any(re.search(pattern, f"{name}.x") for pattern in patterns), name
    for chart in charts.CHARTS:
        assert f"<!-- chart {chart.name} -->" in page
