"""
`python -m sendoff` and the `sendoff` command.

Imports click and rich only when called, and says what to install where they are missing.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

NEEDED = ("click", "rich")


def main() -> None:
    """
    Runs the command line.
    """
    try:
        import click  # noqa: F401 asked for here, so that its absence is told apart from a bug
        import rich  # noqa: F401 as above
    except ModuleNotFoundError as exc:
        if exc.name not in NEEDED:
            raise
        sys.stderr.write(
            f"sendoff: the command line needs {exc.name}: pip install 'sendoff[cli]'\n"
        )
        sys.exit(2)
    from sendoff.cli import cli

    cli(prog_name="sendoff")


if __name__ == "__main__":
    main()
