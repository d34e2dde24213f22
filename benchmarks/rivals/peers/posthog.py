"""
PostHog's two clients: one with a thread, one with asyncio tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer, order_ids

QUEUE = 1_000_000


class PostHog(Peer):
    """
    The client with a thread.
    """

    packages = ("posthog", "requests")
    title = "PostHog"
    setting = "queue of 1,000,000 (default 10,000); batches of 100 and no gzip, as by default"

    def open(self, url: str) -> None:
        """
        As its documentation has it, with room for all.
        """
        from posthog import Posthog

        self._client: Any = Posthog("key", host=url, max_queue_size=QUEUE)

    def call(self, properties: dict[str, Any]) -> object:
        """
        One `capture`.
        """
        return self._client.capture(
            EVENT,
            distinct_id=KEYWORDS["user_id"],
            properties={"$session_id": KEYWORDS["session_id"], **properties},
        )

    def accepted(self, result: object) -> bool:
        """
        A call that took nothing returns None.
        """
        return result is not None

    def flush(self) -> None:
        """
        Without its default bound of ten seconds.
        """
        self._client.flush(timeout_seconds=None)

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


class PostHogAsync(PostHog):
    """
    The client with tasks.
    """

    packages = ("posthog", "httpx")
    title = "PostHog, asyncio client"
    in_loop = True

    def open(self, url: str) -> None:
        """
        Notes where to; it is made in the loop.
        """
        self._url = url

    async def aopen(self) -> None:
        """
        As its documentation has it, with room for all.
        """
        from posthog.async_client import AsyncClient

        self._client = AsyncClient("key", host=self._url, max_queue_size=QUEUE)

    async def aflush(self) -> None:
        """
        Without its default bound of ten seconds.
        """
        await self._client.flush(timeout_seconds=None)

    async def aclose(self) -> None:
        """
        Ends its tasks.
        """
        await self._client.shutdown()
