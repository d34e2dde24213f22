"""
`python -m sendoff.sink`: a sink in a process of its own.
"""

from __future__ import annotations

import argparse

from sendoff.sink.launch import cannot_listen, run
from sendoff.sink.settings import add_arguments, settings_from


def main() -> None:
    """
    Read the command line and serve until stopped.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sendoff.sink",
        description="A local stand-in for Datadog Product Analytics and Freshpaint.",
    )
    add_arguments(parser)
    try:
        settings = settings_from(parser.parse_args())
    except ValueError as error:
        parser.error(str(error))
    try:
        run(settings)
    except OSError as error:
        parser.exit(1, f"{cannot_listen(settings.port, error)}\n")


if __name__ == "__main__":
    main()
