"""
`sendoff completion`: the script that makes a shell complete our commands and options.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sendoff.cli.group import cli, command

__all__ = ["completion"]

INSTALL = {
    "bash": "sendoff completion bash > ~/.local/share/bash-completion/completions/sendoff",
    "zsh": "sendoff completion zsh > a file called _sendoff in a folder of $fpath",
    "fish": "sendoff completion fish > ~/.config/fish/completions/sendoff.fish",
}
"""How the script is put in place; needs no entry in a start-up file."""


@command
@click.argument("shell", metavar="SHELL", type=click.Choice(list(INSTALL)))
def completion(shell: str) -> None:
    """
    Print the script that completes commands and options in a shell.

    SHELL is bash, zsh or fish.
    How to put it in place stands at its end.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "sendoff", "_SENDOFF_COMPLETE").source()
    # At the end: zsh wants its own first line first.
    click.echo(f"{script.strip()}\n\n# To install: {INSTALL[shell]}")
