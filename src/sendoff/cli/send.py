"""
`sendoff send`: what it takes, and how its outcome becomes an exit status.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sendoff import OptionError
from sendoff.cli.exits import Exit
from sendoff.cli.group import command
from sendoff.cli.output import give_up_stdout, json_line, json_option, quiet_option, terminal
from sendoff.cli.vendors import options_of, vendor_options, vendors_of

if TYPE_CHECKING:
    from sendoff.send import Form, Outcome, Plan, Screen

__all__ = ["send"]

DELIMITERS = {"tab": "\t", "\\t": "\t"}
"""What is hard to type."""


@command
@click.argument("path", metavar="FILE|-")
@vendor_options
@click.option(
    "--format",
    "kind",
    type=click.Choice(["auto", "ndjson", "csv"]),
    default="auto",
    show_default=True,
    help="auto takes what begins with a brace for NDJSON, and all else for CSV.",
)
@click.option("--event", metavar="NAME", help="CSV: the name of every event.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FIELD=COLUMN[:TYPE]",
    help="CSV: what a column becomes; may be given more than once.  [default: columns called like"
    " fields are these, all others are properties]",
)
@click.option(
    "--no-header", is_flag=True, help="CSV: the first line is a row; COLUMN is a number from 1."
)
@click.option(
    "--delimiter",
    default=",",
    show_default=True,
    metavar="CHAR",
    help="CSV: one character, tab, or whitespace for any run of blanks.",
)
@click.option(
    "--rate-limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Requests a second to each vendor.  [default: 5000]",
)
@click.option(
    "--id-attribute",
    default="insert_id",
    show_default=True,
    metavar="NAME",
    help="Where Datadog's events carry their id.",
)
@click.option("--send-time", is_flag=True, help="Datadog: send the event's time as date.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The journals are FILE.VENDOR.sent.  [default: the name of the file that is sent]",
)
@click.option(
    "--identity",
    metavar="TEXT",
    help="What ids are made from, with the row's number.  [default: contents and mapping]",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where rows go that are no events.  [default: FILE.rejects; nowhere for stdin]",
)
@click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where events go that a vendor refused, for sendoff replay.  [default: nowhere]",
)
@click.option("--strict", is_flag=True, help="End at the first row that is no event.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when nothing moved for so long, as with a wrong key.",
)
@click.option("--dry-run", is_flag=True, help="Send nothing; print the events as NDJSON.")
@json_option
@quiet_option
def send(path: str, as_json: bool, quiet: bool, dry_run: bool, **given: Any) -> None:
    """
    Send a file of events, and go on where it was if it is stopped.

    FILE is NDJSON or CSV, gzipped or not; - is stdin. A line of NDJSON is an event by the names of
    track's arguments, an identification with "type": "identify", or a vendor's own body. For CSV
    say what the columns are: FIELD is event, user_id, account_id, session_id, device_id, time, ip,
    insert_id or properties.NAME; properties.* alone takes all other columns. TYPE of a time is
    epoch, epoch_ms, iso or a format such as %Y%m%d; of a property str, int, float, decimal, bool,
    json, date or datetime, the last two perhaps with :FORMAT. An empty cell is no value.

    A row's id is made from the file's contents, the mapping and the row's number, so it is the same
    in every run: Freshpaint gets it as $insert_id, Datadog as the attribute insert_id. What a
    vendor has is noted in FILE.VENDOR.sent, row by row: a run that was stopped or killed goes on
    where it was, and sends again at most what was under way, under the same ids. For stdin give
    --journal and --identity to have that.

    Keys and tokens come from the environment: DD_API_KEY, DD_APPLICATION_ID, DD_SITE,
    FRESHPAINT_TOKEN. Progress goes to stderr, the counts to stdout; with --json they are one
    object.
    """
    from sendoff.replay import JournalBusyError
    from sendoff.send import MappingError, SourceError
    from sendoff.send.journal import StrangeJournalError

    try:
        form = _form(given)
        if dry_run:
            if given["to"] is not None:
                vendors_of(given["to"])  # a name that is none is not left for the real run
            _show_events(None if path == "-" else Path(path), form)
            return
        plan = _plan(path, form, given)
        from sendoff.send import run

        outcome = run(plan, _screen(quiet))
    except (OptionError, MappingError, JournalBusyError, StrangeJournalError) as exc:
        raise click.UsageError(str(exc)) from exc
    except (FileNotFoundError, IsADirectoryError) as exc:
        # Reading a folder fails without its name.
        raise click.UsageError(f"{exc.filename or path}: {exc.strerror}") from exc
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise click.ClickException(f"{exc.filename or path}: {exc.strerror or exc}") from exc
    except SourceError as exc:
        raise click.ClickException(f"{path}: {exc}") from exc
    _report(plan, outcome, as_json=as_json, quiet=quiet)


def _form(given: dict[str, Any]) -> Form:
    from sendoff.send import Form, parse_columns

    columns = None
    if given["maps"] or given["event"] is not None:
        columns = parse_columns(given["maps"], given["event"])
    return Form(
        kind=given["kind"],
        columns=columns,
        header=not given["no_header"],
        delimiter=DELIMITERS.get(given["delimiter"], given["delimiter"]),
    )


def _plan(path: str, form: Form, given: dict[str, Any]) -> Plan:
    from sendoff.send import Plan

    destinations = {}
    for vendor in vendors_of(given["to"]):
        options = options_of(vendor, given)
        if given["rate_limit"] is not None:
            options["rate_limit"] = given["rate_limit"]
        if vendor == "datadog" and given["send_time"]:
            options["send_time"] = True
        destinations[vendor] = options
    file = None if path == "-" else Path(path)
    is_stream = file is None or (file.exists() and not file.is_file())
    if is_stream and ((given["journal"] is None) != (given["identity"] is None)):
        raise click.UsageError("for a stream, --journal and --identity go together")
    for name in ("journal", "rejects", "dead_letters"):
        if given[name] is not None and not given[name].absolute().parent.is_dir():
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option}: there is no folder {given[name].parent}")
    rejects = given["rejects"]
    if rejects is None and file is not None and not is_stream:
        rejects = file.with_name(f"{file.name}.rejects")
    return Plan(
        path=file,
        form=form,
        destinations=destinations,
        id_attribute=given["id_attribute"],
        identity=given["identity"],
        journal=given["journal"],
        rejects=rejects,
        dead_letters=given["dead_letters"],
        strict=given["strict"],
        timeout=given["timeout"],
    )


def _show_events(path: Path | None, form: Form) -> None:
    from sendoff.send.dry import events_of

    bad = 0
    for line, error in events_of(path, form):
        if error:
            bad += 1
            click.echo(line, err=True)
        else:
            click.echo(line)
    if bad:
        click.echo(f"{bad:,} rows are no events", err=True)
        sys.exit(Exit.FAILED)


def _screen(quiet: bool) -> Screen:
    from sendoff.send.screen import PlainScreen
    from sendoff.terminal import QuietScreen

    if quiet:
        return QuietScreen()
    console = terminal(errors=True)
    if console is None:
        return PlainScreen()
    from sendoff.send.live import LiveScreen

    return LiveScreen(console)


def _report(plan: Plan, outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    try:
        if as_json:
            vendors = {name: asdict(vendor) for name, vendor in outcome.vendors.items()}
            json_line({**asdict(outcome), "vendors": vendors, "complete": outcome.complete})
        elif not quiet:
            for line in outcome.summary():
                click.echo(line)
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()  # the exit status says what is more important
    if outcome.gave_up:
        click.echo(f"gave up: {outcome.gave_up}; {_how_to_go_on(plan)}", err=True)
    if outcome.bad and plan.rejects is not None:
        click.echo(f"rows that are no events are in {plan.rejects}", err=True)
    if outcome.signal:
        name = "Ctrl-C" if outcome.signal == signal.SIGINT else "SIGTERM"
        click.echo(f"stopped by {name}; {_how_to_go_on(plan)}", err=True)
        interrupted = outcome.signal == signal.SIGINT
        sys.exit(Exit.INTERRUPTED if interrupted else Exit.TERMINATED)
    if not outcome.complete:
        sys.exit(Exit.FAILED)


def _how_to_go_on(plan: Plan) -> str:
    is_file = plan.path is not None and plan.path.is_file()
    if is_file or plan.identity is not None:
        return "the same command goes on where it was"
    return "without --journal and --identity a stream cannot be resumed"
