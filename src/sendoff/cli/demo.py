"""
`sendoff demo`: what it takes, and how its outcome becomes an exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sendoff.cli.exits import Exit
from sendoff.cli.group import command
from sendoff.cli.output import json_line, json_option, terminal

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
@json_option
def demo(
    events: int | None, path: Path | None, faults: bool, rate: int | None, as_json: bool
) -> None:
    """
    Replay real purchases to a local stand-in of both vendors, and compare the counts of both ends.

    The purchases are those of the CD shop CDNOW in 1997 and 1998. An event happens when it is
    replayed; the original day is its property purchased_on. Nothing leaves this machine.

    With --json both counts are one object on stdout, and all else goes to stderr.

    With --faults the stand-in answers 503 and 429 for a while and breaks connections after it
    accepted what they carried. What it may have accepted is sent again, so there are duplicates,
    and unique ids are compared.
    """
    try:
        _demo(events, path, faults, rate, as_json)
    except KeyboardInterrupt:
        click.echo("stopped by Ctrl-C before the end; nothing was compared", err=True)
        sys.exit(Exit.INTERRUPTED)


def _demo(
    events: int | None, path: Path | None, faults: bool, rate: int | None, as_json: bool
) -> None:
    from sendoff.demo import Plan, PurchasesError, read_purchases, run

    try:
        purchases = read_purchases(path, events)
    except (PurchasesError, OSError) as exc:
        raise click.UsageError(str(exc)) from exc
    if not purchases:
        raise click.UsageError("the file holds no purchases")
    screen = _screen(as_json)
    try:
        outcome = run(Plan(purchases=purchases, faults=faults, rate=rate), screen)
    except (OSError, RuntimeError) as exc:
        raise click.ClickException(f"the sink failed: {exc}") from exc
    _conclude(outcome, screen, as_json)


def _screen(as_json: bool) -> Screen:
    from sendoff.demo.screen import PlainScreen

    console = terminal(errors=as_json)
    if console is None:
        return PlainScreen(errors=as_json)
    from sendoff.demo.live import LiveScreen

    return LiveScreen(console)


def _counts(outcome: Outcome) -> dict[str, Any]:
    ledgers = {
        name: {part.name: _plain(getattr(ledger, part.name)) for part in fields(ledger)}
        for name, ledger in outcome.ledgers.items()
    }
    return {
        "agrees": outcome.agrees,
        "elapsed": outcome.elapsed,
        "dispatcher": ledgers,
        "sink": {name: asdict(sink) for name, sink in outcome.sinks.items()},
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _conclude(outcome: Outcome, screen: Screen, as_json: bool) -> None:
    from sendoff.demo.table import ledger_table

    rows = ledger_table(outcome.ledgers, outcome.sinks, outcome.differences)
    screen.table(tuple(outcome.ledgers), rows, agrees=outcome.agrees)
    if as_json:
        json_line(_counts(outcome))
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
