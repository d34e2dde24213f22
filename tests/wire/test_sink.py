"""The sink as a process: what goes in over a socket, what comes out, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, IncompleteRead

import pytest

from sendoff.sink import Settings, SinkProcess, client
from sendoff.sink.server import serve
from sendoff.sink.wire import read_body

pytestmark = pytest.mark.slow

APPLICATION = {"application": {"id": "app"}, "type": "server"}
PATIENCE = 5.0


def port_of(sink):
    return int(sink.url.rpartition(":")[2])


def server_event(name="e", **fields):
    return {**APPLICATION, "event": {"name": name}, "usr": {"id": "u-1"}, **fields}


def track_event(insert_id):
    properties = {"distinct_id": "u-1", "token": "t", "time": 1_700_000_000.5}
    return {"event": "e", "properties": {**properties, "$insert_id": insert_id}}


def post(connection, body, path="/api/v2/prodlytics"):
    headers = {"Content-Type": "application/json", "DD-API-KEY": "key"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection.getresponse()


def status_of(connection, body, path="/api/v2/prodlytics"):
    answer = post(connection, body, path)
    answer.read()
    return answer.status


@pytest.mark.parametrize(
    "event",
    [
        {"event": {"name": "checkout.completed"}, "account": {"id": "a-1"}},
        {
            "event": {"name": "payment.processed"},
            "usr": {"id": "u-1"},
            "customer": {"tier": "premium"},
        },
        {"event": {"name": "form.submitted"}, "session": {"id": "s-1"}},
        {"event": {"name": "user.only"}, "usr": {"id": "u-1"}},
        {
            "event": {"name": "all.three"},
            "account": {"id": "a-1"},
            "session": {"id": "s-1"},
            "usr": {"id": "u-1"},
        },
    ],
    ids=lambda event: event["event"]["name"],
)
def test_each_documented_datadog_body_is_accepted_unchanged(sink, connect, event):
    """Every form that the reference prints gets 202 `{}` and is kept as it came."""
    answer = post(connect(), {**APPLICATION, **event})
    assert (answer.status, answer.headers["Content-Type"]) == (202, "application/json")
    assert answer.read() == b"{}"
    assert sink.events("datadog") == [{**APPLICATION, **event}]


def test_counts_add_up_over_both_vendors(sink, connect):
    """What was sent is what the sink tells, per vendor, with ids in order."""
    connection = connect()
    batch = [server_event(insert_id="d-1"), server_event(insert_id="d-2"), server_event()]
    assert status_of(connection, batch) == 202
    assert status_of(connection, server_event(insert_id="d-1")) == 202
    assert status_of(connection, server_event(type="browser")) == 400
    assert status_of(connection, track_event("f-1"), "/track?ip=1") == 200
    assert status_of(connection, {}, "/elsewhere") == 404
    stats = sink.stats()
    datadog, freshpaint = stats.datadog, stats.freshpaint
    assert (stats.requests_total, stats.strays, stats.script) == (4, 1, ())
    assert (datadog.requests, datadog.statuses) == (3, {202: 2, 400: 1})
    assert (datadog.events, datadog.accepted, datadog.unique) == (5, 4, 2)
    assert (datadog.duplicates, datadog.without_id, datadog.largest_batch) == (1, 1, 3)
    assert datadog.refused == {'type is not "server"': 1}
    assert datadog.first_at <= datadog.last_at <= stats.now
    assert 1 <= datadog.fullest_second <= 3
    assert (freshpaint.statuses, freshpaint.accepted, freshpaint.batches) == ({200: 1}, 1, 1)
    assert sink.ids("datadog") == ["d-1", "d-2", "d-1"]
    assert sink.ids("freshpaint") == ["f-1"]
    assert sink.events("datadog", limit=1) == [server_event(insert_id="d-1")]
    sink.reset()
    assert sink.stats().requests_total == sink.stats().strays == 0


def test_a_body_larger_than_any_limit_is_read_to_its_end(sink, connect):
    """The answer is 413 and the connection is still good; the size is counted in full."""
    connection = connect()
    big = server_event(pad="x" * 13_000_000)
    assert status_of(connection, big) == 413
    assert status_of(connection, big, "/track") == 413
    assert status_of(connection, server_event()) == 202
    assert sink.stats().datadog.largest_body == len(json.dumps(big))


def test_no_more_of_a_body_is_kept_than_shows_that_it_is_too_large():
    """The rest is counted and forgotten, so that no client can fill the sink's memory."""

    class Request:
        content = None

        async def iter_any(self):
            for _ in range(20):
                yield bytes(1_000_000)

    request = Request()
    request.content = request
    body, size = asyncio.run(read_body(request))
    assert (len(body), size) == (12_000_000, 20_000_000)


def test_a_compressed_body_is_judged_as_it_was_sent(sink, connect):
    """The server leaves the encoding to the contract, which undoes it."""
    headers = {"DD-API-KEY": "k", "Content-Type": "application/json", "Content-Encoding": "gzip"}
    packed = gzip.compress(json.dumps([server_event()] * 50).encode())
    connection = connect()
    connection.request("POST", "/api/v2/prodlytics", packed, headers)
    assert connection.getresponse().status == 202
    counts = sink.stats().datadog
    assert (counts.accepted, counts.largest_body) == (50, len(packed))


def test_a_client_that_leaves_amid_its_body_breaks_nothing(sink, connect):
    """The request counts as one that came; it has no answer and no event."""
    with socket.create_connection(("127.0.0.1", port_of(sink)), PATIENCE) as raw:
        raw.sendall(b"POST /track HTTP/1.1\r\nHost: sink\r\nContent-Length: 99\r\n\r\n{")
        wait_for(lambda: sink.stats().freshpaint.requests == 1)
    assert status_of(connect(), track_event("a"), "/track") == 200
    assert sink.stats().freshpaint.statuses == {200: 1}


@pytest.mark.parametrize("line", ["429 retry-after 1 reset-header 2", "html 502", "redirect"])
def test_a_status_fault_answers_without_processing(sink, connect, line):
    """The request counts, its events do not; the connection stays open."""
    sink.faults(f"{line} first 1")
    connection = connect()
    answer = post(connection, server_event())
    body = answer.read()
    expected = {"429": 429, "html": 502, "redirect": 307}[line.split()[0]]
    assert answer.status == expected
    if expected == 429:
        assert (answer.headers["Retry-After"], answer.headers["X-RateLimit-Reset"]) == ("1", "2")
    if expected == 502:
        assert (answer.headers["Content-Type"], body[:6]) == ("text/html", b"<html>")
    if expected == 307:
        assert answer.headers["Location"] == "/redirected"
    assert status_of(connection, server_event()) == 202
    counts = sink.stats().datadog
    assert (counts.requests, counts.accepted, counts.statuses) == (2, 1, {expected: 1, 202: 1})


def test_latency_delays_the_answer(sink, connect):
    """The events are processed at once, the answer takes its time."""
    sink.faults("latency 100ms")
    began = time.monotonic()
    assert status_of(connect(), server_event()) == 202
    assert time.monotonic() - began >= 0.1
    assert sink.stats().datadog.faults == {"latency": 1}


def test_hang_reads_and_never_answers(sink, connect):
    """The client's patience ends it; nothing was processed."""
    sink.faults("hang")
    connection = connect()
    connection.timeout = 0.1
    with pytest.raises(TimeoutError):
        post(connection, server_event())
    counts = sink.stats().datadog
    assert (counts.requests, counts.accepted, counts.statuses) == (1, 0, {})


def test_a_hung_request_ends_with_its_client():
    """No task is left of a request whose client has lost its patience."""

    async def scenario():
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        settings = Settings(faults=("hang",))
        serving = asyncio.create_task(serve(settings, stop, on_ready=port.set_result))
        _, writer = await asyncio.open_connection("127.0.0.1", await port)
        before = {serving, asyncio.current_task()}
        writer.write(b"POST /track HTTP/1.1\r\nHost: sink\r\nContent-Length: 0\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while len(asyncio.all_tasks() - before) < 2:  # the connection and its request
                await asyncio.sleep(0)
            writer.close()
            await writer.wait_closed()
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0)
        stop.set()
        await serving

    asyncio.run(scenario())


@pytest.mark.parametrize(("line", "processed"), [("reset", 1), ("reset-before", 0)])
def test_reset_breaks_the_connection(sink, connect, line, processed):
    """The client sees a reset; the two differ in whether the events were accepted before it."""
    sink.faults(f"{line} first 1")
    connection = connect()
    with pytest.raises(ConnectionResetError) as broken:
        post(connection, server_event(insert_id="a"))
    assert broken.value.errno == errno.ECONNRESET  # the end of a stream raises the same, without
    connection.close()
    assert status_of(connection, server_event(insert_id="a")) == 202
    counts = sink.stats().datadog
    assert (counts.accepted, counts.duplicates) == (processed + 1, processed)
    assert (counts.statuses, counts.faults) == ({202: 1}, {line: 1})


def test_truncate_ends_the_answer_before_its_length(sink, connect):
    """The status is one of success, the body is short, the events are accepted."""
    sink.faults("truncate")
    answer = post(connect(), server_event())
    assert answer.status == 202
    with pytest.raises(IncompleteRead):
        answer.read()
    assert sink.stats().datadog.accepted == 1


def test_close_answers_and_closes_unannounced(sink, connect):
    """The answer is whole and says nothing of closing; then the connection ends."""
    sink.faults("close on freshpaint")
    connection = connect()
    answer = post(connection, track_event("a"), "/track")
    assert (answer.status, answer.headers["Connection"], answer.read()) == (200, None, b"{}")
    assert connection.sock.recv(1) == b""
    assert sink.ids("freshpaint") == ["a"]


def test_a_script_replaces_the_one_before_and_nonsense_changes_nothing(sink, connect):
    """The faults are those of the last script that made sense."""
    sink.faults("503 on datadog", "latency 0ms")
    with pytest.raises(ValueError, match="'explode' is neither"):
        sink.faults("explode")
    assert sink.stats().script == ("503 on datadog", "latency 0ms")
    assert status_of(connect(), server_event()) == 503
    sink.faults()
    assert status_of(connect(), server_event()) == 202


def test_control_routes_answer_who_runs_the_sink(sink, connect):
    """Health and the front page are there, a wrong question is 400, none of it is counted."""
    connection = connect()
    answers = {}
    for path in ("/_sink/health", "/", "/_sink/ids", "/_sink/events?vendor=datadog&limit=x"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answers[path] = answer.status, answer.read().decode()
    assert answers["/_sink/health"] == (200, '{"ok": true}')
    assert answers["/"][1].startswith("datadog: 0 requests, 0 events accepted")
    assert answers["/_sink/ids"][0] == answers["/_sink/events?vendor=datadog&limit=x"][0] == 400
    assert status_of(connection, ["no object"], "/_sink/faults") == 400
    assert (sink.stats().requests_total, sink.stats().strays) == (0, 0)


def test_settings_reach_the_process_and_stop_is_clean():
    """Key, framing and faults are as asked; hung requests do not hold up the end."""
    settings = Settings(api_key="other", faults=("hang on freshpaint",))
    sink = SinkProcess(settings)
    with sink, socket.create_connection(("127.0.0.1", port_of(sink)), PATIENCE) as raw:
        connection = HTTPConnection("127.0.0.1", port_of(sink), timeout=PATIENCE)
        assert status_of(connection, server_event()) == 403
        connection.close()
        raw.sendall(b"POST /track HTTP/1.1\r\nHost: sink\r\nContent-Length: 0\r\n\r\n")
        wait_for(lambda: sink.stats().freshpaint.requests == 1)
        assert sink.datadog_endpoint == f"{sink.url}/api/v2/prodlytics"
        assert sink.freshpaint_endpoint == f"{sink.url}/track"
        assert sink.stop() == 0
        assert repr(sink) == "<SinkProcess stopped>"
    gc.collect()  # an open pipe would warn here, and warnings are errors


def test_a_sink_ends_with_the_process_that_opened_it():
    """A killed parent leaves no sink behind: the end of its stdin is the end of the sink."""
    code = (
        "import os, signal, sys; from sendoff.sink import SinkProcess; sink = SinkProcess();"
        "sink.start(); print(sink.url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    port = int(run.stdout.strip().rpartition(b":")[2])
    wait_for(lambda: refuses(port))


def test_a_sink_that_does_not_end_is_killed(monkeypatch):
    """`stop` has a bound: here the process is stopped and hears no signal."""
    monkeypatch.setattr(client, "_TIMEOUT", 0.1)
    sink = SinkProcess()
    sink.start()
    os.kill(sink._process.pid, signal.SIGSTOP)
    assert sink.stop() == -signal.SIGKILL


def test_a_ctrl_c_is_not_for_the_sink(process):
    """A terminal sends it to a whole group; who opened the sink still wants its counts."""
    assert os.getpgid(process._process.pid) != os.getpgid(0)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"script": ["503"], "script": []}', b"\xff"])
def test_a_script_that_is_no_json_is_a_bad_request(sink, connect, body):
    """Nested beyond all depth, ambiguous, no text: the faults stay as they were."""
    connection = connect()
    connection.request("POST", "/_sink/faults", body)
    assert connection.getresponse().status == 400
    assert sink.stats().script == ()


def test_a_port_that_is_taken_is_told(sink, capfd):
    """The second sink on a port does not start, and says why."""
    with pytest.raises(RuntimeError, match="exit status is 1"):
        SinkProcess(Settings(port=port_of(sink))).start()
    assert f"cannot listen on port {port_of(sink)}" in capfd.readouterr().err


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_for(condition):
    """Ask again until it holds, since another process is the one that makes it so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
