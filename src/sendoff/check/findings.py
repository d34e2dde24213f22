"""
From what was seen to what it means, and what to do about it.

Plain: no clock and no I/O. Always holds: no credential is in a finding; whatever is no ok says what
to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sendoff.check.facts import Disk, Facts, Live

__all__ = [
    "Finding",
    "Result",
    "certificate_finding",
    "clock_finding",
    "configuration_findings",
    "disk_finding",
    "live_finding",
    "network_findings",
    "proxy_finding",
]

DAY = 86_400.0

SOON = 21 * DAY
"""A certificate that ends so soon should have been renewed: automatic ones are a month before."""

SLOW = 1.0
"""Seconds for a connection above which something is odd on the way."""

OFF = 5.0
FAR_OFF = 300.0
"""Seconds of a clock: an event's time is the sender's. Far off, certificates seem wrong as well."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

SHAPES = {
    "DD_API_KEY": (r"[0-9a-f]{32}", "32 hexadecimal digits"),
    "DD_APPLICATION_ID": (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID"),
    "FRESHPAINT_TOKEN": (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID"),
}
"""What credentials usually look like. No vendor promises it, so it is worth no more than a word."""


class Result(StrEnum):
    """
    How it looks.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One line of a report.

    Attributes:
        vendor: ``"datadog"``, ``"freshpaint"``, or empty for what concerns both.
        what: What was looked at: one short word.
        result: How it looks.
        detail: What was seen.
        todo: What to do; empty if that is nothing.
    """

    vendor: str
    what: str
    result: Result
    detail: str
    todo: str = ""


def configuration_findings(
    vendor: str, error: str | None, values: Mapping[str, str], endpoint: str
) -> list[Finding]:
    """
    What a vendor's options look like.

    Args:
        vendor: Whose.
        error: Why they are none; None if they are.
        values: Of the variables that are set, by name.
        endpoint: Where requests go, without a query.
    """
    if error is not None:
        missing = error.endswith("is not set")
        todo = "set the variable" if missing else "mend the variable or the option of that name"
        return [Finding(vendor, "options", Result.FAIL, error, todo)]
    found = [Finding(vendor, "options", Result.OK, f"complete; requests go to {endpoint}")]
    for name, (shape, words) in SHAPES.items():
        if name in values and not re.fullmatch(shape, values[name].lower()):
            detail = f"{name} is not {words}, as they usually are"
            found.append(
                Finding(vendor, "options", Result.WARN, detail, "compare it with the vendor's page")
            )
    return found


def proxy_finding(environment: str | None, given: bool) -> Finding | None:
    """
    Whether a proxy of the environment's is left out by mistake.

    Args:
        environment: The name of the variable that is set; None if there is none.
        given: Whether a proxy was given.
    """
    if given or environment is None:
        return None
    return Finding(
        "",
        "proxy",
        Result.WARN,
        f"{environment} is set, and sendoff does not read it",
        "if there is no way around the proxy, give it: --proxy here, proxy= in your code",
    )


def network_findings(vendor: str, facts: Facts) -> list[Finding]:
    """
    What the way to a vendor looks like, as far as it was gone.
    """
    way = f"{facts.host}:{facts.port}"
    found: list[Finding] = []

    def add(what: str, result: Result, detail: str, todo: str = "") -> None:
        found.append(Finding(vendor, what, result, detail, todo))

    first = facts.proxy or way
    if facts.dns_error is not None:
        add(
            "dns",
            Result.FAIL,
            f"{first}: {facts.dns_error}",
            "ask this machine's resolver for the name; behind a proxy, give --proxy",
        )
        return found
    if facts.addresses is not None:
        add("dns", Result.OK, f"{first}: {', '.join(facts.addresses[:3])}")
    if facts.connect_error is not None:
        todo = "let this machine out to that port; behind a proxy, give --proxy"
        add("proxy" if facts.proxy else "tcp", Result.FAIL, f"{first}: {facts.connect_error}", todo)
        return found
    if facts.connected is not None:
        slow = facts.connected > SLOW
        add(
            "proxy" if facts.proxy else "tcp",
            Result.WARN if slow else Result.OK,
            f"{first} took the connection in {facts.connected * 1_000:.0f} ms",
            "look for a firewall or a broken IPv6 on the way" if slow else "",
        )
    if facts.proxy_error is not None:
        todo = "ask whoever runs the proxy to let this host through; look at its user and password"
        add("proxy", Result.FAIL, f"{first}: {facts.proxy_error}", todo)
        return found
    if facts.secure:
        found.extend(_tls_findings(vendor, facts))
        if facts.tls_error is not None:
            return found
    elif facts.host not in LOOPBACK:
        todo = "use an https endpoint: keys and events go unencrypted"
        add("tls", Result.WARN, f"{way} is plain http", todo)
    if facts.http_error is not None:
        todo = "something between here and the vendor speaks no HTTP: look at endpoint and proxy"
        add("http", Result.FAIL, facts.http_error, todo)
    elif facts.status is not None:
        down = facts.status >= 500
        todo = "look at the vendor's status page" if down else ""
        result = Result.WARN if down else Result.OK
        add("http", result, f"answered {facts.status} to a request without an event", todo)
    return found


def _tls_findings(vendor: str, facts: Facts) -> list[Finding]:
    if facts.tls_error is not None:
        todo = (
            "if your network opens TLS, or the endpoint has a CA of its own, give its certificates:"
            " --ca-file here, ssl= in your code; look at this machine's clock"
        )
        return [Finding(vendor, "tls", Result.FAIL, facts.tls_error, todo)]
    return [Finding(vendor, "tls", Result.OK, f"{facts.tls}, certificate by {facts.issuer}")]


def certificate_finding(vendor: str, facts: Facts, now: float) -> Finding | None:
    """
    How long the certificate lasts.

    Args:
        vendor: Whose endpoint it is.
        facts: What was seen.
        now: Epoch seconds.
    """
    if facts.expires is None:
        return None
    days = (facts.expires - now) / DAY
    soon = facts.expires - now < SOON
    return Finding(
        vendor,
        "certificate",
        Result.WARN if soon else Result.OK,
        f"ends in {days:.0f} days",
        "have it renewed, if it is yours or your proxy's" if soon else "",
    )


def clock_finding(vendor: str, facts: Facts) -> Finding | None:
    """
    How far this machine's clock is from the vendor's.
    """
    if facts.offset is None:
        return None
    sure = max(0.0, abs(facts.offset) - facts.spread)
    result = Result.OK if sure <= OFF else Result.WARN if sure <= FAR_OFF else Result.FAIL
    side = "behind" if facts.offset > 0 else "ahead of"
    detail = (
        "agrees with the vendor's, within a few seconds"
        if result is Result.OK
        else f"is {abs(facts.offset):,.0f} s {side} the vendor's"
    )
    todo = "" if result is Result.OK else "set the clock, by NTP: events carry this machine's time"
    return Finding(vendor, "clock", result, f"the clock here {detail}", todo)


def disk_finding(disk: Disk) -> Finding:
    """
    Whether there is room where something is to be written.
    """
    if disk.error is not None:
        todo = "make the folder, and let this user write there"
        return Finding("", "disk", Result.FAIL, f"{disk.what} {disk.path}: {disk.error}", todo)
    detail = f"{disk.what} {disk.path}: {disk.free / 2**20:,.0f} MiB free"
    if disk.free < disk.wanted:
        todo = f"up to {disk.wanted / 2**20:,.0f} MiB may be used: make room, or lower max_bytes"
        return Finding("", "disk", Result.WARN, detail, todo)
    return Finding("", "disk", Result.OK, detail)


LOOK = {
    "datadog": "in Product Analytics search for @event.name:{name} @sendoff_check:{mark}",
    "freshpaint": "in Live View look for the event {name} with sendoff_check {mark}",
}
EVENT = "sendoff.check"


def live_finding(vendor: str, live: Live) -> Finding:
    """
    What came of the events that were really sent, and where to look for them.
    """
    statuses = ", ".join(map(str, live.statuses)) or "no answer"
    if live.delivered < live.sent:
        detail = f"{live.delivered} of {live.sent} events taken ({statuses}): {live.said}"
        answered = set(live.statuses)
        if answered & {401, 403}:
            todo = "look at the key or token, and whether it belongs to this site"
        elif answered & {404, 405}:
            todo = "nothing takes events at that URL: look at site and endpoint"
        else:
            todo = "mend what failed above, or look at the vendor's status page"
        return Finding(vendor, "live", Result.FAIL, detail, todo)
    look = LOOK[vendor].format(name=EVENT, mark=live.mark)
    todo = (
        f"{look}; there must be {live.sent}. An answer proves that they were received, and nothing"
        " more"
    )
    if live.batch_refused:
        detail = f"{live.sent} events taken one by one, and refused together ({statuses})"
        return Finding(vendor, "live", Result.WARN, detail, f"use framing='single'; {todo}")
    return Finding(vendor, "live", Result.OK, f"{live.sent} events taken ({statuses})", todo)
