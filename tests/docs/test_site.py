"""
The pages as a site: built without a warning, whole, and with nothing from elsewhere.

Needs the extra `docs`; without it these tests are left out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("furo")
pytest.importorskip("myst_parser")

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
LOADS = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself while it shows a page."""


class Page(HTMLParser):
    """
    What one built page holds: its anchors, its links, and what it loads.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.styles = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADS.get(tag, "") in values:
            self.loads.append(values[LOADS[tag]])


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """
    The documented command.
    """
    return subprocess.run(
        (
            *(sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html"),
            *("-d", target.parent / "trees", source, target),
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=DOCS.parent,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site") / "html"
    result = build(DOCS, target)
    assert (result.returncode, result.stderr) == (0, "")
    return target


def pages(site: Path) -> Iterator[tuple[Path, Page]]:
    for path in sorted(site.rglob("*.html")):
        yield path, Page(path.read_text())


def test_every_page_is_built(site: Path) -> None:
    """Each Markdown file below `docs` is a page, and the search knows its title."""
    for source in DOCS.rglob("*.md"):
        if "examples" not in source.relative_to(DOCS).parts:
            name = source.relative_to(DOCS).with_suffix("")
            assert (site / name).with_suffix(".html").exists(), name
            assert f'"{name}"' in (site / "searchindex.js").read_text(), name


def test_every_link_within_the_site_leads_on(site: Path) -> None:
    """A link to a page finds the page, and one to a section the section."""
    anchors = {path: page.anchors for path, page in pages(site)}
    seen = 0
    for path, page in pages(site):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in anchors[target] | {""}, f"{path}: {link}"
                seen += 1
    assert seen > 100  # else nothing was looked at


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    """Scripts, styles, pictures and fonts are the site's own, in pages as in styles and charts."""
    for path, page in pages(site):
        assert page.loads, path
        for address in page.loads:
            parts = urlsplit(address)
            assert not parts.netloc, f"{path.relative_to(site)}: {address}"
            assert parts.scheme in ("", "data"), address
            if parts.path and not parts.scheme:
                assert (path.parent / unquote(parts.path)).exists(), f"{path}: {address}"
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text()
        for sign in ("url(http", "url(//", "url('http", 'url("http', "@import", 'href="http'):
            assert sign not in text, f"{path}: {sign}"


def test_the_charts_are_shown(site: Path) -> None:
    """Every stored chart is a picture of the page on performance."""
    shown = (site / "explanation/performance.html").read_text()
    for chart in (DOCS / "explanation/charts").glob("*.svg"):
        assert f"_images/{chart.name}" in shown, chart.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gone](nowhere.md)\n", "nowhere.md"),
        ("[gone](index.md#nowhere)\n", "nowhere"),
        ("```{no-such-thing}\n```\n", "no-such-thing"),
    ],
)
def test_what_is_wrong_in_a_page_stops_the_build(text: str, words: str, tmp_path: Path) -> None:
    """A link to a page or section that is not there is an error, and so is unknown markup."""
    source = tmp_path / "source"
    source.mkdir()
    configuration = (DOCS / "conf.py").read_text()
    project = "Path(__file__).parents[1]"
    assert project in configuration
    (source / "conf.py").write_text(configuration.replace(project, f"Path({str(DOCS.parent)!r})"))
    (source / "index.md").write_text(f"# A page\n\n{text}")
    result = build(source, tmp_path / "html")
    assert result.returncode != 0
    assert words in result.stderr
