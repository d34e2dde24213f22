"""
The comparison with other clients counts what arrived, and computes from it what the page says.

What is measured of the peers themselves is not tested here: they are installed only to measure.
"""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(ROOT)


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=10) as sock:
        yield sock


def request(body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} /track HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(sock: socket.socket, number: int) -> bytes:
    got = b""
    while got.count(b"HTTP/1.1 200 OK") < number or not got.endswith((b"}", b"\r\n\r\n")):
        piece = sock.recv(65536)
        assert piece, got
        got += piece
    return got


def posthog(*ids: str) -> bytes:
    return json.dumps({"batch": [{"properties": {"order_id": one}} for one in ids]}).encode()


def test_the_receiver_counts_events_however_they_come() -> None:
    """Split, coalesced and compressed requests are counted once each, and GETs not at all."""
    from benchmarks.rivals.receiver import Arrived, Receiver

    packed = gzip.compress(posthog("ord-2", "ord-3"))
    with Receiver() as receiver, connection(receiver.url) as sock:
        whole = request(posthog("ord-1")) + request(packed, "Content-Encoding: gzip")
        sock.sendall(whole[:30])
        sock.sendall(whole[30:100])
        sock.sendall(whole[100:] + request(b"", method="GET") + request(posthog("ord-1")))
        answers(sock, 4)
        sizes = 2 * len(posthog("ord-1")) + len(packed)
        assert receiver.arrived("posthog") == Arrived(3, sizes, events=4, unique=3)


def test_a_silent_receiver_answers_nothing() -> None:
    """It reads what comes, and no byte goes back."""
    from benchmarks.rivals.receiver import Receiver

    with Receiver(silent=True) as receiver, connection(receiver.url) as sock:
        sock.sendall(request(posthog("ord-1")))
        while receiver.arrived("posthog").requests < 1:
            pass
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_the_receiver_hangs_up_on_what_it_cannot_count() -> None:
    """A chunked request ends its connection: a wrong count would be worse."""
    from benchmarks.rivals.receiver import Receiver

    with Receiver() as receiver, connection(receiver.url) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        assert receiver.arrived("posthog").requests == 0


def envelope(**items: object) -> bytes:
    lines: list[object] = [{"sent_at": "now"}]
    for kind, payload in items.items():
        lines += [{"type": kind, "length": len(json.dumps(payload))}, payload]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


LOGS = {"items": [{"attributes": {"order_id": {"value": "a"}}}]}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("sendoff_datadog", b'{"order_id":"a"}'),
        ("sendoff_datadog", b'[{"order_id":"a"},{"order_id":"b"}]'),
        ("sendoff_freshpaint", b'{"event":"e","properties":{"order_id":"a"}}'),
        ("amplitude", b'{"events":[{"event_properties":{"order_id":"a"}}]}'),
        ("mixpanel", urlencode({"data": '[{"properties":{"order_id":"a"}}]'}).encode()),
        ("mixpanel_sync", urlencode({"data": '{"properties":{"order_id":"a"}}'}).encode()),
        ("sentry_logs", envelope(client_report={}, log=LOGS)),
        ("sentry_events", envelope(event={"extra": {"order_id": "a"}})),
    ],
)
def test_bodies_are_read_in_each_peers_form(name: str, body: bytes) -> None:
    """An adapter finds the id of every event in a body, and nothing else."""
    from benchmarks.rivals.peers import peer_of

    assert list(peer_of(name).ids(body)) == (["a", "b"] if b'"b"' in body else ["a"])


def test_every_adapter_is_read_without_its_package() -> None:
    """All contestants can be named and described where no peer is installed."""
    from benchmarks.rivals.peers import NAMES, peer_of

    assert all(peer_of(name).title and peer_of(name).packages for name in NAMES)


def sample(cpu: float, **more: Any) -> dict[str, Any]:
    return {"cpu": cpu, "events": 100, "accepted": 100, "lost": 0, "twice": 0, **more}


def test_the_advantage_is_over_the_best_peer_of_each_repeat() -> None:
    """Ratios are taken within a repeat; a run that failed is nobody's best, and meets no goal."""
    from benchmarks.rivals.runs import figures_of

    figures = {
        figure.name: figure
        for figure in figures_of(
            {
                "dumps": {"calls": []},
                "sendoff_datadog": {"whole": [sample(1.0), sample(2.0), sample(1.0)]},
                "sendoff_freshpaint": {"whole": [sample(3.0), sample(3.0), sample(3.0)]},
                "posthog": {"whole": [sample(20.0), sample(90.0), None]},
                "segment": {"whole": [sample(40.0), sample(40.0, lost=7), sample(10.0)]},
            }
        )
    }
    advantage = figures["rivals.advantage"]
    assert advantage.samples == (20.0, 20.0, 10.0)
    assert (advantage.value, advantage.met) == (20.0, True)
    assert advantage.detail == "best: posthog, segment"
    assert figures["rivals.segment.cpu"].samples == (40.0, 20.0, 10.0)
    assert (figures["rivals.segment.lost"].value, figures["rivals.posthog.lost"].value) == (7, 0)


def test_our_own_runs_lose_nothing() -> None:
    """Every way runs as it stands, here with ourselves: what is accepted arrives."""
    from benchmarks.rivals.runs import Runs

    runs = Runs(quick=True)
    runs.take(["dumps", "sendoff_datadog"], ["calls", "held", "exit", "fork"])
    ways = runs.samples["sendoff_datadog"]
    assert runs.samples["dumps"]["calls"][0] is not None
    assert [ways[way][0]["lost"] for way in ("calls", "exit", "fork")] == [0, 0, 0]
    assert ways["held"][0]["accepted"] == 10_000
    assert ways["calls"][0]["median"] > 0


def test_the_page_has_the_stored_figures() -> None:
    """What stands between the markers is made from the results that are kept."""
    command = [sys.executable, "-m", "benchmarks.rivals.page", "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0
