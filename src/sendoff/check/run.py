"""
A check, from the options to the findings, one after the other as they come.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sendoff import Datadog, DeadLetters, Freshpaint, OptionError, Spool
from sendoff.check.findings import (
    Finding,
    certificate_finding,
    clock_finding,
    configuration_findings,
    disk_finding,
    live_finding,
    network_findings,
    proxy_finding,
)
from sendoff.check.live import try_live
from sendoff.check.probes import look_at_disk, look_at_way

__all__ = ["Plan", "run"]

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")

NO_CREDENTIALS: dict[str, dict[str, str]] = {
    "datadog": {"api_key": "none", "application_id": "none"},
    "freshpaint": {"token": "none"},
}
"""In place of credentials that are missing: the way can be gone without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What to look at.

    Attributes:
        destinations: Constructor options by vendor.
        variables: Names of the variables that hold a vendor's credentials.
        spool: A folder for `Spool`; None for none.
        dead_letters: A path for `DeadLetters`; None for none.
        live: Whether marked events are really sent.
        timeout: Seconds for each step.
    """

    destinations: Mapping[str, Mapping[str, Any]] = field(repr=False)
    variables: Mapping[str, tuple[str, ...]]
    spool: Path | None = None
    dead_letters: Path | None = None
    live: bool = False
    timeout: float = 10.0


def run(plan: Plan, tell: Callable[[Finding], None]) -> None:
    """
    Looks at everything.

    Args:
        plan: At what.
        tell: Called with each finding as soon as it is there.
    """
    asyncio.run(_run(plan, tell))


async def _run(plan: Plan, tell: Callable[[Finding], None]) -> None:
    given = any(options.get("proxy") for options in plan.destinations.values())
    variable = next((name for name in PROXIES if os.environ.get(name)), None)
    left_out = proxy_finding(variable, given)
    if left_out is not None:
        tell(left_out)
    mark = f"check-{secrets.token_hex(4)}"
    for vendor, options in plan.destinations.items():
        destination, error = _destination(vendor, options)
        names = plan.variables[vendor]
        values = {name: os.environ[name] for name in names if os.environ.get(name)}
        endpoint = "" if destination is None else destination.endpoint
        # A query is left out of what is shown: people put keys into URLs.
        shown = endpoint.partition("?")[0]
        for finding in configuration_findings(vendor, error, values, shown):
            tell(finding)
        if destination is None:
            continue
        tuning = destination.tuning
        facts = await look_at_way(endpoint, tuning.ssl, tuning.proxy, plan.timeout)
        for finding in network_findings(vendor, facts):
            tell(finding)
        for more in (certificate_finding(vendor, facts, time.time()), clock_finding(vendor, facts)):
            if more is not None:
                tell(more)
        if plan.live and error is None:
            tell(live_finding(vendor, await try_live(destination, mark, plan.timeout)))
    for finding in _disk(plan):
        tell(finding)


def _destination(
    vendor: str, options: Mapping[str, Any]
) -> tuple[Datadog | Freshpaint | None, str | None]:
    """
    A vendor's destination, if need be without credentials; and what is wrong with its options.
    """
    kind = Datadog if vendor == "datadog" else Freshpaint
    try:
        return kind.from_env(**options), None
    except OptionError as exc:
        error = str(exc)
    try:
        return kind.from_env(**{**NO_CREDENTIALS[vendor], **options}), error
    except OptionError:
        return None, error


def _disk(plan: Plan) -> list[Finding]:
    found = []
    if plan.spool is not None:
        wanted = Spool(plan.spool).max_bytes
        seen = look_at_disk("spool", plan.spool, is_folder=True, wanted=wanted)
        found.append(disk_finding(seen))
    if plan.dead_letters is not None:
        letters = DeadLetters(plan.dead_letters)
        seen = look_at_disk("dead letters", letters.file, is_folder=False, wanted=letters.max_bytes)
        found.append(disk_finding(seen))
    return found
