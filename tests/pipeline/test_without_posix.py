"""
A system without POSIX's locks and forks, played in processes of their own.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import asyncio, os, sys

sys.modules["fcntl"] = None
for name in ("fork", "register_at_fork"):
    delattr(os, name)

from sendoff import DeadLetters, Dispatcher, Freshpaint, MemoryTransport, OptionError, Spool

"""

DELIVER = """
async def main():
    async with Dispatcher(Freshpaint(token="t"), transport=MemoryTransport()) as dispatcher:
        for _ in range(3):
            assert dispatcher.track("x", user_id="u") is not None
        assert await dispatcher.flush()
    print(dispatcher.stats().destinations["freshpaint"].delivered)

asyncio.run(main())
"""

REFUSE = """
try:
    {code}
except OptionError as exc:
    print(exc)
"""


def run(code: str) -> str:
    """
    What a script prints.
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_events_are_delivered() -> None:
    """What needs no lock of a file and no fork works."""
    assert run(DELIVER) == "3"


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("spool", "Dispatcher(Freshpaint(token='t'), spool='folder')"),
        ("spool", "Spool('folder')"),
        ("dead_letters", "Dispatcher(Freshpaint(token='t'), dead_letters='file')"),
        ("dead_letters", "DeadLetters('file')"),
    ],
)
def test_what_needs_locks_says_so(option: str, code: str) -> None:
    """The error names the option, at construction."""
    assert run(REFUSE.format(code=code)) == f"{option} needs a POSIX system, for its locks"


def test_a_replay_says_so_as_well() -> None:
    """`sendoff replay` can be asked, and ends as for wrong use."""
    pytest.importorskip("click")
    code = """
import click.testing
from sendoff.cli import cli

result = click.testing.CliRunner().invoke(cli, ["replay", ".", "--to", "freshpaint"])
print(result.exit_code, result.output.splitlines()[-1])
"""
    words = "Error: dead_letters needs a POSIX system, for its locks"
    assert run(code) == f"2 {words}"


def test_the_sink_says_so_as_well() -> None:
    """A loop without signals ends it with one line, and no traceback."""
    pytest.importorskip("click")
    code = """
import click.testing
from asyncio import BaseEventLoop, unix_events
from sendoff.cli import cli

del unix_events._UnixSelectorEventLoop.add_signal_handler  # what is left raises, as on Windows
result = click.testing.CliRunner().invoke(cli, ["sink", "--port", "0"])
print(result.exit_code, result.output.strip() or result.exception)
"""
    assert run(code) == "1 the sink needs a POSIX system, for its signals"
