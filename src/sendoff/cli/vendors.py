"""
The options that say which vendors a command is about and how they are reached.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

import click

from sendoff import OptionError

__all__ = ["VARIABLES", "VENDORS", "options_of", "vendor_options", "vendors_of"]

VENDORS = ("datadog", "freshpaint")

VARIABLES: dict[str, tuple[str, ...]] = {
    "datadog": ("DD_API_KEY", "DD_APPLICATION_ID", "DD_SITE"),
    "freshpaint": ("FRESHPAINT_TOKEN",),
}
"""What `from_env` reads."""

_OPTIONS = (
    click.option(
        "--to",
        metavar="VENDORS",
        help="datadog, freshpaint, or both with a comma between them.  [default: those for which"
        " the environment has a variable]",
    ),
    click.option("--datadog-endpoint", metavar="URL", help="A URL in place of Datadog's."),
    click.option("--freshpaint-endpoint", metavar="URL", help="A URL in place of Freshpaint's."),
    click.option("--site", metavar="SITE", help="Datadog's site.  [default: DD_SITE, or us1]"),
    click.option(
        "--proxy",
        metavar="URL",
        help="A proxy, perhaps with user:password@; the environment's is not used by itself.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Certificates of authorities to trust, in place of the system's.",
    ),
)


def vendor_options(call: Callable[..., Any]) -> Callable[..., Any]:
    """
    Adds the options to a command.
    """
    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def vendors_of(to: str | None) -> list[str]:
    """
    The vendors that are meant.

    Raises:
        UsageError: One is unknown, or none is meant.
    """
    if to is None:
        found = [name for name in VENDORS if any(map(os.environ.get, VARIABLES[name]))]
        if not found:
            variables = ", ".join(name for names in VARIABLES.values() for name in names)
            raise click.UsageError(f"--to is not given, and none of {variables} is set")
        return found
    named = [name.strip() for name in to.split(",")]
    for name in named:
        if name not in VENDORS:
            raise click.UsageError(f"--to takes {' and '.join(VENDORS)}, not {name!r}")
    return [name for name in VENDORS if name in named]


def options_of(vendor: str, given: dict[str, Any]) -> dict[str, Any]:
    """
    A vendor's constructor options, of what was given.

    Raises:
        OptionError: The file of certificates holds none.
    """
    options: dict[str, Any] = {"endpoint": given[f"{vendor}_endpoint"], "proxy": given["proxy"]}
    if vendor == "datadog":
        options["site"] = given["site"]
    if given["ca_file"] is not None:
        try:
            options["ssl"] = ssl.create_default_context(cafile=given["ca_file"])
        except (ssl.SSLError, OSError) as exc:
            raise OptionError(f"ca_file holds no certificate: {exc}") from exc
    return {name: value for name, value in options.items() if value is not None}
