"""
The table of metrics: whole, well named, and the same in the documents that use it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from sendoff import DestinationStats, Stats
from sendoff.metrics.metric import ATTRIBUTES, Kind, Metric, points_of
from sendoff.metrics.names import LEFT_OUT, METRICS

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/examples/grafana/sendoff.json"
ALERTS = ROOT / "docs/examples/prometheus/alerts.yml"

SOME = DestinationStats(
    delivered=1,
    rejections={"closed": 2},
    dropped={"overflow": 3},
    dead_lettered=4,
    dead_letter_faults=5,
    pending=6,
    pending_bytes=7,
    in_flight=8,
    requests=9,
    retries=10,
    request_events=11,
    request_bytes=12,
    request_seconds=13.5,
    answers={"202": 14, "timeout": 15},
    marked_fields=16,
    state="open",
    fault="server_error",
    held=True,
    held_seconds=17.5,
    delivery_age=18.5,
    oldest_age=19.5,
    lane="fast",
    queue_events=20,
    queue_bytes=21,
    max_queue_events=22,
    max_queue_bytes=23,
    rate_limit=24,
    spool_bytes=25,
    spool_faults=26,
    recovered=27,
    damaged=28,
)
ALL = Stats({"datadog": SOME}, {"on_drop": 29}, {"on_outcome": 30}, "running", 31)


def test_every_figure_is_exported_or_left_out_with_a_reason() -> None:
    """What `Stats` and `DestinationStats` have is in the table, or in the list of what is not."""
    for owner, of_all in ((DestinationStats, False), (Stats, True)):
        computed = [name for name, one in vars(owner).items() if isinstance(one, property)]
        has = {field.name for field in dataclasses.fields(owner)} | set(computed)
        shown = {field for metric in METRICS if metric.of_all is of_all for field in metric.fields}
        assert shown <= has
        assert has - shown == {name for name in LEFT_OUT if name in has}
    assert all(isinstance(reason, str) and reason for reason in LEFT_OUT.values())


def test_every_figure_comes_from_the_field_that_it_names() -> None:
    """One snapshot with a different number in every field, and all that is made of it."""
    shown = {
        (metric.exposed, *labels): figure
        for metric in METRICS
        for labels, figure in points_of(metric, "web", ALL)
    }
    one = ("web", "datadog")
    submitted = 1 + 2 + 3 + 4 + 6
    assert shown == {
        ("sendoff_events_submitted_total", *one): submitted,
        ("sendoff_events_total", *one, "delivered", ""): 1,
        ("sendoff_events_total", *one, "rejected", "closed"): 2,
        ("sendoff_events_total", *one, "dropped", "overflow"): 3,
        ("sendoff_events_total", *one, "dead_lettered", ""): 4,
        ("sendoff_dead_letter_faults_total", *one): 5,
        ("sendoff_events_pending", *one): 6,
        ("sendoff_events_pending_bytes", *one): 7,
        ("sendoff_events_in_flight", *one): 8,
        ("sendoff_requests_total", *one): 9,
        ("sendoff_request_retries_total", *one): 10,
        ("sendoff_request_events_total", *one): 11,
        ("sendoff_request_bytes_total", *one): 12,
        ("sendoff_request_seconds_total", *one): 13.5,
        ("sendoff_answers_total", *one, "202"): 14,
        ("sendoff_answers_total", *one, "timeout"): 15,
        ("sendoff_marked_fields_total", *one): 16,
        ("sendoff_breaker_state", *one, "closed"): 0,
        ("sendoff_breaker_state", *one, "open"): 1,
        ("sendoff_breaker_state", *one, "half_open"): 0,
        ("sendoff_fault", *one, "server_error"): 1,
        ("sendoff_held", *one): 1,
        ("sendoff_held_seconds_total", *one): 17.5,
        ("sendoff_last_delivery_age_seconds", *one): 18.5,
        ("sendoff_oldest_event_age_seconds", *one): 19.5,
        ("sendoff_queue_events", *one): 20,
        ("sendoff_queue_bytes", *one): 21,
        ("sendoff_queue_events_limit", *one): 22,
        ("sendoff_queue_bytes_limit", *one): 23,
        ("sendoff_rate_limit", *one): 24,
        ("sendoff_spool_bytes", *one): 25,
        ("sendoff_spool_faults_total", *one): 26,
        ("sendoff_spool_recovered_total", *one): 27,
        ("sendoff_spool_damaged_total", *one): 28,
        ("sendoff_hook_failures_total", "web", "on_drop"): 29,
        ("sendoff_hook_missed_total", "web", "on_outcome"): 30,
        ("sendoff_spool_bytes_limit", "web"): 31,
        ("sendoff_dispatcher_state", "web", "idle"): 0,
        ("sendoff_dispatcher_state", "web", "running"): 1,
        ("sendoff_dispatcher_state", "web", "closed"): 0,
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_each_system_wants_them(metric: Metric) -> None:
    """Prometheus: our prefix, base units at the end; OpenTelemetry: dotted names, UCUM units."""
    assert re.fullmatch(r"sendoff_[a-z]+(_[a-z]+)*", metric.name)
    assert not metric.name.endswith("_total")
    assert re.fullmatch(r"sendoff(\.[a-z]+(_[a-z]+)*)+", metric.otel)
    assert re.fullmatch(r"By|s|\{[a-z]+\}(/s)?", metric.unit)
    assert ("_seconds" in metric.name) is (metric.unit == "s")
    assert ("_bytes" in metric.name) is (metric.unit == "By")
    assert set(metric.all_labels) <= set(ATTRIBUTES)
    assert metric.merged == "sum" or metric.kind is Kind.GAUGE
    assert metric.meaning.endswith(".")


def test_no_name_is_there_twice_or_a_part_of_another() -> None:
    """OpenTelemetry forbids a name that is another one's namespace."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    names = {metric.otel for metric in METRICS}
    assert len(names) == len(METRICS)
    assert not [(a, b) for a in names for b in names if b.startswith(f"{a}.")]


# --- the dashboard and the alerts -----------------------------------------------------------------

EXPOSED = {metric.exposed: metric for metric in METRICS}
OF_TARGETS = {"job", "instance", "le", "pid"}
"""Labels that Prometheus puts there."""


def check(expression: str) -> None:
    """
    Fails unless every metric and every label of an expression is in the table.
    """
    names = re.findall(r"\bsendoff_\w+", expression)
    assert names, expression
    allowed = set(OF_TARGETS)
    for name in names:
        assert name in EXPOSED, f"{name} in {expression}"
        allowed |= set(EXPOSED[name].all_labels)
    for name, labels in re.findall(r"\b(sendoff_\w+)\{([^}]*)\}", expression):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))
        assert used <= OF_TARGETS | set(EXPOSED[name].all_labels), f"{labels} of {name}"
    for labels in re.findall(r"\b(?:by|on|without|ignoring) ?\(([^)]*)\)", expression):
        assert {one.strip() for one in labels.split(",")} <= allowed, labels
    # A counter is worth something only as a rate.
    for name in names:
        if EXPOSED[name].kind is Kind.COUNTER:
            assert re.search(rf"(rate|increase)\(\s*{name}\b", expression), expression


def panels(board: dict) -> list[dict]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_dashboard_shows_what_is_there() -> None:
    """It is valid JSON, asks for a Prometheus when imported, and uses names of the table alone."""
    board = json.loads(DASHBOARD.read_text())
    assert board["title"]
    assert board["uid"]
    assert board["id"] is None
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "dispatcher", "destination"]
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "dispatcher", "destination"):
        check(variables[name]["query"]["query"])
        assert variables[name]["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    used = set()
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            check(target["expr"])
            assert 'job=~"$job"' in target["expr"]
            used |= set(re.findall(r"sendoff_\w+", target["expr"]))
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert set(EXPOSED) - used <= {"sendoff_events_pending_bytes", "sendoff_queue_bytes_limit"}


def test_the_panels_of_the_dashboard_do_not_lie_over_each_other() -> None:
    """24 columns, and no place taken twice."""
    places: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not own & places, panel["title"]
        places |= own


def test_the_alerts_ask_for_what_is_there() -> None:
    """Every rule has a name of its own, an expression over the table, and words for a person."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        check(rule["expr"])
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} <= set(rule["annotations"])
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert any(label in one.all_labels for one in METRICS), label
