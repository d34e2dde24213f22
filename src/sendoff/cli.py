"""
The command line: `sendoff demo` and `sendoff sink`.

Thin: reads options, calls what does the work, turns its outcome into an exit status. Imported by
`__main__` once click and rich are known to be there.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from sendoff.sink import Settings

if TYPE_CHECKING:
    from sendoff.demo import Outcome
    from sendoff.demo.screen import Screen

__all__ = ["cli"]

DIFFERENT = 1
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


def _screen() -> Screen:
    from sendoff.demo.screen import PlainScreen

    console = Console()
    # Not `is_terminal`, which the environment can talk into escape codes in a file.
    if not sys.stdout.isatty() or console.is_dumb_terminal:
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
