"""
`sendoff check`: what it takes, and how its findings become lines and an exit status.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sendoff import OptionError
from sendoff.cli.exits import Exit
from sendoff.cli.group import command
from sendoff.cli.output import json_line, json_option, quiet_option, terminal
from sendoff.cli.vendors import VARIABLES, VENDORS, options_of, vendor_options, vendors_of

if TYPE_CHECKING:
    from sendoff.check import Finding

__all__ = ["check"]

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@command
@vendor_options
@click.option(
    "--spool",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Look also at the folder for spool=.",
)
@click.option(
    "--dead-letters",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Look also at the file for dead_letters=.",
)
@click.option("--live", is_flag=True, help="Send two marked events to each vendor.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For each step.",
)
@json_option
@quiet_option
def check(
    spool: Path | None,
    dead_letters: Path | None,
    live: bool,
    timeout: float,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """
    Look at what stands between this machine and the vendors.

    Options from the environment, name resolution, connection, proxy, TLS and its certificate, the
    clock, the disk: a line for each, with ok, warn or fail, and what to do. Without --live nothing
    is sent but one request without a key and an event. --live sends two events called sendoff.check
    to each vendor and says how to find them there: an answer proves only that they were received.

    With --json a line is an object with the keys vendor, what, result, detail and todo.
    """
    from sendoff.check import Plan, run

    try:
        configured = any(os.environ.get(name) for names in VARIABLES.values() for name in names)
        everybody = given["to"] is None and not configured
        vendors = list(VENDORS) if everybody else vendors_of(given["to"])
        plan = Plan(
            destinations={vendor: options_of(vendor, given) for vendor in vendors},
            variables=VARIABLES,
            spool=spool,
            dead_letters=dead_letters,
            live=live,
            timeout=timeout,
        )
    except OptionError as exc:
        raise click.UsageError(str(exc)) from exc
    lines = _Lines(as_json=as_json, quiet=quiet)
    run(plan, lines.tell)
    if lines.failed:
        sys.exit(Exit.FAILED)


class _Lines:
    """
    Shows findings as they come.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._console = None if as_json else terminal()
        # All mutable state.
        self.failed = False

    def tell(self, finding: Finding) -> None:
        self.failed = self.failed or finding.result == "fail"
        if self._quiet and finding.result == "ok":
            return
        if self._as_json:
            json_line(asdict(finding))
        else:
            self._write(finding)
        sys.stdout.flush()

    def _write(self, finding: Finding) -> None:
        rest = f"{finding.vendor or 'here':<10}  {finding.what:<11}  {finding.detail}"
        todo = f"{'':6}-> {finding.todo}" if finding.todo else ""
        if self._console is None:
            click.echo(f"{finding.result:<4}  {rest}")
            if todo:
                click.echo(todo)
            return
        from rich.text import Text

        mark = Text(f"{finding.result:<4}", style=COLOURS[finding.result])
        self._console.print(mark, Text(f" {rest}"), soft_wrap=True)
        if todo:
            self._console.print(Text(todo), soft_wrap=True)
