"""
`sendoff replay`: what it takes, and how its outcome becomes an exit status.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sendoff import OptionError
from sendoff.cli.exits import Exit
from sendoff.cli.group import command
from sendoff.cli.output import json_line, json_option, quiet_option, terminal

if TYPE_CHECKING:
    from sendoff.replay import Outcome, Screen

__all__ = ["replay"]

OWNERS = {
    "api_key": "datadog",
    "application_id": "datadog",
    "site": "datadog",
    "token": "freshpaint",
}
SHOWN = "An option shows in the list of processes; the environment does not."


@command
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to",
    required=True,
    type=click.Choice(["datadog", "freshpaint"]),
    help="The vendor; only letters whose event has its shape are sent.",
)
@click.option("--endpoint", metavar="URL", help="A URL in place of the vendor's.")
@click.option(
    "--api-key", metavar="KEY", help=f"Datadog's API key.  [default: DD_API_KEY]  {SHOWN}"
)
@click.option(
    "--application-id",
    metavar="ID",
    help="Datadog's application, in place of the one in each event.  [default: the event's]",
)
@click.option("--site", metavar="SITE", help="Datadog's site.  [default: DD_SITE, or us1]")
@click.option(
    "--token", metavar="TOKEN", help=f"Freshpaint's token.  [default: FRESHPAINT_TOKEN]  {SHOWN}"
)
@click.option(
    "--rate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Send at most N events a second.  [default: the vendor's limit]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when nothing moved for so long, as with a wrong key.",
)
@json_option
@quiet_option
def replay(
    path: Path,
    to: str,
    rate: int | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """
    Send dead letters again, under their ids.

    PATH is the file that dead_letters= names, or its directory. What was sent is noted in
    PATH.VENDOR.done beside it, line by line: a replay that was stopped or killed goes on where it
    was, and sends again at most what was under way. What is refused again stays unnoted. When all
    is sent, delete both files.

    Keys and tokens come from the environment (DD_API_KEY, DD_SITE, FRESHPAINT_TOKEN) or from
    options; the environment is better, since an option shows in the list of processes. Progress
    goes to stderr, the counts to stdout; with --json they are one object.
    """
    from sendoff.replay import JournalBusyError, NoLettersError, Plan, destination_of, run

    for name, vendor in OWNERS.items():
        if options[name] is not None and vendor != to:
            raise click.UsageError(f"--{name.replace('_', '-')} is for {vendor}")
    given = {name: value for name, value in options.items() if value is not None}
    plan = Plan(
        path=path,
        to=to,
        application_id=given.get("application_id"),
        rate=rate,
        timeout=timeout,
    )
    try:
        if not plan.file.is_file():
            raise click.UsageError(f"there is no file {plan.file}")
        outcome = run(plan, destination_of(to, **given), _screen(quiet))
    except (OptionError, JournalBusyError, NoLettersError) as exc:
        raise click.UsageError(str(exc)) from exc
    except OSError as exc:
        raise click.ClickException(f"{exc.filename or path}: {exc.strerror or exc}") from exc
    _report(outcome, as_json=as_json, quiet=quiet)


def _screen(quiet: bool) -> Screen:
    from sendoff.replay.screen import PlainScreen
    from sendoff.terminal import QuietScreen

    if quiet:
        return QuietScreen()
    console = terminal(errors=True)
    if console is None:
        return PlainScreen()
    from sendoff.replay.live import LiveScreen

    return LiveScreen(console)


def _report(outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        json_line({**asdict(outcome), "complete": outcome.complete})
    elif not quiet:
        for line in outcome.summary():
            click.echo(line)
    if outcome.interrupted:
        click.echo("stopped by Ctrl-C; the same command goes on where it was", err=True)
        sys.exit(Exit.INTERRUPTED)
    if outcome.terminated:
        click.echo("stopped by SIGTERM; the same command goes on where it was", err=True)
        sys.exit(Exit.TERMINATED)
    if outcome.gave_up:
        how = "the same command goes on where it was"
        click.echo(f"gave up: {outcome.gave_up}; {how}", err=True)
    if not outcome.complete:
        sys.exit(Exit.FAILED)
