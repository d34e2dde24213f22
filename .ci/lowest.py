"""
Prints the lowest versions that the package allows, as requirements for an installer.

``python .ci/lowest.py cli uvloop`` takes the extras of these names along.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9][0-9.]*)")


def lowest(extras: list[str]) -> list[str]:
    """
    Each requirement pinned to where its bound begins.

    Raises:
        ValueError: A requirement has another form than ``name>=version``.
        KeyError: There is no such extra.
    """
    project = tomllib.loads(PROJECT.read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pins = []
    for text in wanted:
        found = REQUIREMENT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} has no lowest version alone")
        pins.append(f"{found['name']}=={found['version']}")
    return pins


if __name__ == "__main__":
    print(*lowest(sys.argv[1:]))  # noqa: T201 a command's output
