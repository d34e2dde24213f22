"""
What a sink can be told, and the one way to tell it on a command line.

A `Settings` that exists is valid: every value was checked when it was stored.
`settings_from(parser.parse_args(arguments(settings)))` gives `settings` back, so that a process can
be started with the settings of another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sendoff.sink.grammar import parse_fault

if TYPE_CHECKING:
    import argparse

# How many of each vendor's last events keep their body; ids and counts are kept for all.
KEEP_EVENTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a sink listens on, takes and refuses.

    Args:
        port: the port on 127.0.0.1; 0 lets the system choose one.
        api_key: the only Datadog key that is taken; `None` takes any.
        token: the only Freshpaint token that is taken; `None` takes any.
        faults: fault scripts, in the words of `parse_fault`, first match first.
        id_attribute: the top-level attribute of a Datadog event that holds its id.
        accept_batches: whether Datadog takes two or more events in one request.
        poison: the name of a Datadog event that gets its whole request refused.
        keep_events: how many of each vendor's last events keep their body.
        with_parent: end when stdin reaches its end, which a parent's death brings about.
        quiet: greet nobody on a terminal.

    Raises:
        ValueError: a value is outside its limits; the message names the setting.
    """

    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    faults: tuple[str, ...] = ()
    id_attribute: str = "insert_id"
    accept_batches: bool = True
    poison: str | None = None
    keep_events: int = KEEP_EVENTS
    with_parent: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must lie in 0..65535, got {self.port}")
        if self.keep_events < 0:
            raise ValueError(f"keep_events must be 0 or more, got {self.keep_events}")
        for name in ("api_key", "token", "id_attribute", "poison"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} must not be empty")
        for script in self.faults:
            parse_fault(script)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Give a parser the options of a sink.

    Args:
        parser: the parser that gets them; `settings_from` reads what it returns.
    """
    add = parser.add_argument
    add("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    add("--api-key", metavar="KEY", help="the only Datadog key to take; default: any")
    add("--token", metavar="TOKEN", help="the only Freshpaint token to take; default: any")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SCRIPT",
        help="a fault such as '429 for 2s retry-after 1'; may be given more than once",
    )
    add(
        "--id-attribute",
        default="insert_id",
        metavar="NAME",
        help="where Datadog events have an id",
    )
    add("--single-only", action="store_true", help="refuse Datadog batches of two or more")
    add("--poison", metavar="NAME", help="refuse any Datadog request with an event of this name")
    add("--keep-events", type=int, default=KEEP_EVENTS, metavar="N", help="last bodies to keep")
    add("--with-parent", action="store_true", help="end when stdin does")
    add("-q", "--quiet", action="store_true", help="greet nobody on a terminal")


def settings_from(options: argparse.Namespace) -> Settings:
    """
    The settings that a parsed command line stands for.

    Args:
        options: what a parser with `add_arguments` has read.

    Raises:
        ValueError: as `Settings` does.
    """
    return Settings(
        port=options.port,
        api_key=options.api_key,
        token=options.token,
        faults=tuple(options.fault),
        id_attribute=options.id_attribute,
        accept_batches=not options.single_only,
        poison=options.poison,
        keep_events=options.keep_events,
        with_parent=options.with_parent,
        quiet=options.quiet,
    )


def arguments(settings: Settings) -> list[str]:
    """
    The command line that stands for these settings.

    Args:
        settings: what the line has to say.
    """
    values = {
        "port": settings.port,
        "api-key": settings.api_key,
        "token": settings.token,
        "id-attribute": settings.id_attribute,
        "poison": settings.poison,
        "keep-events": settings.keep_events,
    }
    flags = {
        "single-only": not settings.accept_batches,
        "with-parent": settings.with_parent,
        "quiet": settings.quiet,
    }
    # `--name=value`, since a value may begin with a dash.
    return [
        *(f"--{name}={value}" for name, value in values.items() if value is not None),
        *(f"--fault={script}" for script in settings.faults),
        *(f"--{name}" for name, on in flags.items() if on),
    ]
