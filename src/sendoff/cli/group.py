"""
The group that all commands belong to, and what they have in common: how they end.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from sendoff.cli.exits import Exit, exit_text
from sendoff.cli.output import give_up_stdout

__all__ = ["cli", "command"]


def _version() -> str:
    try:
        return version("sendoff")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


@click.group(
    help=f"Product-analytics events to Datadog and Freshpaint.\n\n{exit_text('')}",
)
@click.version_option(_version(), prog_name="sendoff")
def cli() -> None:
    """
    Product-analytics events to Datadog and Freshpaint.
    """


def command(call: Callable[..., Any]) -> click.Command:
    """
    Adds a command to the group: its name is the function's, its help the docstring and what its
    exit status means.
    """
    name = call.__name__

    @functools.wraps(call)
    def run(*args: Any, **options: Any) -> None:
        try:
            call(*args, **options)
            sys.stdout.flush()
        except KeyboardInterrupt:  # click would make it an exit status of 1
            click.echo("stopped by Ctrl-C", err=True)
            sys.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            give_up_stdout()
            sys.exit(Exit.PIPE)

    doc = inspect.getdoc(call) or ""
    # The first sentence is the short one, and whole: where click cuts it depends on the width.
    short = " ".join(doc.partition("\n\n")[0].split())
    made: click.Command = cli.command(name, help=f"{doc}\n\n{exit_text(name)}", short_help=short)(
        run
    )
    return made
