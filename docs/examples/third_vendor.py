"""
A destination for a third vendor: Segment's HTTP tracking API, which RudderStack and others speak
too. `docs/how-to/write-a-destination.md` explains it; tests run it against a server on loopback.

What it rests on: `POST /v1/batch` with `{"batch":[…]}`, also for one event; the write key as the
user's name of HTTP's basic authentication; at most 32 KB an event and 500 KB a request; equal
`messageId`s are one event; gzip is taken.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sendoff import Event, EventRejected, Framing, HttpDestination, Request, Tuning
from sendoff.destinations.checks import epoch_seconds, event_name, object_of, text_id

MAX_EVENT_BYTES = 32_000
MAX_BATCH_BYTES = 475_000  # of 500 KB; their own client leaves the rest free, too
KINDS = ("track", "identify", "page", "screen", "group", "alias")
BATCH = Framing(opening=b'{"batch":[', separator=b",", closing=b"]}")


class Segment(HttpDestination):
    """
    Segment, or whatever takes its `/v1/batch`.

    Args:
        write_key: The source's key.
        endpoint: The whole URL.
        tuning: Any option of `Tuning`; it wins over what stands here.
    """

    def __init__(
        self,
        *,
        write_key: str,
        endpoint: str = "https://api.segment.io/v1/batch",
        **tuning: Any,
    ) -> None:
        credentials = base64.b64encode(f"{write_key}:".encode()).decode()
        super().__init__(
            name="segment",
            endpoint=endpoint,
            headers={"Authorization": f"Basic {credentials}"},
            secrets=(write_key, credentials),  # no log line shows them, should an answer do so
            framing=BATCH,
            tuning=Tuning(
                **{"max_batch_bytes": MAX_BATCH_BYTES, "compression": "gzip", "rate_limit": 500}
                | tuning
            ),
        )

    def encode(self, event: Event, dumps: Any) -> bytes:
        """
        One object of the batch. Runs at the call, in the caller's thread.
        """
        user_id = text_id("user_id", event.user_id)
        device_id = text_id("device_id", event.device_id)
        if user_id is None and device_id is None:
            raise EventRejected("missing_identity", "one of user_id, device_id is required")
        common = {
            "messageId": event.id,
            "timestamp": datetime.fromtimestamp(epoch_seconds(event.time), UTC).isoformat(),
            "userId": user_id,
            "anonymousId": device_id,
        }
        properties = object_of("properties", event.properties)
        if event.identify:
            own: dict[str, Any] = {"type": "identify", "traits": properties}
        else:
            own = {"type": "track", "event": event_name(event.name), "properties": properties}
            context = {
                "ip": event.ip,
                "groupId": text_id("account_id", event.account_id),
                "sessionId": text_id("session_id", event.session_id),
            }
            own["context"] = {name: value for name, value in context.items() if value is not None}
        if event.integrations is not None:
            own["integrations"] = object_of("integrations", event.integrations)
        body = dumps(own | {name: value for name, value in common.items() if value is not None})
        return self._checked(body)

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body given to `enqueue` is in this form: neither Datadog's nor Freshpaint's is.
        """
        return payload.get("type") in KINDS

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Any
    ) -> tuple[bytes, str]:
        """
        A body given to `enqueue`, as it is; what is missing of id and time is filled in.
        """
        if payload.get("type") not in KINDS:
            raise EventRejected("invalid_type", f"type must be one of {', '.join(KINDS)}")
        text_id("user_id", payload.get("userId"))
        stamp = datetime.fromtimestamp(time, UTC).isoformat()
        whole = {"messageId": event_id, "timestamp": stamp, **payload}
        return self._checked(dumps(whole)), str(whole["messageId"])

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        One request. A single event goes in the frame as well, because there is no other form here.
        """
        made = super().request(bodies)
        if len(bodies) > 1:
            return made
        return replace(made, body=BATCH.opening + made.body + BATCH.closing)

    def _checked(self, body: bytes) -> bytes:
        if len(body) > MAX_EVENT_BYTES:
            raise EventRejected("too_large", f"an event has at most {MAX_EVENT_BYTES:,} bytes")
        return body
