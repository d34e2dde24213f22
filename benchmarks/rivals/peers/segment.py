"""
Segment, and RudderStack, whose client began as a copy of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer, order_ids

QUEUE = 1_000_000


class Segment(Peer):
    """
    A queue and a thread.
    """

    packages = ("segment-analytics-python", "requests")
    title = "Segment"
    setting = "queue of 1,000,000 (default 10,000); batches of 100 and no gzip, as by default"

    def open(self, url: str) -> None:
        """
        As its documentation has it, with room for all.
        """
        from segment.analytics.client import Client

        self._client: Any = Client("key", host=url, max_queue_size=QUEUE)

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `track`.
        """
        return self._client.track(
            user_id=KEYWORDS["user_id"],
            event=EVENT,
            properties=properties,
            context={"sessionId": KEYWORDS["session_id"]},
        )

    def accepted(self, result: object) -> bool:
        """
        Whether it was taken, and the message.
        """
        assert isinstance(result, tuple)
        return bool(result[0])

    def flush(self) -> None:
        """
        Waits for its queue.
        """
        self._client.flush()

    def close(self) -> None:
        """
        Joins its thread.
        """
        self._client.shutdown()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        A batch.
        """
        return order_ids(json.loads(body)["batch"], "properties")


class RudderStack(Segment):
    """
    The same with gzip.
    """

    packages = ("rudder-sdk-python", "requests")
    title = "RudderStack"
    setting = "queue of 1,000,000 (default 10,000); batches of 100 with gzip, as by default"

    def open(self, url: str) -> None:
        """
        As its documentation has it, with room for all.
        """
        from rudderstack.analytics.client import Client

        self._client = Client("key", host=url, max_queue_size=QUEUE)
