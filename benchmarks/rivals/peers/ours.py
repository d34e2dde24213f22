"""
sendoff itself, with each of its two vendors alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS, datadog, dispatcher, freshpaint
from benchmarks.rivals.peers import Peer, order_ids


class Sendoff(Peer):
    """
    A dispatcher in the caller's event loop.
    """

    packages = ("sendoff", "aiohttp", "orjson")
    setting = "queue of 10,000,000"
    in_loop = True
    # All that is spoken of: a batch of 5 MB under way would weigh five times as much in a fifth.
    held = 100_000

    def _start(self, destination: Any) -> None:
        self._dispatcher = dispatcher(destination, transport=None)
        self._track = self._dispatcher.track

    async def aopen(self) -> None:
        """
        Opens it in this loop.
        """
        await self._dispatcher.start()

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `track`.
        """
        return self._track(
            EVENT,
            user_id=KEYWORDS["user_id"],
            session_id=KEYWORDS["session_id"],
            properties=properties,
        )

    def accepted(self, result: object) -> bool:
        """
        A call that took nothing returns None.
        """
        return result is not None

    async def aflush(self) -> None:
        """
        Everything given so far has its fate.
        """
        await self._dispatcher.flush()

    async def aclose(self) -> None:
        """
        Closes it.
        """
        await self._dispatcher.aclose()


class SendoffDatadog(Sendoff):
    """
    In batches.
    """

    title = "sendoff, Datadog in batches"
    events = 100_000

    def open(self, url: str) -> None:
        """
        As its users do, with room for all.
        """
        self._start(datadog(endpoint=f"{url}/api/v2/prodlytics"))

    def ids(self, body: bytes) -> Iterator[str]:
        """
        One object, or an array of them.
        """
        decoded = json.loads(body)
        return order_ids(decoded if isinstance(decoded, list) else [decoded])


class SendoffFreshpaint(Sendoff):
    """
    One request for each event, at most 5,000 in a second.
    """

    title = "sendoff, Freshpaint one by one"

    def open(self, url: str) -> None:
        """
        As its users do, with room for all.
        """
        self._start(freshpaint(endpoint=f"{url}/track"))

    def ids(self, body: bytes) -> Iterator[str]:
        """
        Always one object.
        """
        return order_ids([json.loads(body)], "properties")
