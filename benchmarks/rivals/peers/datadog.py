"""
Datadog's own client: the Product Analytics call, and logs in batches that the caller makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer, order_ids

LOGS = 1_000
"""Logs in a request, the most that the intake takes."""


class DatadogEvents(Peer):
    """
    One Product Analytics event in a request, through its client with a pool of threads.
    """

    packages = ("datadog-api-client", "urllib3")
    title = "Datadog's client, Product Analytics"
    setting = "its client with a pool of one thread, as by default; one event in a request"
    calls = 1_000
    events = 2_000
    held = 2_000

    def open(self, url: str) -> None:
        """
        The call that sendoff stands in for.
        """
        from datadog_api_client import Configuration, ThreadedApiClient
        from datadog_api_client.v2.api.product_analytics_api import ProductAnalyticsApi
        from datadog_api_client.v2.model import product_analytics_server_side_event_item as item
        from datadog_api_client.v2.model import (
            product_analytics_server_side_event_item_application as application,
        )
        from datadog_api_client.v2.model import (
            product_analytics_server_side_event_item_event as event,
        )
        from datadog_api_client.v2.model import (
            product_analytics_server_side_event_item_session as session,
        )
        from datadog_api_client.v2.model import (
            product_analytics_server_side_event_item_type as kind,
        )
        from datadog_api_client.v2.model import (
            product_analytics_server_side_event_item_usr as usr,
        )

        prefix = "ProductAnalyticsServerSideEventItem"
        self._item = getattr(item, prefix)
        self._event = getattr(event, f"{prefix}Event")
        self._usr = getattr(usr, f"{prefix}Usr")
        self._session = getattr(session, f"{prefix}Session")
        self._application = getattr(application, f"{prefix}Application")(id="0f4c7f6e")
        self._kind = getattr(kind, f"{prefix}Type").SERVER
        configuration = _configuration(Configuration, url)
        self._client: Any = ThreadedApiClient(configuration)
        api: Any = ProductAnalyticsApi(self._client)
        # The call has servers of its own, which a host in the configuration does not replace.
        api._submit_product_analytics_event_endpoint.settings["servers"] = None
        self._submit = api.submit_product_analytics_event
        # All mutable state: what has not been waited for.
        self._results: list[Any] = []

    def call(self, properties: dict[str, Any]) -> object:
        """
        One event, sent by the pool.
        """
        result = self._submit(
            self._item(
                application=self._application,
                event=self._event(name=EVENT),
                type=self._kind,
                usr=self._usr(id=KEYWORDS["user_id"]),
                session=self._session(id=KEYWORDS["session_id"]),
                **properties,
            )
        )
        self._results.append(result)
        return result

    def flush(self) -> None:
        """
        Waits for every result.
        """
        for result in self._results:
            result.get()
        self._results.clear()

    def close(self) -> None:
        """
        Ends its pool.
        """
        self._client.close()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        Always one object.
        """
        return order_ids([json.loads(body)])


class DatadogLogs(Peer):
    """
    Logs, a thousand in a request, collected by the caller and sent in the caller's thread.
    """

    packages = ("datadog-api-client", "urllib3")
    title = "Datadog's client, logs in batches by hand"
    setting = "1,000 logs in a request, gathered by the caller, who waits for the answer"
    held = 0

    def open(self, url: str) -> None:
        """
        Its client without threads.
        """
        from datadog_api_client import ApiClient, Configuration
        from datadog_api_client.v2.api.logs_api import LogsApi
        from datadog_api_client.v2.model.http_log import HTTPLog
        from datadog_api_client.v2.model.http_log_item import HTTPLogItem

        self._client: Any = ApiClient(_configuration(Configuration, url))
        api: Any = LogsApi(self._client)
        api._submit_log_endpoint.settings["servers"] = None
        self._submit = api.submit_log
        self._log: Any = HTTPLog
        self._item: Any = HTTPLogItem
        # All mutable state: what goes with the next request.
        self._batch: list[Any] = []

    def call(self, properties: dict[str, Any]) -> object:
        """
        One log; the last one of a batch sends it.
        """
        self._batch.append(
            self._item(
                message=EVENT,
                usr={"id": KEYWORDS["user_id"]},
                session={"id": KEYWORDS["session_id"]},
                **properties,
            )
        )
        if len(self._batch) >= LOGS:
            self.flush()
        return None

    def flush(self) -> None:
        """
        Sends what is left.
        """
        if self._batch:
            self._submit(self._log(self._batch))
            self._batch = []

    def close(self) -> None:
        """
        Closes its client.
        """
        self._client.close()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        An array.
        """
        return order_ids(json.loads(body))


def _configuration(kind: Any, url: str) -> Any:
    configuration = kind(host=url)
    configuration.api_key["apiKeyAuth"] = "key"
    return configuration
