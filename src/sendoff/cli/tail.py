"""
`sendoff tail`: the events of a running sink, as they come.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from sendoff.cli.group import command
from sendoff.cli.output import json_line, json_option, quiet_option, terminal
from sendoff.cli.vendors import VENDORS

if TYPE_CHECKING:
    from rich.console import Console

    from sendoff.sink.follow import Follower, Seen

__all__ = ["tail"]

INTERVAL = 0.2
"""Seconds between two looks: what a person takes for at once."""


@command
@click.option(
    "--url", required=True, metavar="URL", help="Where the sink listens: http://127.0.0.1:PORT."
)
@click.option("--vendor", type=click.Choice(VENDORS), help="Only events to this vendor.")
@click.option("--name", metavar="NAME", help="Only events of this name.")
@click.option("--user", metavar="ID", help="Only events of this user.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Begin with the last N events that match, of those that the sink still has.",
)
@click.option(
    "--follow/--no-follow", default=True, show_default=True, help="Wait for further ones."
)
@json_option
@quiet_option
def tail(
    url: str,
    vendor: str | None,
    name: str | None,
    user: str | None,
    lines: int,
    follow: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Show the events that a running sink accepts, as they come.

    A line for each event: vendor, name, user and the body. With --json a line is an object with the
    keys vendor, name, user and event. Events of both vendors come in the order of each vendor.
    """
    from sendoff.sink.follow import Follower, SinkGoneError

    try:
        follower = Follower(url, (vendor,) if vendor else VENDORS)  # type: ignore[arg-type]
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc

    def matching() -> list[Seen]:
        return [
            seen
            for seen in follower.read()
            if (name is None or seen.name == name) and (user is None or seen.user == user)
        ]

    console = None if as_json else terminal()
    try:
        first = matching()
        follower.missed = 0  # what is long gone was not asked for
        _show(first[max(0, len(first) - lines) :], as_json=as_json, console=console)
        while follow:
            time.sleep(INTERVAL)
            _show(matching(), as_json=as_json, console=console)
            _say_missed(follower, quiet=quiet)
    except SinkGoneError as exc:
        raise click.ClickException(str(exc)) from exc


def _say_missed(follower: Follower, *, quiet: bool) -> None:
    if follower.missed and not quiet:
        click.echo(f"{follower.missed:,} more came than the sink keeps", err=True)
    follower.missed = 0


def _show(events: list[Seen], *, as_json: bool, console: Console | None) -> None:
    for seen in events:
        if as_json:
            json_line(
                {"vendor": seen.vendor, "name": seen.name, "user": seen.user, "event": seen.body}
            )
            continue
        body = _escaped(json.dumps(seen.body, ensure_ascii=False))
        if console is None:
            click.echo(f"{seen.vendor:<10}  {_plain(seen.name)}  {_plain(seen.user)}  {body}")
            continue
        from rich.text import Text

        parts = ((f"{seen.vendor:<10}", "cyan"), (_plain(seen.name), "bold"), _plain(seen.user))
        line = Text("  ").join(
            Text(*part) if isinstance(part, tuple) else Text(part) for part in parts
        )
        console.print(line, Text(body, style="dim"), soft_wrap=True)
    sys.stdout.flush()


def _plain(text: str) -> str:
    """
    A name from anywhere, without what a terminal would obey.
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def _escaped(text: str) -> str:
    """
    JSON from anywhere in a form that a terminal only shows, and that means the same.
    """
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
