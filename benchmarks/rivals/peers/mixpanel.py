"""
Mixpanel's two consumers. Both send in the caller's thread: one always, one with every 50th call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer, order_ids


class MixpanelBuffered(Peer):
    """
    Fifty events in a request.
    """

    packages = ("mixpanel", "requests")
    title = "Mixpanel, buffered consumer"
    setting = "50 events in a request, its highest"
    held = 0

    def open(self, url: str) -> None:
        """
        As its documentation has it.
        """
        from mixpanel import BufferedConsumer, Mixpanel

        self._consumer: Any = BufferedConsumer(events_url=f"{url}/track")
        self._client: Any = Mixpanel("token", consumer=self._consumer)

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `track`.
        """
        return self._client.track(
            KEYWORDS["user_id"], EVENT, {"session_id": KEYWORDS["session_id"], **properties}
        )

    def flush(self) -> None:
        """
        Sends what is left.
        """
        self._consumer.flush()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        A form with JSON in it: one object, or an array of them.
        """
        decoded = json.loads(parse_qs(body.decode())["data"][0])
        return order_ids(decoded if isinstance(decoded, list) else [decoded], "properties")


class MixpanelSync(MixpanelBuffered):
    """
    One event in a request, its default.
    """

    title = "Mixpanel, default consumer"
    setting = "one request for each call, which waits for the answer"
    calls = 1_000
    events = 2_000

    def open(self, url: str) -> None:
        """
        As its documentation has it.
        """
        from mixpanel import Consumer, Mixpanel

        self._client = Mixpanel("token", consumer=Consumer(events_url=f"{url}/track"))

    def flush(self) -> None:
        """
        Nothing is ever left.
        """
