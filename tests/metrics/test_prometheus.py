"""
The Prometheus collector, against the real `prometheus_client`.
"""

from __future__ import annotations

import asyncio
import gc

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from sendoff import OptionError
from sendoff.metrics import prometheus
from sendoff.metrics.names import METRICS
from virtual import Vendors, datadog, freshpaint, run
from virtual import dispatcher as made


def figures(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """
    The samples of one name, by the values of their labels in the order of the labels' names.
    """
    found = {}
    for family in parse(generate_latest(registry).decode()):
        for sample in family.samples:
            if sample.name == name:
                values = [sample.labels[label] for label in sorted(sample.labels)]
                found[tuple(values)] = sample.value
    return found


def test_what_a_scrape_shows_is_what_stats_says() -> None:
    """Counters and gauges of both destinations, read at the moment of the scrape."""

    async def main() -> None:
        registry = CollectorRegistry()
        vendors = Vendors(lambda request, _: 400 if "datadog" in request.url else 202)
        async with made(vendors, datadog(), freshpaint()) as dispatcher:
            prometheus.register(dispatcher, registry)
            for _ in range(3):
                dispatcher.track("e", user_id="u")
            dispatcher.track("e", to="datadog")
            assert figures(registry, "sendoff_events_pending") == {
                ("datadog", "default"): 3,
                ("freshpaint", "default"): 3,
            }
            assert await dispatcher.flush()
            shown = figures(registry, "sendoff_events_total")
            assert {key: n for key, n in shown.items() if n} == {
                ("datadog", "default", "rejected", "missing_identity"): 1,
                ("datadog", "default", "dropped", "refused"): 3,
                ("freshpaint", "default", "delivered", ""): 3,
            }
            stats = dispatcher.stats().destinations["datadog"]
            assert figures(registry, "sendoff_answers_total") == {
                ("400", "datadog", "default"): stats.requests,
                ("202", "freshpaint", "default"): 3,
            }

    run(main())


def test_registering_and_events_cost_no_look_at_stats() -> None:
    """`stats()` is asked once a scrape and at no other time."""

    class Counting:
        asked = 0

        def __init__(self, dispatcher):
            self.dispatcher = dispatcher

        def stats(self):
            self.asked += 1
            return self.dispatcher.stats()

    counting = Counting(made(Vendors(), freshpaint()))
    registry = CollectorRegistry()
    prometheus.register(counting, registry)
    counting.dispatcher.track("e", user_id="u")
    assert counting.asked == 0
    generate_latest(registry)
    assert counting.asked == 1


def test_several_dispatchers_stand_together() -> None:
    """Each under its name, in one family; one of a name taken anew shows in the earlier's place."""
    registry = CollectorRegistry()
    web, jobs, other = (made(Vendors(), freshpaint(name=name)) for name in "abc")
    prometheus.register(web, registry, name="web")
    prometheus.register(jobs, registry, name="jobs")
    assert figures(registry, "sendoff_held") == {("a", "web"): 0, ("b", "jobs"): 0}
    text = generate_latest(registry).decode()
    assert text.count("# TYPE sendoff_held gauge") == 1
    assert openmetrics(registry).decode().endswith("# EOF\n")
    prometheus.register(other, registry, name="web")
    assert figures(registry, "sendoff_held") == {("c", "web"): 0, ("b", "jobs"): 0}


def test_a_dispatcher_that_is_gone_is_not_shown_nor_kept() -> None:
    """The collector holds it weakly; `unregister` takes it away at once, and works twice."""
    registry = CollectorRegistry()
    gone, here = made(Vendors(), freshpaint(name="gone")), made(Vendors(), freshpaint(name="here"))
    prometheus.register(gone, registry, name="gone")
    registration = prometheus.register(here, registry, name="here")
    del gone
    gc.collect()
    assert figures(registry, "sendoff_held") == {("here", "here"): 0}
    registration.unregister()
    registration.unregister()
    assert figures(registry, "sendoff_held") == {}


def test_an_earlier_registration_does_not_take_a_later_one_away() -> None:
    """`unregister` knows whose name it is."""
    registry = CollectorRegistry()
    first, second = made(Vendors(), freshpaint()), made(Vendors(), freshpaint())
    earlier = prometheus.register(first, registry)
    prometheus.register(second, registry)
    earlier.unregister()
    assert figures(registry, "sendoff_held") == {("freshpaint", "default"): 0}


@pytest.mark.parametrize("options", [{"name": ""}, {"name": 7}, {"interval": 0}])
def test_a_wrong_option_names_itself(options) -> None:
    """As everywhere, at once."""
    with pytest.raises(OptionError, match=next(iter(options))):
        prometheus.register(made(Vendors(), freshpaint()), CollectorRegistry(), **options)


def test_no_secret_and_no_event_is_shown() -> None:
    """A scrape has counts, names and reasons, and nothing else."""

    async def main() -> str:
        registry = CollectorRegistry()
        vendors = Vendors(lambda *_: 401)
        dispatcher = made(vendors, datadog(api_key="canary-key"), freshpaint(token="canary-token"))
        prometheus.register(dispatcher, registry)
        await dispatcher.start()
        dispatcher.track("canary-event", user_id="canary-user", properties={"canary": "canary"})
        await asyncio.sleep(2.0)
        text = generate_latest(registry).decode()
        await dispatcher.aclose(timeout=0)
        return text

    text = run(main())
    assert 'sendoff_fault{destination="datadog",dispatcher="default",reason="' in text
    assert "canary" not in text


def test_all_metrics_are_exposed_by_the_names_of_the_table() -> None:
    """What is scraped has the families of the table, and their help."""
    registry = CollectorRegistry()
    dispatcher = made(Vendors(), freshpaint())
    prometheus.register(dispatcher, registry)
    text = generate_latest(registry).decode()
    shown = [line.split(" ", 3)[2:] for line in text.splitlines() if line.startswith("# HELP")]
    assert shown == [[metric.exposed, metric.meaning] for metric in METRICS]
