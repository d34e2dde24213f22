"""
The table of all metrics: names, kinds, units, labels, and where in `Stats` each value comes from.

Always holds: Prometheus and OpenTelemetry show the same figures; what `Stats` knows in numbers is
in `METRICS` or, with the reason, in `LEFT_OUT`. A name stays what it is. OpenTelemetry's are formed
after those by which its own SDK speaks of itself, ``otel.sdk.processor.*`` and
``otel.sdk.exporter.*``.
"""

from __future__ import annotations

from typing import Final

from sendoff.metrics.metric import Kind, Metric, fates, fault, mapping, simple, states

__all__ = ["LEFT_OUT", "METRICS"]

METRICS: Final = (
    # Events and their fates.
    simple(
        "sendoff_events_submitted",
        "sendoff.event.submitted",
        Kind.COUNTER,
        "{event}",
        "submitted",
        "Events that calls meant for this destination, and those taken over from dead processes.",
    ),
    Metric(
        name="sendoff_events",
        otel="sendoff.processor.event.processed",
        kind=Kind.COUNTER,
        unit="{event}",
        labels=("outcome", "reason"),
        meaning="Events that have their fate: delivered, rejected, dropped or dead_lettered; with"
        " the reason, if they were rejected or dropped.",
        fields=("delivered", "rejections", "rejected", "dropped", "dead_lettered"),
        read=fates,
    ),
    simple(
        "sendoff_events_pending",
        "sendoff.event.pending",
        Kind.SUM,
        "{event}",
        "pending",
        "Events without a fate, those on disk included.",
    ),
    simple(
        "sendoff_events_pending_bytes",
        "sendoff.event.pending_size",
        Kind.SUM,
        "By",
        "pending_bytes",
        "Bytes of these.",
    ),
    simple(
        "sendoff_events_in_flight",
        "sendoff.exporter.event.inflight",
        Kind.SUM,
        "{event}",
        "in_flight",
        "Pending events that a worker has in hand.",
    ),
    simple(
        "sendoff_oldest_event_age_seconds",
        "sendoff.event.oldest_age",
        Kind.GAUGE,
        "s",
        "oldest_age",
        "How long the oldest pending event has been there, at least; as exact as it is asked"
        " often.",
        merged="max",
    ),
    simple(
        "sendoff_marked_fields",
        "sendoff.event.marked_fields",
        Kind.COUNTER,
        "{field}",
        "marked_fields",
        "Fields that had no JSON form and were replaced by a marker.",
    ),
    # The queue and its bounds.
    simple(
        "sendoff_queue_events",
        "sendoff.processor.event.queue.size",
        Kind.SUM,
        "{event}",
        "queue_events",
        "Events in memory, queued and in flight.",
    ),
    simple(
        "sendoff_queue_events_limit",
        "sendoff.processor.event.queue.capacity",
        Kind.SUM,
        "{event}",
        "max_queue_events",
        "The bound of sendoff_queue_events.",
    ),
    simple(
        "sendoff_queue_bytes",
        "sendoff.processor.event.queue.memory_size",
        Kind.SUM,
        "By",
        "queue_bytes",
        "Bytes of the events in memory.",
    ),
    simple(
        "sendoff_queue_bytes_limit",
        "sendoff.processor.event.queue.memory_capacity",
        Kind.SUM,
        "By",
        "max_queue_bytes",
        "The bound of sendoff_queue_bytes.",
    ),
    # Requests.
    simple(
        "sendoff_requests",
        "sendoff.exporter.request.sent",
        Kind.COUNTER,
        "{request}",
        "requests",
        "Requests given to the transport, retries included.",
    ),
    simple(
        "sendoff_request_retries",
        "sendoff.exporter.request.retried",
        Kind.COUNTER,
        "{request}",
        "retries",
        "Those that carried events which had been tried before.",
    ),
    Metric(
        name="sendoff_answers",
        otel="sendoff.exporter.request.answered",
        kind=Kind.COUNTER,
        unit="{request}",
        labels=("answer",),
        meaning="Requests that have ended, by the answer's status or the word for getting none.",
        fields=("answers",),
        read=mapping("answers"),
    ),
    simple(
        "sendoff_request_events",
        "sendoff.exporter.request.events",
        Kind.COUNTER,
        "{event}",
        "request_events",
        "Events in all requests; by requests, the size of a batch.",
    ),
    simple(
        "sendoff_request_bytes",
        "sendoff.exporter.request.size",
        Kind.COUNTER,
        "By",
        "request_bytes",
        "Bytes of all requests' bodies, as they were sent.",
    ),
    simple(
        "sendoff_request_seconds",
        "sendoff.exporter.operation.time",
        Kind.COUNTER,
        "s",
        "request_seconds",
        "Seconds that all requests took; by requests, the vendor's latency.",
    ),
    simple(
        "sendoff_rate_limit",
        "sendoff.exporter.request.rate_limit",
        Kind.SUM,
        "{request}/s",
        "rate_limit",
        "Requests that may be sent in a second; no figure if there is no limit.",
    ),
    # How the vendor is.
    Metric(
        name="sendoff_breaker_state",
        otel="sendoff.exporter.breaker.state",
        kind=Kind.SUM,
        unit="{process}",
        labels=("state",),
        meaning="1 for the state that the breaker is in (closed: sending, open: waiting out a"
        " fault, half_open: probing), 0 for the others.",
        fields=("state",),
        read=states("closed", "open", "half_open"),
    ),
    Metric(
        name="sendoff_fault",
        otel="sendoff.exporter.fault",
        kind=Kind.SUM,
        unit="{process}",
        labels=("reason",),
        meaning="1 while the last request has failed, with the reason from the table of statuses.",
        fields=("fault",),
        read=fault,
    ),
    simple(
        "sendoff_held",
        "sendoff.exporter.held",
        Kind.SUM,
        "{process}",
        "held",
        "1 while a fault of configuration, such as a wrong key, holds everything.",
    ),
    simple(
        "sendoff_held_seconds",
        "sendoff.exporter.held_time",
        Kind.COUNTER,
        "s",
        "held_seconds",
        "Seconds in which the breaker was not closed.",
    ),
    simple(
        "sendoff_last_delivery_age_seconds",
        "sendoff.exporter.delivery_age",
        Kind.GAUGE,
        "s",
        "delivery_age",
        "Seconds since the vendor last took something; no figure if it never did.",
        merged="min",
    ),
    # Disk.
    simple(
        "sendoff_dead_letter_faults",
        "sendoff.dead_letter.faults",
        Kind.COUNTER,
        "{event}",
        "dead_letter_faults",
        "Events that were dropped because no dead letter could be written.",
    ),
    simple(
        "sendoff_spool_bytes",
        "sendoff.spool.size",
        Kind.SUM,
        "By",
        "spool_bytes",
        "Bytes on disk, in this dispatcher's part of the spool.",
    ),
    simple(
        "sendoff_spool_bytes_limit",
        "sendoff.spool.capacity",
        Kind.SUM,
        "By",
        "max_spool_bytes",
        "The bound of sendoff_spool_bytes over all destinations; 0 without a spool.",
        of_all=True,
    ),
    simple(
        "sendoff_spool_faults",
        "sendoff.spool.faults",
        Kind.COUNTER,
        "{fault}",
        "spool_faults",
        "Times that the disk refused something.",
    ),
    simple(
        "sendoff_spool_recovered",
        "sendoff.spool.recovered",
        Kind.COUNTER,
        "{event}",
        "recovered",
        "Events taken over from a process that is gone.",
    ),
    simple(
        "sendoff_spool_damaged",
        "sendoff.spool.damaged",
        Kind.COUNTER,
        "{place}",
        "damaged",
        "Places in the spool's files that could not be read.",
    ),
    # The dispatcher.
    Metric(
        name="sendoff_dispatcher_state",
        otel="sendoff.dispatcher.state",
        kind=Kind.SUM,
        unit="{process}",
        labels=("state",),
        meaning="1 for the state that the dispatcher is in (idle, running, closed), 0 for the"
        " others.",
        fields=("state",),
        of_all=True,
        read=states("idle", "running", "closed"),
    ),
    Metric(
        name="sendoff_hook_failures",
        otel="sendoff.hook.failures",
        kind=Kind.COUNTER,
        unit="{call}",
        labels=("hook",),
        meaning="Exceptions and wrong results of before_send, on_drop and on_outcome.",
        fields=("hook_failures",),
        of_all=True,
        read=mapping("hook_failures"),
    ),
    Metric(
        name="sendoff_hook_missed",
        otel="sendoff.hook.missed",
        kind=Kind.COUNTER,
        unit="{event}",
        labels=("hook",),
        meaning="Events that on_drop and on_outcome were too slow to be shown.",
        fields=("hook_missed",),
        of_all=True,
        read=mapping("hook_missed"),
    ),
)
"""All of them; each one's figures are those of one snapshot."""

LEFT_OUT: Final = {
    "lane": "a word, and the same for as long as the options are; `stats()` has it",
    "destinations": "what the others are in",
}
"""What of `Stats` and `DestinationStats` is no metric, and why."""
