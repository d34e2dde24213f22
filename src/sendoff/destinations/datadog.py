"""
Datadog Product Analytics: server events to ``POST /api/v2/prodlytics``.

Sources: the public API reference for Product Analytics events (hosts, headers, fields, answers). It
shows bodies of one event, while its 413 speaks of a batch; what a batch looks like is not
documented. Hence `framing`: a batch of one always goes as the documented object, and an intake that
refuses batches is noticed and served one by one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, Literal

from sendoff.destinations.base import Dumps, HttpDestination
from sendoff.destinations.checks import (
    epoch_seconds,
    event_name,
    object_of,
    text_id,
    without,
)
from sendoff.destinations.credentials import Credential, Secret
from sendoff.errors import EventRejected, OptionError
from sendoff.events import Event, Fragments, Framing
from sendoff.option_checks import check_choice, check_text
from sendoff.options import (
    BATCH_WORKERS,
    FLUSH_INTERVAL,
    MAX_BATCH_BYTES,
    RATE_LIMIT,
    TIMEOUT,
    Compression,
    Retry,
    Tuning,
)

__all__ = ["Datadog"]

SITES: dict[str, tuple[str, str]] = {
    "us1": ("datadoghq.com", "browser-intake-datadoghq.com"),
    "us3": ("us3.datadoghq.com", "browser-intake-us3-datadoghq.com"),
    "us5": ("us5.datadoghq.com", "browser-intake-us5-datadoghq.com"),
    "eu1": ("datadoghq.eu", "browser-intake-datadoghq.eu"),
    "ap1": ("ap1.datadoghq.com", "browser-intake-ap1-datadoghq.com"),
    "ap2": ("ap2.datadoghq.com", "browser-intake-ap2-datadoghq.com"),
}
"""
Short name → (DD_SITE form, intake host). A table and not a rule: the hosts differ in dots and
dashes.
"""

UNSUPPORTED_SITES = ("gov", "ddog-gov.com", "us2.ddog-gov.com", "uk1", "uk1.datadoghq.com")
"""Sites on which Datadog does not offer this product."""

PATH = "/api/v2/prodlytics"

FRAMINGS: dict[str, tuple[Framing, str]] = {
    "array": (Framing(b"[", b",", b"]"), "application/json"),
    "ndjson": (Framing(b"", b"\n", b""), "text/plain;charset=UTF-8"),
    "single": (Framing(), "application/json"),
}

TO_TYPE = b'},"type":"server"'
TO_USER = TO_TYPE + b',"usr":{"id":'
TO_SESSION = b'},"session":{"id":'
"""What stands between the parts of a body."""

IDENTITIES = ("usr", "account", "session")
RESERVED = frozenset(("application", "event", "type", *IDENTITIES))


class Datadog(HttpDestination):
    """
    Datadog Product Analytics.

    Args:
        api_key: The API key; sent as ``DD-API-KEY``. For one that changes, a callable that returns
            it: asked before every attempt, in the loop, so it must return at once.
        application_id: The id of an application for which Product Analytics is enabled.
        site: A site's short name (``"us3"``) or its DD_SITE form (``"us3.datadoghq.com"``).
        endpoint: A full URL in place of the site's, for proxies and tests.
        framing: What two or more events look like: ``"array"``, ``"ndjson"``; or ``"single"``, one
            event a request.
        compression: ``"gzip"``, ``"deflate"`` or None. Not documented for this intake, so off by
            default.
        send_time: Whether to add the event's time as ``date`` in milliseconds. Not documented for
            this intake.
        id_attribute: A custom attribute that carries the event's id, so that duplicates can be
            told; None for none.
        name: The key in `to=` and in the statistics.
        rate_limit: Requests in any sliding second, retries included; None for no limit.
        max_batch_bytes: Largest body, framing included, before compression. Documented limit: 5 MB.
        max_batch_events: Most events in one request; None for no limit but the bytes.
        flush_interval: Seconds that a batch waits for more events.
        workers: Requests under way at once.
        timeout: Seconds for one attempt.
        retry: How failures are tried again.
        ssl: An `ssl.SSLContext` of your own, for a CA or a client certificate; None verifies
            against the system's certificates.
        proxy: The ``http://`` or ``https://`` URL of a proxy, perhaps with ``user:password@``;
            None for none.

    Raises:
        OptionError: An option is wrong; the message names it and its limit.
    """

    def __init__(
        self,
        *,
        api_key: Credential,
        application_id: str,
        site: str = "us1",
        endpoint: str | None = None,
        # What goes over the wire.
        framing: Literal["array", "ndjson", "single"] = "array",
        compression: Compression | None = None,
        send_time: bool = False,
        id_attribute: str | None = None,
        # How it goes there.
        name: str = "datadog",
        rate_limit: int | None = RATE_LIMIT,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        max_batch_events: int | None = None,
        flush_interval: float = FLUSH_INTERVAL,
        workers: int = BATCH_WORKERS,
        timeout: float = TIMEOUT,
        retry: Retry | None = None,
        ssl: SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        key = Secret("api_key", api_key)
        check_text("application_id", application_id)
        of_site = _endpoint_of_site(site)
        check_choice("framing", framing, tuple(FRAMINGS))
        check_choice("send_time", send_time, (True, False))
        if id_attribute is not None:
            check_text("id_attribute", id_attribute)
        self._reserved = RESERVED | {"date"} if send_time else RESERVED
        if id_attribute is not None:
            if id_attribute in self._reserved:
                raise OptionError(f"id_attribute must not be one of {sorted(self._reserved)}")
            self._reserved |= {id_attribute}
        if framing == "single":
            max_batch_events = 1
        frame, content_type = FRAMINGS[framing]
        super().__init__(
            name=name,
            endpoint=of_site if endpoint is None else endpoint,
            tuning=Tuning(
                rate_limit=rate_limit,
                max_batch_bytes=max_batch_bytes,
                max_batch_events=max_batch_events,
                flush_interval=flush_interval,
                workers=workers,
                timeout=timeout,
                retry=Retry() if retry is None else retry,
                ssl=ssl,
                proxy=proxy,
                compression=compression,
            ),
            headers={"DD-API-KEY": key},
            framing=frame,
            batch_content_type=content_type,
        )
        self._application = {"id": application_id}
        self._send_time = send_time
        self._id_attribute = id_attribute
        # For `assemble`.
        application = json.dumps(self._application, separators=(",", ":"))
        self._opening = f'{{"application":{application},"event":{{"name":'.encode()
        self._has_stamp = send_time or id_attribute is not None

    @classmethod
    def from_env(cls, **options: Any) -> Datadog:
        """
        A destination from ``DD_API_KEY``, ``DD_APPLICATION_ID``, ``DD_SITE`` and ``DD_ENDPOINT``
        (these two optional), read now.

        Args:
            options: Constructor options; they win over the environment.

        Raises:
            OptionError: A variable is missing, or an option is wrong.
        """
        for option, variable in (
            ("api_key", "DD_API_KEY"),
            ("application_id", "DD_APPLICATION_ID"),
        ):
            if option not in options:
                if not os.environ.get(variable):
                    raise OptionError(f"{option} is not given and {variable} is not set")
                options[option] = os.environ[variable]
        for option, variable in (("site", "DD_SITE"), ("endpoint", "DD_ENDPOINT")):
            if os.environ.get(variable):
                options.setdefault(option, os.environ[variable])
        return cls(**options)

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body has ``application`` or says ``"type": "server"``.
        """
        return "application" in payload or payload.get("type") == "server"

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        """
        The documented object; properties become top-level custom attributes. Identifications have
        no counterpart.

        Raises:
            EventRejected: The name is no text, or none of user, account and session is given.
        """
        if event.identify:
            return None
        user_id = text_id("user_id", event.user_id)
        account_id = text_id("account_id", event.account_id)
        session_id = text_id("session_id", event.session_id)
        body: dict[Any, Any] = {
            "application": self._application,
            "event": {"name": event_name(event.name)},
            "type": "server",
        }
        if user_id is not None:
            body["usr"] = {"id": user_id}
        if account_id is not None:
            body["account"] = {"id": account_id}
        if session_id is not None:
            body["session"] = {"id": session_id}
        if len(body) == 3:
            raise EventRejected(
                "missing_identity", "one of user_id, account_id, session_id is required"
            )
        if self._send_time:
            body["date"] = round(epoch_seconds(event.time) * 1_000)
        if self._id_attribute is not None:
            body[self._id_attribute] = event.id
        properties = event.properties
        if properties is not None:
            properties = object_of("properties", properties)
            if self._reserved.isdisjoint(properties):
                body.update(properties)
            else:
                self._merge(body, properties)
        return dumps(body)

    @property
    def taken(self) -> frozenset[str]:
        """
        The vendor's names, with which `assemble` does not work.
        """
        return self._reserved

    def assemble(self, fragments: Fragments, time: float, event_id: str) -> bytes | None:
        """
        What `encode` gives, from parts that are JSON already; None if that has to see to it.
        """
        name, user, account, session, _, _, separator, rest = fragments
        if self._has_stamp:
            separator = self._stamp(time, event_id) + separator
        if account is None:
            # The two most frequent, without a detour.
            if session is None:
                if user is None:
                    return None
                return b"".join((self._opening, name, TO_USER, user, b"}", separator, rest))
            if user is not None:
                return b"".join(
                    (self._opening, name, TO_USER, user, TO_SESSION, session, b"}", separator, rest)
                )
        parts = [self._opening, name, TO_TYPE]
        for field, value in ((b"usr", user), (b"account", account), (b"session", session)):
            if value is not None:
                parts += (b',"', field, b'":{"id":', value, b"}")
        return b"".join((*parts, separator, rest))

    def _stamp(self, time: float, event_id: str) -> bytes:
        stamp: dict[str, Any] = {}
        if self._send_time:
            stamp["date"] = round(time * 1_000)
        if self._id_attribute is not None:
            stamp[self._id_attribute] = event_id
        return b"," + json.dumps(stamp, separators=(",", ":")).encode()[1:-1]

    def _merge(self, body: dict[Any, Any], properties: Mapping[Any, Any]) -> None:
        """
        Adds properties of which some are named like the vendor's fields.

        Attributes may stand inside the vendor's objects, so ``{"usr": {"plan": "pro"}}`` goes
        there, beside the id.
        """
        rest = dict(properties)
        for field in (*IDENTITIES, "application", "event"):
            inner = rest.get(field)
            if field in body and isinstance(inner, Mapping):
                # The vendor's first: of two keys that are equal as text, the first keeps its name.
                inner = object_of(field, inner)
                body[field] = {**body[field], **without(frozenset(body[field]), inner)}
                del rest[field]
        body.update(without(self._reserved, rest))

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A body as the reference prints it, checked for the required fields and sent as it is.

        Raises:
            EventRejected: A required field is missing or of the wrong type.
        """
        _require_id(payload, "application", "id")
        _require_id(payload, "event", "name")
        if payload.get("type") != "server":
            raise EventRejected("invalid_type", 'type must be "server"')
        present = [field for field in IDENTITIES if field in payload]
        if not present:
            raise EventRejected("missing_identity", "one of usr, account, session is required")
        for field in present:
            _require_id(payload, field, "id")
        own = payload.get(self._id_attribute) if self._id_attribute is not None else None
        return dumps(payload), own if isinstance(own, str) and own else event_id


def _require_id(payload: Mapping[str, Any], field: str, key: str) -> None:
    inner = payload.get(field)
    value = inner.get(key) if isinstance(inner, Mapping) else None
    if not isinstance(value, str) or not value:
        raise EventRejected(f"invalid_{field}", f"{field}.{key} must be a non-empty str")


def _endpoint_of_site(site: object) -> str:
    check_text("site", site)
    wanted = str(site).lower()
    if wanted in UNSUPPORTED_SITES:
        raise OptionError(
            f"site {site!r} does not offer Product Analytics; use one of {', '.join(SITES)}"
        )
    for short, (long, host) in SITES.items():
        if wanted in (short, long):
            return f"https://{host}{PATH}"
    known = ", ".join(f"{short} ({long})" for short, (long, _) in SITES.items())
    raise OptionError(f"site must be one of {known}, not {site!r}")
