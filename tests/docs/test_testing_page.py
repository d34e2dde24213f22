"""
What `docs/how-to/test-your-app.md` and its reference say is true: the tests there pass under the
plugin, the failure is the one that is shown, and no name is missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sendoff
from sendoff import testing
from sendoff.testing import capture

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/test-your-app.md").read_text()
TESTS = [
    code
    for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "def test_" in code
]


EVERYWHERE, NOT_HERE = (
    code
    for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "autouse" in code
)


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_tests_on_the_page_pass(tmp_path: Path, everywhere: bool) -> None:
    """
    Each block is a module of tests, run as its reader would, with every warning an error; also
    beside the `conftest.py` that captures in every test.
    """
    for number, code in enumerate(TESTS):
        sends = "ScriptedVendors" in code or "sendoff_sink" in code
        code += NOT_HERE if everywhere and sends else ""
        (tmp_path / f"test_{number}.py").write_text(code)
    if everywhere:
        (tmp_path / "conftest.py").write_text(EVERYWHERE)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "pytest_sendoff"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(sendoff.__file__).parents[1])},
    )
    assert result.returncode == 0, result.stdout
    tests = sum(code.count("def test_") for code in TESTS)
    assert f"{tests} passed" in result.stdout


def test_the_failure_on_the_page_is_the_one_that_comes() -> None:
    """Word for word."""
    shown = re.search(r"where it differs:\n\n```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown is not None
    app = sendoff.Dispatcher(sendoff.Freshpaint(token="t"))
    with capture(app) as events:
        app.track("cart.opened", user_id="u-1")
        properties = {"amount": 10.0, "currency": "EUR"}
        app.track("checkout.completed", user_id="u-1", properties=properties)
    with pytest.raises(AssertionError) as failure:
        events.one("checkout.completed", user_id="u-1", properties={"amount": 9.99})
    assert str(failure.value) == shown.group(1)


@pytest.mark.parametrize("name", testing.__all__)
def test_no_name_is_missing_from_the_reference(name: str) -> None:
    """Every name has its section there, with every member that it has of ours."""
    page = (ROOT / "docs/reference/testing.md").read_text()
    section = re.search(rf"^## `{name}`\n(.*?)(^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    bases = getattr(getattr(testing, name), "__mro__", ())
    for base in bases:
        if base.__module__.startswith("sendoff."):
            for member in {*vars(base), *vars(base).get("__annotations__", {})}:
                if not member.startswith("_"):
                    assert re.search(rf"`(await )?{member}[`(]", section.group(1)), member


def test_names_are_sorted_and_whole() -> None:
    """What the kit exports is there."""
    assert testing.__all__ == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__module__.startswith("sendoff.")
