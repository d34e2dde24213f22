"""
OpenTelemetry: a log record with an event's name, which is how it has events, over OTLP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.load import EVENT, KEYWORDS
from benchmarks.rivals.peers import Peer


class OpenTelemetry(Peer):
    """
    The SDK with its batch processor and the exporter for protobuf over HTTP.
    """

    packages = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "requests")
    title = "OpenTelemetry, log events"
    setting = "queue of 1,000,000 (default 2,048); batches of 512 and no gzip, as by default"

    def open(self, url: str) -> None:
        """
        As its documentation has it, with room for all.
        """
        from opentelemetry._logs import SeverityNumber
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.resources import Resource

        self._provider: Any = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(
                OTLPLogExporter(endpoint=f"{url}/v1/logs"), max_queue_size=1_000_000
            )
        )
        self._level = SeverityNumber.INFO
        self._logger: Any = self._provider.get_logger("benchmark")

    def call(self, properties: dict[str, Any]) -> object:
        """
        One record.
        """
        return self._logger.emit(
            timestamp=time.time_ns(),
            severity_number=self._level,
            event_name=EVENT,
            attributes={
                "user.id": KEYWORDS["user_id"],
                "session.id": KEYWORDS["session_id"],
                **properties,
            },
        )

    def flush(self) -> None:
        """
        Exports what is left.
        """
        self._provider.force_flush()

    def close(self) -> None:
        """
        Ends its thread.
        """
        self._provider.shutdown()

    def ids(self, body: bytes) -> Iterator[str]:
        """
        A message of records.
        """
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    found = {one.key: one.value.string_value for one in record.attributes}
                    yield found["order_id"]
