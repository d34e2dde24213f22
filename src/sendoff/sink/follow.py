"""
The events of a running sink, read over HTTP as they come: what `sendoff tail` shows.

Blocks; whoever calls decides how often. Always holds: an event is given once, in the order in which
its vendor accepted it, and what the sink has forgotten meanwhile is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sendoff.sink.checks import Vendor

_TIMEOUT = 10.0


class SinkGoneError(Exception):
    """
    There is no sink at the URL, or no longer.
    """


@dataclass(frozen=True, slots=True)
class Seen:
    """
    An event that a vendor has accepted.

    Args:
        vendor: which.
        body: the event as it was sent.
    """

    vendor: str
    body: dict[str, Any]

    @property
    def name(self) -> str:
        """
        The event's name.
        """
        event = self.body.get("event")
        found = event.get("name") if isinstance(event, dict) else event
        return found if isinstance(found, str) else ""

    @property
    def user(self) -> str:
        """
        Who did it; empty if the event does not say.
        """
        holder = self.body.get("usr" if self.vendor == "datadog" else "properties")
        key = "id" if self.vendor == "datadog" else "distinct_id"
        found = holder.get(key) if isinstance(holder, dict) else None
        return found if isinstance(found, str) else ""


class Follower:
    """
    Reads on where it was.

    Args:
        url: where the sink listens, such as `http://127.0.0.1:8321`.
        vendors: whose events are wanted.

    Raises:
        ValueError: the URL is no http URL.
    """

    def __init__(self, url: str, vendors: tuple[Vendor, ...] = ("datadog", "freshpaint")) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("the sink's URL is one such as http://127.0.0.1:8321")
        self._address = (parts.hostname, parts.port or 80)
        # All mutable state: a cursor for each vendor; events that the sink had forgotten.
        self._cursors: dict[str, int] = dict.fromkeys(vendors, 0)
        self.missed: int = 0

    def read(self) -> Iterator[Seen]:
        """
        The events since the last call.

        Raises:
            SinkGoneError: it does not answer as a sink does.
        """
        for vendor, cursor in self._cursors.items():
            answer = self._get(f"/_sink/events?vendor={vendor}&after={cursor}")
            try:
                self._cursors[vendor] = answer["next"]
                self.missed += answer["missed"]
                events = answer["events"]
            except (TypeError, KeyError) as exc:
                raise SinkGoneError("what answers there is no sink, or an older one") from exc
            for body in events:
                yield Seen(vendor, body)

    def _get(self, path: str) -> Any:
        connection = HTTPConnection(*self._address, timeout=_TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise SinkGoneError(f"what answers there is no sink: {answer.status}")
            return json.loads(data)
        except (OSError, HTTPException, ValueError) as exc:
            host, port = self._address
            why = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
            raise SinkGoneError(f"there is no sink at {host}:{port}: {why}") from exc
        finally:
            connection.close()
