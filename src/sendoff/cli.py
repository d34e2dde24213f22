"""
The command line: `sendoff demo`, `sendoff replay` and `sendoff sink`.

Thin: reads options, calls what does the work, turns its outcome into an exit status. Imported by
`__main__` once click and rich are known to be there.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from sendoff import OptionError
from sendoff.sink import Settings

if TYPE_CHECKING:
    from sendoff.demo import Outcome
    from sendoff.demo.screen import Screen
    from sendoff.replay import Outcome as ReplayOutcome
    from sendoff.replay import Screen as ReplayScreen

__all__ = ["cli"]

DIFFERENT = 1
LEFT = 1
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


def _version() -> str:
    try:
        return version("sendoff")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


@click.group()
@click.version_option(_version(), prog_name="sendoff")
def cli() -> None:
    """
    Product-analytics events to Datadog and Freshpaint.

    Exit status: 0 all is well; 1 it ran and failed; 2 wrong use, or an extra is not installed; 130
    stopped by Ctrl-C.
    """


# --- demo -----------------------------------------------------------------------------------------


@cli.command()
@click.option(
    "--events",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replay the first N purchases.  [default: all]",
)
@click.option(
    "--all",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Replay this CSV, gzipped or not, with the columns of the shipped tenth: "
    "customer_id,date,quantity,amount_usd.",
)
@click.option("--faults", is_flag=True, help="Go through an outage on the way.")
@click.option(
    "--rate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Give away N events a second.  [default: as fast as calls go]",
)
def demo(events: int | None, path: Path | None, faults: bool, rate: int | None) -> None:
    """
    Replay real purchases to a local stand-in of both vendors, and compare the counts of both ends.

    The purchases are those of the CD shop CDNOW in 1997 and 1998. An event happens when it is
    replayed; the original day is its property purchased_on. Nothing leaves this machine.

    With --faults the stand-in answers 503 and 429 for a while and breaks connections after it
    accepted what they carried. What it may have accepted is sent again, so there are duplicates,
    and unique ids are compared.

    Exit status: 0 both ends counted the same events; 1 they differ, by one event or more, or the
    stand-in failed; 2 wrong use; 130 stopped by Ctrl-C.
    """
    try:
        _demo(events, path, faults, rate)
    except KeyboardInterrupt:  # click would make it an exit status of 1
        click.echo("stopped by Ctrl-C before the end; nothing was compared", err=True)
        sys.exit(INTERRUPTED)


def _demo(events: int | None, path: Path | None, faults: bool, rate: int | None) -> None:
    from sendoff.demo import Plan, PurchasesError, read_purchases, run

    try:
        purchases = read_purchases(path, events)
    except (PurchasesError, OSError) as exc:
        raise click.UsageError(str(exc)) from exc
    if not purchases:
        raise click.UsageError("the file holds no purchases")
    screen = _screen()
    try:
        outcome = run(Plan(purchases=purchases, faults=faults, rate=rate), screen)
    except (OSError, RuntimeError) as exc:
        raise click.ClickException(f"the sink failed: {exc}") from exc
    _conclude(outcome, screen)


def _terminal() -> Console | None:
    console = Console()
    # Not `is_terminal`, which the environment can talk into escape codes in a file.
    return None if not sys.stdout.isatty() or console.is_dumb_terminal else console


def _screen() -> Screen:
    from sendoff.demo.screen import PlainScreen

    console = _terminal()
    if console is None:
        return PlainScreen()
    from sendoff.demo.live import LiveScreen

    return LiveScreen(console)


def _conclude(outcome: Outcome, screen: Screen) -> None:
    from sendoff.demo.table import ledger_table

    rows = ledger_table(outcome.ledgers, outcome.sinks, outcome.differences)
    screen.table(tuple(outcome.ledgers), rows, agrees=outcome.agrees)
    requests = sum(sink.requests for sink in outcome.sinks.values())
    screen.note(
        f"{requests:,} requests in {outcome.elapsed:.1f} s, "
        f"{requests / outcome.elapsed:,.0f} a second."
    )
    if outcome.agrees:
        screen.note("Both ends agree: every event arrived and is accounted for.")
        return
    for name, differences in outcome.differences.items():
        if differences:
            screen.note(f"{name} differs: {differences}.")
    sys.exit(DIFFERENT)


# --- replay ---------------------------------------------------------------------------------------

OWNERS = {
    "api_key": "datadog",
    "application_id": "datadog",
    "site": "datadog",
    "token": "freshpaint",
}
SHOWN = "An option shows in the list of processes; the environment does not."


@cli.command()
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
def replay(path: Path, to: str, rate: int | None, timeout: float, **options: Any) -> None:
    """
    Send dead letters again, under their ids.

    PATH is the file that dead_letters= names, or its directory. What was sent is noted in
    PATH.VENDOR.done beside it, line by line: a replay that was stopped or killed goes on where it
    was, and sends again at most what was under way. What is refused again stays unnoted. When all
    is sent, delete both files.

    Keys and tokens come from the environment (DD_API_KEY, DD_SITE, FRESHPAINT_TOKEN) or from
    options; the environment is better, since an option shows in the list of processes.

    Exit status: 0 all sent, or nothing to do; 1 some were refused again or are left; 2 wrong use,
    or another replay of the file is under way; 130 stopped by Ctrl-C.
    """
    from sendoff.replay import JournalBusyError, Plan, destination_of, run

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
        outcome = run(plan, destination_of(to, **given), _replay_screen())
    except (OptionError, JournalBusyError) as exc:
        raise click.UsageError(str(exc)) from exc
    except OSError as exc:
        raise click.ClickException(str(exc)) from exc
    _report(outcome)


def _replay_screen() -> ReplayScreen:
    from sendoff.replay import PlainScreen

    console = _terminal()
    if console is None:
        return PlainScreen()
    from sendoff.replay.live import LiveScreen

    return LiveScreen(console)


def _report(outcome: ReplayOutcome) -> None:
    for line in outcome.summary():
        click.echo(line)
    if outcome.interrupted:
        click.echo("stopped by Ctrl-C; the same command goes on where it was", err=True)
        sys.exit(INTERRUPTED)
    if outcome.gave_up:
        click.echo(f"gave up: {outcome.gave_up}", err=True)
    if not outcome.complete:
        sys.exit(LEFT)


# --- sink -----------------------------------------------------------------------------------------


@cli.command()
@click.option("--port", default=0, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option("--api-key", metavar="KEY", help="The only Datadog key to take.  [default: any]")
@click.option("--token", metavar="TOKEN", help="The only Freshpaint token to take.  [default: any]")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SCRIPT",
    help="A fault such as '429 for 2s retry-after 1'; may be given more than once.",
)
@click.option(
    "--id-attribute",
    default="insert_id",
    show_default=True,
    metavar="NAME",
    help="Where Datadog events have an id.",
)
@click.option("--single-only", is_flag=True, help="Refuse Datadog batches of two or more.")
@click.option("--poison", metavar="NAME", help="Refuse any Datadog request with such an event.")
@click.option(
    "--keep-events", default=1_000, show_default=True, metavar="N", help="Last bodies to keep."
)
@click.option("--with-parent", is_flag=True, help="End when stdin does.")
@click.option("--quiet", is_flag=True, help="Greet nobody on a terminal.")
def sink(
    port: int,
    api_key: str | None,
    token: str | None,
    faults: tuple[str, ...],
    id_attribute: str,
    single_only: bool,
    poison: str | None,
    keep_events: int,
    with_parent: bool,
    quiet: bool,
) -> None:
    """
    Serve a local stand-in of both vendors until SIGINT or SIGTERM.

    The same as `python -m sendoff.sink`. On anything but a terminal the first line of output is
    {"port": N}.

    Exit status: 0 stopped as asked; 1 the port cannot be listened on; 2 wrong use.
    """
    from sendoff.sink import run

    try:
        settings = Settings(
            port=port,
            api_key=api_key,
            token=token,
            faults=faults,
            id_attribute=id_attribute,
            accept_batches=not single_only,
            poison=poison,
            keep_events=keep_events,
            with_parent=with_parent,
            quiet=quiet,
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    try:
        run(settings)
    except OSError as exc:
        raise click.ClickException(f"cannot listen on port {port}: {exc}") from exc
