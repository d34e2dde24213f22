"""
`sendoff sink`: the options of `python -m sendoff.sink`.
"""

from __future__ import annotations

import click

from sendoff.cli.group import command
from sendoff.sink import Settings

__all__ = ["sink"]


@command
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
@click.option("-q", "--quiet", is_flag=True, help="Greet nobody on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Write the first line on a terminal as well.")
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
    as_json: bool,
) -> None:
    """
    Serve a local stand-in of both vendors until SIGINT or SIGTERM.

    The same as `python -m sendoff.sink`. On anything but a terminal the first line of output is
    {"port": N}.
    """
    from sendoff.sink import run
    from sendoff.sink.launch import cannot_listen

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
        run(settings, as_json=as_json)
    except OSError as exc:
        raise click.ClickException(cannot_listen(port, exc)) from exc
