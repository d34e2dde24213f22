"""
One adapter for each contestant: how it is set up, called, and read at the receiver.

An adapter's file can be imported without its package: the packages are imported in `open` and
`ids`, because the receiver and the measuring process read adapters too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["NAMES", "PEERS", "Peer", "order_ids", "peer_of"]


class Peer:
    """
    A contestant; what most of them share.

    Attributes:
        packages: Distributions whose versions are recorded; the first one is the peer.
        title: How a reader knows it.
        setting: What was set beside the address and the key, and why; for the reader.
        in_loop: Whether it is called inside a running event loop.
        calls: Calls whose times are taken.
        events: Events of one run from end to end.
        held: Events of the run in which nothing is answered; 0 where the call itself waits for the
            answer, so that nothing is queued.
    """

    packages: tuple[str, ...]
    title: str
    setting: str = ""
    in_loop: bool = False
    calls: int = 3_000
    events: int = 10_000
    held: int = 20_000

    def open(self, url: str) -> None:
        """
        Sets it up to send to a receiver.

        Args:
            url: ``http://127.0.0.1:port``.
        """
        raise NotImplementedError

    async def aopen(self) -> None:
        """
        What has to be done in the loop before the first call.
        """

    def call(self, properties: dict[str, Any]) -> object:
        """
        Gives it one event.
        """
        raise NotImplementedError

    def accepted(self, result: object) -> bool:
        """
        Whether a call's result says that the event was taken.
        """
        return True

    def flush(self) -> None:
        """
        Waits until all is sent, as its documentation says to.
        """
        raise NotImplementedError

    async def aflush(self) -> None:
        """
        As `flush`, in the loop.
        """
        self.flush()

    def close(self) -> None:
        """
        Ends it, as its documentation says to.
        """

    async def aclose(self) -> None:
        """
        As `close`, in the loop.
        """
        self.close()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        The order ids of the events in one body: one for each event.
        """
        raise NotImplementedError

    def versions(self) -> dict[str, str] | None:
        """
        The versions of its packages; None if one is not installed.
        """
        try:
            return {name: version(name) for name in self.packages}
        except PackageNotFoundError:
            return None


PEERS: Mapping[str, str] = {
    "dumps": "floor:Dumps",
    "sendoff_datadog": "ours:SendoffDatadog",
    "sendoff_freshpaint": "ours:SendoffFreshpaint",
    "posthog": "posthog:PostHog",
    "posthog_async": "posthog:PostHogAsync",
    "segment": "segment:Segment",
    "rudderstack": "segment:RudderStack",
    "mixpanel": "mixpanel:MixpanelBuffered",
    "mixpanel_sync": "mixpanel:MixpanelSync",
    "amplitude": "amplitude:Amplitude",
    "snowplow": "snowplow:Snowplow",
    "sentry_logs": "sentry:SentryLogs",
    "sentry_events": "sentry:SentryEvents",
    "opentelemetry": "opentelemetry:OpenTelemetry",
    "datadog_client": "datadog:DatadogEvents",
    "datadog_client_logs": "datadog:DatadogLogs",
}
"""Where each contestant's adapter is, by its name in the figures."""

NAMES = tuple(PEERS)


def peer_of(name: str) -> Peer:
    """
    A contestant by its name.
    """
    module, _, kind = PEERS[name].partition(":")
    peer = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    assert isinstance(peer, Peer)
    return peer


def order_ids(objects: list[dict[str, Any]], *path: str) -> Iterator[str]:
    """
    The order id of each object, at the same place in all.
    """
    for one in objects:
        inner = one
        for key in path:
            inner = inner[key]
        yield str(inner["order_id"])
