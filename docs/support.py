"""
The page on what is supported: its tables, from the package's own metadata where that knows.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

Table = Callable[[tuple[str, ...], Iterable[tuple[str, ...]]], str]

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

PURPOSES = {
    "aiohttp": "a proxy, a session of yours, what the fast connections do not know; the stand-in",
    "anyio": "task groups, deadlines, worker threads",
    "backoff": "ceilings of waits, and their jitter",
    "httptools": "reads answers",
    "orjson": "encodes",
}

SYSTEMS = [
    ("Linux", "tested in every run, on x86_64 with glibc"),
    (
        "macOS",
        (
            "not tested. A POSIX system, so nothing is left out by intent. Known to differ:"
            " `multiprocessing` spawns its children by default and does not fork, and `fsync` does"
            " not wait for the disk itself"
        ),
    ),
    (
        "Windows",
        (
            "not tested. Sending, hooks, statistics and `MemoryTransport` need nothing of POSIX."
            " `spool` and `dead_letters` raise `OptionError` at construction; `sendoff replay` and"
            " the sink end with one line that says so. Whoever ends a process there sends no"
            " signal that could be handled, so what is pending is not flushed then"
        ),
    ),
]

INTERPRETERS = [
    ("CPython {versions}", "tested in every run"),
    ("newer CPython", "allowed, and not tested before it is in this table"),
    ("free-threaded CPython", "not known: never tried"),
    ("PyPy", "not known: never tried, and `orjson` has no build for it"),
    ("uvloop", "tested: what concerns the loop runs on both"),
    (
        "gevent, monkey-patched",
        (
            "refused: `blocking=True` raises `OptionError`, without it one log line says that"
            " events wait for the end of the process"
        ),
    ),
    ("trio", "not supported"),
]


def versions() -> list[str]:
    """
    The versions of Python that the package names.
    """
    prefix = "Programming Language :: Python :: 3."
    names = [name for name in PROJECT["classifiers"] if name.startswith(prefix)]
    return [f"3.{name.removeprefix(prefix)}" for name in names]


def requirement(text: str) -> tuple[str, str]:
    """
    A requirement's name and its lowest version.
    """
    match = re.fullmatch(r"([\w.-]+)>=([\w.]+)", text)
    assert match is not None, text
    return match.group(1), match.group(2)


def support(table: Table) -> str:
    """
    The whole page.
    """
    *others, last = versions()
    named = f"{', '.join(others)} and {last}"
    extras = [
        (f"`sendoff[{extra}]`", ", ".join(f"`{one}`" for one in packages))
        for extra, packages in PROJECT["optional-dependencies"].items()
        if extra not in ("docs", "lint", "test")
    ]
    return (
        "# Support\n\nWhat is tested, what is known to differ, and what nobody has tried."
        " How long something is supported says [compatibility](../explanation/compatibility.md).\n"
        "\n## Python\n\n"
        + table(
            ("interpreter or loop", "state"),
            [(name.format(versions=named), state) for name, state in INTERPRETERS],
        )
        + "\n## Systems\n\n"
        + table(("system", "state"), SYSTEMS)
        + "\n## Packages\n\nThe lowest versions are tested with Python "
        + versions()[0]
        + ", the newest with all. `pip install sendoff` brings these and what they need:\n\n"
        + table(
            ("package", "from", "for"),
            [
                (f"`{name}`", low, PURPOSES[name])
                for name, low in map(requirement, PROJECT["dependencies"])
            ],
        )
        + "\nExtras:\n\n"
        + table(("extra", "brings"), extras)
    )
