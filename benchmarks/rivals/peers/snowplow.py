"""
Snowplow: a buffer and a thread that sends.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer

SCHEMA = "iglu:com.example/checkout_completed/jsonschema/1-0-0"


class Snowplow(Peer):
    """
    Its emitter with a thread, with self-describing events.
    """

    packages = ("snowplow-tracker", "requests")
    title = "Snowplow, `AsyncEmitter`"
    setting = "buffer of 1,000,000 (default 10,000); batches of 100 (default 10); one session"

    def open(self, url: str) -> None:
        """
        With batches, and a session that keeps its connection.
        """
        import logging

        import requests
        from snowplow_tracker import AsyncEmitter, SelfDescribing, SelfDescribingJson, Tracker

        # It logs two lines for each request, to stderr unless told otherwise.
        logging.getLogger("snowplow_tracker").setLevel(logging.WARNING)
        logging.getLogger("snowplow_tracker.emitters").setLevel(logging.WARNING)
        self._emitter: Any = AsyncEmitter(
            url, batch_size=100, buffer_capacity=1_000_000, session=requests.Session()
        )
        self._event: Any = SelfDescribing
        self._json: Any = SelfDescribingJson
        self._tracker: Any = Tracker("benchmark", self._emitter, app_id="shop")

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `track`.
        """
        data = {
            "name": EVENT,
            "user_id": KEYWORDS["user_id"],
            "session_id": KEYWORDS["session_id"],
            **properties,
        }
        return self._tracker.track(self._event(self._json(SCHEMA, data)))

    def accepted(self, result: object) -> bool:
        """
        It returns the event's id.
        """
        return result is not None

    def flush(self) -> None:
        """
        Its blocking flush.
        """
        self._emitter.sync_flush()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        A batch, in which every event is JSON in base 64.
        """
        for one in json.loads(body)["data"]:
            inner = json.loads(base64.urlsafe_b64decode(one["ue_px"]))
            yield inner["data"]["data"]["order_id"]
