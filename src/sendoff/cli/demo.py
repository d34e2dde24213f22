"""
`sendoff demo`: what it takes, and how its outcome becomes an exit status.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sendoff.cli.exits import Exit
from sendoff.cli.group import command
from sendoff.cli.output import terminal

if TYPE_CHECKING:
    from sendoff.demo import Outcome
    from sendoff.demo.screen import Screen

__all__ = ["demo"]


@command
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
    """
    try:
        _demo(events, path, faults, rate)
    except KeyboardInterrupt:  # click would make it an exit status of 1
        click.echo("stopped by Ctrl-C before the end; nothing was compared", err=True)
        sys.exit(Exit.INTERRUPTED)


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

    console = terminal()
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
    sys.exit(Exit.FAILED)
