"""
Freshpaint: one event a request to ``POST /track``.

Sources: the public HTTP API reference (fields, answers, the burst limit of 5,000 requests a
second). The token is a credential and travels inside the body, so encoded bodies begin with
`WITHOUT_TOKEN` and the token is put in at every attempt: what is queued, written to disk or shown
to `on_drop` holds none. `$insert_id` is always set, because without it the vendor tells duplicates
by time and device, and two server events of one second can collapse into one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from ssl import SSLContext
from typing import Any

from sendoff.destinations.base import Dumps, HttpDestination
from sendoff.destinations.checks import (
    epoch_seconds,
    event_name,
    insert_id_of,
    object_of,
    text_id,
    without,
)
from sendoff.destinations.credentials import Credential, Secret
from sendoff.errors import EventRejected, OptionError
from sendoff.events import Event, Fragments, Request, request_of
from sendoff.options import RATE_LIMIT, SINGLE_WORKERS, TIMEOUT, Retry, Tuning

__all__ = ["Freshpaint"]

ENDPOINT = "https://api.perfalytics.com/track"
IDENTIFY = "$identify"

MAX_EVENT_BYTES = 5_000_000
"""The vendor names no limit; the gateway in front of it refuses bodies above 10 MB."""

MAX_TOKEN = 256
"""Characters of a token; the vendor's have 36. As JSON none takes more than twice that, and two."""

HEAD = b'{"properties":{"token":'
WITHOUT_TOKEN = HEAD + b"null,"
"""
How a body begins whose token is put in at sending. A payload with a token of its own never begins
so: that must be a non-empty str.
"""
AFTER_TOKEN = len(WITHOUT_TOKEN)


OPENING = WITHOUT_TOKEN + b'"distinct_id":%b,"time":%.3f,"$insert_id":"%b"'
BODY = OPENING + b'%b%b%b,"event":%b}'
BODY_WITH_SESSION = OPENING + b',"session_id":%b%b%b,"event":%b}'
"""
How a body is put together: who, when, the id, the other ids or the session's, the properties, and
the event's name.
"""

TAKEN = frozenset(
    (
        "token",
        "distinct_id",
        "time",
        "$insert_id",
        "$device_id",
        "account_id",
        "session_id",
        "$ip",
        "$options",
    )
)
"""Names of the vendor's fields beside an event's properties."""


class Freshpaint(HttpDestination):
    """
    Freshpaint.

    Args:
        token: The environment's token, at most 256 characters; sent inside every body. For one
            that changes, a callable that returns it: asked before every attempt, in the loop, so it
            must return at once.
        endpoint: A full URL in place of the vendor's, for proxies and tests.
        name: The key in `to=` and in the statistics.
        rate_limit: Requests in any sliding second, retries included; None for no limit. Documented
            limit: 5,000 for everything that sends with the account.
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
        token: Credential,
        endpoint: str | None = None,
        # How it goes there.
        name: str = "freshpaint",
        rate_limit: int | None = RATE_LIMIT,
        workers: int = SINGLE_WORKERS,
        timeout: float = TIMEOUT,
        retry: Retry | None = None,
        ssl: SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        secret = Secret("token", token, longest=MAX_TOKEN)
        super().__init__(
            name=name,
            endpoint=ENDPOINT if endpoint is None else endpoint,
            secrets=(secret,),
            tuning=Tuning(
                rate_limit=rate_limit,
                # Room for the token, which is put in later.
                max_batch_bytes=MAX_EVENT_BYTES - 2 * MAX_TOKEN - 2,
                max_batch_events=1,
                flush_interval=0.0,
                workers=workers,
                timeout=timeout,
                retry=Retry() if retry is None else retry,
                ssl=ssl,
                proxy=proxy,
            ),
        )
        self._token = secret
        # All mutable state, changed in the loop: the last token, and how a body with it begins.
        self._opening = ("", b"")

    @classmethod
    def from_env(cls, **options: Any) -> Freshpaint:
        """
        A destination from ``FRESHPAINT_TOKEN`` and ``FRESHPAINT_ENDPOINT`` (optional), read now.

        Args:
            options: Constructor options; they win over the environment.

        Raises:
            OptionError: The variable is missing, or an option is wrong.
        """
        if "token" not in options:
            if not os.environ.get("FRESHPAINT_TOKEN"):
                raise OptionError("token is not given and FRESHPAINT_TOKEN is not set")
            options["token"] = os.environ["FRESHPAINT_TOKEN"]
        if os.environ.get("FRESHPAINT_ENDPOINT"):
            options.setdefault("endpoint", os.environ["FRESHPAINT_ENDPOINT"])
        return cls(**options)

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body's ``event`` is text, or it has ``properties`` and no other kind of event.
        """
        event = payload.get("event")
        return isinstance(event, str) or ("properties" in payload and event is None)

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        """
        The documented object, with the vendor's fields beside the caller's properties.

        Raises:
            EventRejected: The name is no text, no id says who did it, or a field has the wrong
                form.
        """
        name = IDENTIFY if event.identify else event_name(event.name)
        device_id = text_id("device_id", event.device_id)
        distinct_id = text_id("user_id", event.user_id) or device_id
        if distinct_id is None:
            raise EventRejected("missing_identity", "one of user_id, device_id is required")
        fields: dict[Any, Any] = {
            "token": None,  # the first, as in `WITHOUT_TOKEN`
            "distinct_id": distinct_id,
            "time": round(epoch_seconds(event.time), 3),
            "$insert_id": event.id,
        }
        if device_id is not None:
            fields["$device_id"] = device_id
        if (account_id := text_id("account_id", event.account_id)) is not None:
            fields["account_id"] = account_id
        if (session_id := text_id("session_id", event.session_id)) is not None:
            fields["session_id"] = session_id
        if event.ip is not None:
            fields["$ip"] = _ip(event.ip)
        if event.integrations is not None:
            fields["$options"] = {"integrations": _integrations(event.integrations)}
        properties = object_of("properties", event.properties)
        if event.identify:
            fields["$user_props"] = properties
        elif fields.keys().isdisjoint(properties):
            fields.update(properties)
        else:
            fields.update(without(frozenset(fields), properties))
        return dumps({"properties": fields, "event": name})

    @property
    def taken(self) -> frozenset[str]:
        """
        The vendor's names, with which `assemble` does not work.
        """
        return TAKEN

    def assemble(self, fragments: Fragments, time: float, event_id: str) -> bytes | None:
        """
        What `encode` gives, from parts that are JSON already; None if that has to see to it.
        """
        name, user, account, session, device, ip, separator, rest = fragments
        if user is None:
            user = device
            if user is None:
                return None
        if account is None and device is None and ip is None and session is not None:
            # The most frequent without a detour, and in one step: a `join` would need the time and
            # the id as bytes before, which takes a third more.
            return BODY_WITH_SESSION % (
                user,
                time,
                event_id.encode(),
                session,
                separator,
                rest,
                name,
            )
        more = b"".join(
            b',"%b":%b' % (field, value)
            for field, value in (
                (b"$device_id", device),
                (b"account_id", account),
                (b"session_id", session),
                (b"$ip", ip),
            )
            if value is not None
        )
        return BODY % (user, time, event_id.encode(), more, separator, rest, name)

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A body as the reference prints it, checked and sent as it is; missing token (or None), time
        and id are filled in.

        Raises:
            EventRejected: A required field is missing or of the wrong form.
        """
        event_name(payload.get("event"))
        if payload.get("properties") is None:
            raise EventRejected("invalid_properties", "properties must be an object")
        properties = object_of("properties", payload["properties"])
        payload = {**payload, "properties": properties}  # the one that is checked is the one sent
        distinct_id = properties.get("distinct_id")
        if not isinstance(distinct_id, str) or not distinct_id:
            raise EventRejected("missing_identity", "distinct_id must be a non-empty str")
        token = properties.get("token")
        if token is not None and (not isinstance(token, str) or not token):
            raise EventRejected("invalid_token", "token must be a non-empty str")
        if token is None or "time" not in properties or "$insert_id" not in properties:
            # In the order of `WITHOUT_TOKEN`; a key keeps its first place and its last value.
            filled = {"token": None, "time": round(time, 3), "$insert_id": event_id}
            properties = {**filled, **properties}
            payload = {"properties": None, **payload} | {"properties": properties}
        stamp = properties["time"]
        if isinstance(stamp, bool) or not isinstance(stamp, int | float):
            raise EventRejected("invalid_time", "time must be a number of epoch seconds")
        epoch_seconds(stamp)
        insert_id = properties["$insert_id"]
        return dumps(payload), insert_id_of(insert_id, field="$insert_id")

    def authorized(self, request: Request) -> Request:
        """
        The request with the token of this moment; a body with a token of its own stays as it is.

        Raises:
            TransportError: No token is to be had; nothing is to be sent.
        """
        body = request.body
        if not body.startswith(WITHOUT_TOKEN):
            return request
        token = self._token.now()
        known, opening = self._opening
        if token != known:
            opening = HEAD + json.dumps(token).encode() + b","
            self._opening = (token, opening)
        body = opening + body[AFTER_TOKEN:]
        if type(request) is not Request:
            return replace(request, body=body)  # what else it carries is somebody's who needs it
        # A quarter of what `replace` costs, for every event.
        return request_of(request.url, request.headers, body, request.ssl, request.proxy)


def _ip(value: object) -> str:
    text = str(value) if isinstance(value, IPv4Address | IPv6Address) else value
    if not isinstance(text, str) or not text:
        raise EventRejected("invalid_ip", f"ip must be a non-empty str, not {type(value).__name__}")
    return text


def _integrations(value: object) -> dict[str, bool]:
    tools = object_of("integrations", value)
    if not all(isinstance(tool, str) and isinstance(on, bool) for tool, on in tools.items()):
        raise EventRejected("invalid_integrations", "integrations must map tools' names to bool")
    return dict(tools)
