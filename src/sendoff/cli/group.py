"""
The group that all commands belong to, and what an exit status means in each of them.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

__all__ = ["INTERRUPTED", "cli"]

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
