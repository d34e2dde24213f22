"""
Sentry, which has no product events: its logs come closest, its events are what most know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer


def items(body: bytes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """
    An envelope's items: a line of JSON, then as many bytes as it says; of other kinds than JSON
    there is none here.
    """
    at = body.index(b"\n") + 1
    while at < len(body):
        end = body.index(b"\n", at)
        head = json.loads(body[at:end])
        stop = end + 1 + head["length"]
        yield head, json.loads(body[end + 1 : stop])
        at = stop + 1


class SentryLogs(Peer):
    """
    Its logs.
    """

    packages = ("sentry-sdk", "urllib3")
    title = "Sentry, logs"
    setting = (
        "transport queue of 20,000 (default 100); 100 logs in an envelope, 1,000 held at most: "
        "neither can be set"
    )

    def open(self, url: str) -> None:
        """
        As its documentation has it, with room for all where there is a setting for it.
        """
        import sentry_sdk

        dsn = url.replace("http://", "http://key@") + "/1"
        sentry_sdk.init(dsn=dsn, enable_logs=True, transport_queue_size=20_000)
        self._sentry: Any = sentry_sdk

    def call(self, properties: dict[str, Any]) -> object:
        """
        One log, of which the properties are attributes.
        """
        return self._sentry.logger.info(
            EVENT,
            attributes={
                "user.id": KEYWORDS["user_id"],
                "session.id": KEYWORDS["session_id"],
                **properties,
            },
        )

    def flush(self) -> None:
        """
        With time enough.
        """
        self._sentry.flush(timeout=120)

    def close(self) -> None:
        """
        Closes the client.
        """
        self._sentry.get_client().close(timeout=120)

    def ids(self, body: bytes) -> Iterator[str]:
        """
        An envelope with lists of logs; reports of the client's own are left out.
        """
        for head, payload in items(body):
            if head["type"] == "log":
                for one in payload["items"]:
                    yield one["attributes"]["order_id"]["value"]


class SentryEvents(SentryLogs):
    """
    Its events.
    """

    title = "Sentry, events"
    setting = (
        "transport queue of 20,000 (default 100); one event in a request, which is its only form"
    )
    calls = 1_000
    events = 2_000
    held = 2_000

    def call(self, properties: dict[str, Any]) -> object:
        """
        One message, with the properties as extras.
        """
        return self._sentry.capture_event(
            {
                "message": EVENT,
                "level": "info",
                "user": {"id": KEYWORDS["user_id"]},
                "tags": {"session": KEYWORDS["session_id"]},
                "extra": properties,
            }
        )

    def accepted(self, result: object) -> bool:
        """
        It returns the event's id.
        """
        return result is not None

    def ids(self, body: bytes) -> Iterator[str]:
        """
        An envelope with one event.
        """
        for head, payload in items(body):
            if head["type"] == "event":
                yield payload["extra"]["order_id"]
