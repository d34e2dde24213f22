"""
The observable instruments, against the real SDK's in-memory reader.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum

from sendoff import OptionError
from sendoff.metrics import opentelemetry
from sendoff.metrics.metric import Kind
from sendoff.metrics.names import METRICS
from virtual import Vendors, datadog, freshpaint, run
from virtual import dispatcher as made


class World:
    """
    A provider, and what its reader collects.
    """

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def collect(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if scope.scope.name == opentelemetry.SCOPE
        }

    def points(self, name: str) -> dict[frozenset[Any], float]:
        metric = self.collect().get(name)
        found = metric.data.data_points if metric else ()
        return {frozenset(point.attributes.items()): point.value for point in found}


@pytest.fixture
def world():
    world = World()
    yield world
    world.provider.shutdown()


def of(**attributes: Any) -> frozenset[Any]:
    names = {"dispatcher": "sendoff.dispatcher", "destination": "sendoff.destination"}
    names |= {"outcome": "sendoff.outcome", "error": "error.type"}
    names |= {"status": "http.response.status_code"}
    attributes = {"dispatcher": "default", **attributes}
    return frozenset({names[key]: value for key, value in attributes.items()}.items())


def test_what_a_reader_collects_is_what_stats_says(world) -> None:
    """Fates with their reasons as `error.type`, answers with their status as a number."""

    async def main() -> None:
        vendors = Vendors(lambda request, _: 400 if "datadog" in request.url else 202)
        async with made(vendors, datadog(), freshpaint()) as dispatcher:
            opentelemetry.register(dispatcher, world.provider)
            dispatcher.track("e", user_id="u")
            dispatcher.track("e", to="datadog")
            assert world.points("sendoff.processor.event.queue.size") == {
                of(destination="datadog"): 1,
                of(destination="freshpaint"): 1,
            }
            assert await dispatcher.flush()
            shown = world.points("sendoff.processor.event.processed")
            assert {key: n for key, n in shown.items() if n} == {
                of(destination="datadog", outcome="rejected", error="missing_identity"): 1,
                of(destination="datadog", outcome="dropped", error="refused"): 1,
                of(destination="freshpaint", outcome="delivered"): 1,
            }
            assert world.points("sendoff.exporter.request.answered") == {
                of(destination="datadog", status=400): 1,
                of(destination="freshpaint", status=202): 1,
            }

    run(main())


def test_instruments_have_the_kinds_and_units_of_the_table(world) -> None:
    """Counters are monotonic sums, up-down counters are sums, gauges are gauges."""

    async def main() -> dict[str, Any]:
        async with made(Vendors(), freshpaint()) as dispatcher:
            opentelemetry.register(dispatcher, world.provider)
            dispatcher.track("e", user_id="u")
            await dispatcher.flush()
            return world.collect()

    found = run(main())
    for metric in METRICS:
        if metric.otel in found:
            shown = found[metric.otel]
            assert (shown.unit, shown.description) == (metric.unit, metric.meaning)
            is_sum = isinstance(shown.data, Sum)
            assert is_sum is (metric.kind is not Kind.GAUGE)
            assert not is_sum or shown.data.is_monotonic is (metric.kind is Kind.COUNTER)
    # What has no figure now: nothing failed, no hook is set.
    missing = {metric.otel for metric in METRICS} - set(found)
    assert missing == {"sendoff.exporter.fault", "sendoff.hook.failures", "sendoff.hook.missed"}


def test_one_collection_is_one_snapshot(world) -> None:
    """All instruments of a collection show the same instant; the next collection is fresh."""

    class Counting:
        asked = 0

        def __init__(self, dispatcher):
            self.dispatcher = dispatcher

        def stats(self):
            self.asked += 1
            return self.dispatcher.stats()

    counting = Counting(made(Vendors(), freshpaint()))
    opentelemetry.register(counting, world.provider)
    assert counting.asked == 0
    for number in (1, 2, 3):
        counting.dispatcher.track("e", user_id="u")
        assert set(world.points("sendoff.event.pending").values()) == {number}
        assert counting.asked == number


def test_several_dispatchers_share_the_instruments(world) -> None:
    """Each under its name; one that is gone or taken away shows no more."""
    web, jobs = made(Vendors(), freshpaint()), made(Vendors(), freshpaint())
    registration = opentelemetry.register(web, world.provider, name="web")
    opentelemetry.register(jobs, world.provider, name="jobs")
    pair = {of(dispatcher=name, destination="freshpaint"): 0 for name in ("web", "jobs")}
    assert world.points("sendoff.event.pending") == pair
    registration.unregister()
    registration.unregister()
    del jobs
    gc.collect()
    assert world.points("sendoff.event.pending") == {}


def test_an_earlier_registration_does_not_take_a_later_one_away(world) -> None:
    """`unregister` knows whose name it is."""
    first, second = made(Vendors(), freshpaint()), made(Vendors(), freshpaint())
    earlier = opentelemetry.register(first, world.provider)
    opentelemetry.register(second, world.provider)
    earlier.unregister()
    assert world.points("sendoff.event.pending") == {of(destination="freshpaint"): 0}


def test_a_name_must_be_a_name() -> None:
    """As everywhere, at once."""
    with pytest.raises(OptionError, match="name"):
        opentelemetry.register(made(Vendors(), freshpaint()), name="")
