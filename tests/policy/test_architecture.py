"""
The import law and the shape of the package, read from the source.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sendoff

ROOT = Path(sendoff.__file__).parent
VALUES = {"events", "options", "errors"}
STEPS = {"_queue", "_batcher", "_narrow", "_throttle", "_breaker", "_window", "_retry"}
STEP_MAY = VALUES | {"_queue", "_batcher"}  # a batcher takes from a queue, narrowing halves a batch
PLAIN = STEPS | {
    "_ages",
    "_late",
    "_ledger",
    "health",
    "_backlog",
    "spool.places",
    "spool.record",
    "spool.runs",
}
PLAIN |= {f"sink.{name}" for name in ("contract", "faults", "ledger", "manners", "rows", "tape")}
NOT_PLAIN = {"asyncio", "anyio", "time", "random", "socket", "aiohttp", "os", "fcntl"}
PUBLIC_USERS = (
    *("cli", "__main__", "terminal", "demo", "replay", "sink"),
    *("integrations", "metrics", "testing", "send", "check"),
)


def imports_of(path: Path) -> set[str]:
    """
    Every module that a file imports, at its top or further in, as dotted names.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): imports_of(path) for path in sorted(ROOT.rglob("*.py"))}


CLI = {name for name in FILES if name.startswith("cli.")}


def importers(target: str) -> set[str]:
    """
    The modules of the package that import a module or something in it.
    """
    return {
        name
        for name, found in FILES.items()
        if any(one == target or one.startswith(f"{target}.") for one in found)
    }


def test_steps_import_only_values_and_the_steps_before_them() -> None:
    """Queue, batcher, narrowing, throttle, breaker and retry know no lane, no loop and no I/O."""
    for step in STEPS:
        own = {one.split(".")[1] for one in FILES[step] if one.startswith("sendoff.")}
        assert own <= STEP_MAY, step


def test_what_is_plain_knows_no_clock_and_no_disk() -> None:
    """The steps, the queue that goes on on disk, and the framing there are without any I/O."""
    for module in PLAIN:
        foreign = {one.split(".")[0] for one in FILES[module]} - {"sendoff"}
        assert not foreign & NOT_PLAIN, module
    own = {one for one in FILES["_backlog"] if one.startswith("sendoff.") and one.count(".") > 1}
    assert {one.rpartition(".")[0] for one in own} == {
        "sendoff._queue",
        "sendoff.options",
        "sendoff.spool",
        "sendoff.spool.places",
        "sendoff.spool.record",
        "sendoff.spool.runs",
    }


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("orjson", {"_encode", "sink.strict"}),
        ("backoff", {"_retry"}),
        ("redis", set()),
        (
            "aiohttp",
            {
                "transports.http",
                "transports.session",
                "transports.resolver",
                "sink.live",
                "sink.server",
                "sink.wire",
                "integrations.aiohttp",
            },
        ),
        ("starlette", {"integrations.starlette"}),
        ("fastapi", {"integrations.fastapi"}),
        ("litestar", {"integrations.litestar"}),
        ("quart", {"integrations.quart"}),
        ("sanic", {"integrations.sanic"}),
        ("django", {"integrations.django"}),
        ("asgiref", {"integrations.django"}),
        ("flask", {"integrations.flask"}),
        ("celery", {"integrations.celery"}),
        ("arq", {"integrations.arq"}),
        ("sendoff.integrations.starlette", {"integrations.fastapi"}),
        (
            "sendoff.integrations._asgi",
            {"integrations.starlette", "integrations.litestar", "integrations.quart"},
        ),
        ("httptools", {"transports.connection"}),
        ("aiohappyeyeballs", {"transports.fast"}),
        ("sendoff.transports.connection", {"transports.fast", "transports.tls"}),
        ("sendoff.transports.fast", {"transports.http"}),
        ("sendoff.transports.session", {"transports.http"}),
        ("aiohttp.web", {"sink.live", "sink.server", "sink.wire", "integrations.aiohttp"}),
        ("click", {"__main__", *CLI}),
        ("rich", {"__main__", *CLI, "demo.live", "replay.live", "send.live", "terminal"}),
        (
            "sendoff.terminal",
            {
                *("cli.replay", "cli.send"),
                *("demo.live", "demo.replay", "demo.screen"),
                *("replay.feed", "replay.live", "replay.screen"),
                *("send.feed", "send.live", "send.screen"),
            },
        ),
        ("sendoff._assembly", {"dispatcher", "diversion", "_diverted"}),
        ("sendoff._lane", {"_host", "_hosts", "_lifecycle", "_refill", "_assembly", "_diverted"}),
        (
            "sendoff._intake",
            {"_lane", "_delivery", "_sleepers", "_spooled", "_assembly", "_diverted", "dispatcher"},
        ),
        ("sendoff._bell", {"_intake"}),
        ("sendoff._spooled", {"_refill", "_assembly"}),
        ("sendoff._refill", {"_intake", "_spooled", "_assembly"}),
        ("sendoff._backlog", {"_spooled", "_refill", "_assembly"}),
        ("sendoff.spool.store", {"_spooled", "_refill", "spool.lane", "_assembly"}),
        ("sendoff._ages", {"_lane", "_delivery", "_outage"}),
        ("sendoff._delivery", {"_lane"}),
        ("sendoff._gate", {"_delivery", "_outage"}),
        ("sendoff._outage", {"_delivery"}),
        ("sendoff._deadlines", {"_delivery"}),
        ("sendoff._host", {"_hosts", "_lifecycle", "_assembly"}),
        ("sendoff._hosts", {"_lifecycle", "dispatcher"}),
        ("sendoff._lifecycle", {"_assembly"}),
        ("sendoff._exit", {"_hosts", "_lifecycle", "dispatcher", "endings"}),
        ("sendoff.endings", {"metrics.shared"}),
        ("prometheus_client", {"metrics.prometheus", "metrics.shared"}),
        ("opentelemetry", {"metrics.opentelemetry"}),
        ("sendoff.metrics.shared", {"metrics.prometheus"}),
        ("sendoff._errands", {"_host", "_hosts", "_lifecycle", "_assembly"}),
        ("sendoff._hook", {"_intake", "_spooled", "_assembly", "dispatcher"}),
        ("sendoff._letters", {"_intake", "_spooled", "_assembly"}),
        ("sendoff._before", {"_assembly", "_diverted", "dispatcher"}),
        ("sendoff._diverted", {"diversion"}),
        ("sendoff._notes", {"diversion", "_diverted"}),
        ("sendoff._roll", {"diversion", "dispatcher"}),
        ("sendoff.diversion", {"testing", "_diverted"}),
        ("fcntl", {"_letters", "replay.journal", "spool.folder"}),
        ("sendoff._throttle", {"_lane", "_delivery", "_gate"}),
        ("sendoff._retry", {"_delivery", "_outage"}),
        ("sendoff._window", {"_delivery", "_gate"}),
        (
            "sendoff._queue",
            {
                "_batcher",
                "_taking",
                "_intake",
                "_late",
                "_ledger",
                "_backlog",
                "_spooled",
                "_assembly",
                "_diverted",
            },
        ),
        (
            "sendoff._batcher",
            {
                "_narrow",
                "_taking",
                "_sleepers",
                "_lane",
                "_delivery",
                "_intake",
                "_spooled",
                "_refill",
            },
        ),
        ("sendoff._taking", {"_lane"}),
        ("sendoff._sleepers", {"_lane"}),
    ],
)
def test_who_may_import_what(target: str, allowed: set[str]) -> None:
    """Each library and each private module has its few users."""
    found = {"testing" if name.startswith("testing.") else name for name in importers(target)}
    assert found <= allowed


def test_the_client_side_of_aiohttp_is_in_one_file() -> None:
    """The sink uses the server side only, and the resolver aiohttp's interface of resolvers."""
    resolver = {one for one in FILES["transports.resolver"] if one.startswith("aiohttp")}
    assert resolver == {"aiohttp.abc", "aiohttp.abc.AbstractResolver", "aiohttp.abc.ResolveResult"}
    own = {"transports.http", "transports.session", "transports.resolver"}
    for name in importers("aiohttp") - own:
        used = {one for one in FILES[name] if one.startswith("aiohttp")}
        assert used <= {
            *("aiohttp", "aiohttp.web", "aiohttp.web_protocol", "aiohttp.http_exceptions"),
            *("aiohttp.typedefs", "aiohttp.typedefs.Handler"),
        }
        assert "ClientSession" not in (ROOT / f"{name.replace('.', '/')}.py").read_text()


def test_what_stands_around_uses_public_names() -> None:
    """Command line, demo and sink import the package as a user would."""
    private = {f"sendoff.{path.stem}" for path in ROOT.glob("_*.py") if path.stem != "__init__"}
    for name, found in FILES.items():
        if name.split(".")[0] in PUBLIC_USERS and name != "__main__":
            assert not {one for one in found if one in private}, name


def test_what_every_run_of_pytest_imports_is_next_to_nothing() -> None:
    """The plugin imports pytest alone; what a fixture needs is imported when it is asked for."""
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_sendoff;"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert result.stdout.strip() == "pytest_sendoff"


def test_files_are_short() -> None:
    """A file past 350 lines holds two things; what users hold is mostly docstrings."""
    longer = {
        module_of(path) for path in ROOT.rglob("*.py") if len(path.read_text().splitlines()) > 350
    }
    assert longer <= {"dispatcher"}


def test_every_file_says_what_lives_there() -> None:
    """A file starts with its docstring."""
    for path in ROOT.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_exports_are_sorted_and_whole() -> None:
    """`__all__` is sorted, and what modules call public is what the package exports."""
    assert sendoff.__all__ == sorted(sendoff.__all__)
    for name in sendoff.__all__:
        assert getattr(sendoff, name).__module__.startswith("sendoff."), name
    for module in pkgutil.iter_modules(sendoff.__path__):
        if not module.name.startswith("_") and module.name not in PUBLIC_USERS:
            exported = getattr(importlib.import_module(f"sendoff.{module.name}"), "__all__", [])
            assert exported == sorted(exported), module.name


def test_importing_the_package_is_cheap() -> None:
    """`import sendoff` loads no aiohttp, no framework, no command line and no optional package."""
    code = (
        "import sys, sendoff; print(*sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'aiohttp', 'httptools', 'yarl', 'click', 'rich', 'uvloop', 'redis', 'numpy',"
        " 'pydantic', 'attrs', 'fastapi', 'starlette', 'litestar', 'quart', 'sanic', 'django',"
        " 'flask', 'celery', 'arq', 'prometheus_client', 'opentelemetry'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert result.stdout.strip() == ""


def test_what_is_off_is_not_loaded() -> None:
    """A dispatcher without a spool and dead letters has nothing of theirs in memory."""
    code = (
        "import sys, sendoff\n"
        "sendoff.Dispatcher(sendoff.Freshpaint(token='t'), on_drop=print)\n"
        "print(*sorted(name for name in sys.modules"
        " if name.startswith('sendoff.') and name.split('.')[1] in"
        " ('spool', '_backlog', '_spooled', '_refill', '_letters', 'replay', 'cli', 'testing',"
        " 'diversion', '_diverted', '_notes', 'sink', 'metrics', 'integrations')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert result.stdout.strip() == ""


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT.parent)}
