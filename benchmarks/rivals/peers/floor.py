"""
What a call is measured against: `orjson.dumps` of the load's body, its result dropped.
"""

from __future__ import annotations

from typing import Any

from benchmarks.load import datadog_body
from benchmarks.rivals.peers import Peer


class Dumps(Peer):
    """
    Encodes and sends nothing.
    """

    packages = ("orjson",)
    title = "`orjson.dumps`"
    events = 0
    held = 0

    def open(self, url: str) -> None:
        """
        Makes the body; the receiver is not needed.
        """
        from orjson import dumps

        self._body = datadog_body()
        self._dumps = dumps

    def call(self, properties: dict[str, Any]) -> object:
        """
        Encodes one body.
        """
        self._dumps(self._body)
        return None

    def flush(self) -> None:
        """
        Nothing is held.
        """
