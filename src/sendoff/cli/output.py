"""
Where commands write: data to stdout, everything else to stderr; colours only where there is a
terminal that wants them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

__all__ = ["give_up_stdout", "json_line", "json_option", "quiet_option", "terminal"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to stdout."
)
quiet_option: Decorator = click.option(
    "-q", "--quiet", is_flag=True, help="Show no progress; only what goes wrong."
)


def terminal(*, errors: bool = False) -> Console | None:
    """
    The terminal behind stdout; None if there is none that takes control sequences.

    Args:
        errors: Whether that of stderr is meant.
    """
    console = Console(stderr=errors)
    stream = sys.stderr if errors else sys.stdout
    # Not `is_terminal`, which the environment can talk into escape codes in a file.
    return None if not stream.isatty() or console.is_dumb_terminal else console


def json_line(value: Any) -> None:
    """
    One JSON object on a line of stdout.
    """
    click.echo(json.dumps(value, ensure_ascii=False))


def give_up_stdout() -> None:
    """
    From now on nothing goes there: nobody reads it, and the interpreter's last flush must not fail.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
