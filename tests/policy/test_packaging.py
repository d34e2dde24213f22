"""
What an installer reads of the package: what it pulls, for whom it is, and that it has types.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import sendoff

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = ["aiohttp", "anyio", "backoff", "httptools", "orjson"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return found.group()


def test_five_packages_are_pulled() -> None:
    """`pip install sendoff` asks for five packages, and none has an upper bound."""
    assert [name_of(one) for one in PROJECT["dependencies"]] == DIRECT
    for one in PROJECT["dependencies"]:
        assert re.fullmatch(r"[a-z]+>=[0-9.]+", one), one


def test_the_installed_package_asks_for_the_same() -> None:
    """The metadata of the wheel says it, too: everything else belongs to an extra."""
    try:
        required = metadata.requires("sendoff") or []
    except metadata.PackageNotFoundError:
        pytest.skip("runs from the source, without an installation")
    assert sorted(name_of(one) for one in required if "extra ==" not in one) == DIRECT


def test_types_come_along() -> None:
    """Type checkers read the package's own annotations."""
    assert (Path(sendoff.__file__).parent / "py.typed").exists()


def test_every_supported_version_of_python_is_named() -> None:
    """The classifiers begin with the lowest version that is allowed."""
    prefix = "Programming Language :: Python :: 3."
    minors = [int(one.removeprefix(prefix)) for one in PROJECT["classifiers"] if prefix in one]
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_extras_are_sorted_and_bounded_from_below() -> None:
    """Each line names a package and where it begins, but for our own extras."""
    for name, extra in PROJECT["optional-dependencies"].items():
        foreign = [one for one in extra if not one.startswith("sendoff[")]
        assert foreign == sorted(foreign, key=name_of), name
        for one in foreign:
            assert re.search(r">=[0-9]", one), one


def test_the_lowest_versions_are_those_of_the_bounds() -> None:
    """What the lowest versions are tested with is read from the bounds themselves."""
    pins = subprocess.run(
        [sys.executable, str(ROOT / ".ci/lowest.py"), "cli"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    bounds = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]]
    assert pins == [one.replace(">=", "==") for one in bounds]
