"""
Amplitude: a buffer, a thread, and a pool of sixteen that send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer, order_ids


class Amplitude(Peer):
    """
    Its client with the buffer in memory.
    """

    packages = ("amplitude-analytics",)
    title = "Amplitude"
    setting = "batches of 200, as by default; its buffer has no bound"

    def open(self, url: str) -> None:
        """
        As its documentation has it.
        """
        from amplitude import Amplitude as Client
        from amplitude import BaseEvent, Config

        self._event = BaseEvent
        self._client: Any = Client("key", Config(server_url=f"{url}/2/httpapi"))

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `track`.
        """
        return self._client.track(
            self._event(
                EVENT,
                user_id=KEYWORDS["user_id"],
                event_properties={"session_id": KEYWORDS["session_id"], **properties},
            )
        )

    def flush(self) -> None:
        """
        Waits for what it returns.
        """
        for future in self._client.flush():
            if future is not None:
                future.result()

    def close(self) -> None:
        """
        Ends its pool.
        """
        self._client.shutdown()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        A batch.
        """
        return order_ids(json.loads(body)["events"], "event_properties")
