"""`sendoff tail` of a real sink: what it shows, in which order, and how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from rich.console import Console

import sendoff
from sendoff.cli import cli
from sendoff.cli.tail import _show
from sendoff.sink import Settings, SinkProcess
from sendoff.sink.follow import Follower, Seen, SinkGoneError

PATIENCE = 30.0
SOURCE = str(Path(sendoff.__file__).parents[1])


@pytest.fixture(scope="module")
def process():
    with SinkProcess(Settings(keep_events=5)) as sink:
        yield sink


def accept(sink, vendor, name, user="u"):
    """Has the sink accept an event."""
    if vendor == "datadog":
        body = {"application": {"id": "a"}, "event": {"name": name}, "type": "server"}
        body["usr"] = {"id": user}
        url = sink.datadog_endpoint
    else:
        body = {
            "event": name,
            "properties": {"distinct_id": user, "token": "t", "time": 1, "$insert_id": "i"},
        }
        url = sink.freshpaint_endpoint
    headers = {"Content-Type": "application/json", "DD-API-KEY": "k"}
    with urlopen(Request(url, json.dumps(body).encode(), headers)) as answer:
        assert answer.status in (200, 202)


def tail(sink, *options):
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        cli(["tail", f"--url={sink.url}", "--no-follow", *options], prog_name="sendoff")
    return int(end.value.code), out.getvalue(), err.getvalue()


def names(text):
    return [json.loads(line)["name"] for line in text.splitlines()]


def test_it_filters_by_vendor_name_and_user(sink):
    """The last lines that match, in the order in which they came."""
    for number in range(3):
        accept(sink, "datadog", f"d{number}", f"u{number}")
        accept(sink, "freshpaint", f"f{number}", f"u{number}")
    assert names(tail(sink, "--json")[1]) == ["d0", "d1", "d2", "f0", "f1", "f2"]
    assert names(tail(sink, "--json", "--vendor=freshpaint", "-n", "2")[1]) == ["f1", "f2"]
    assert names(tail(sink, "--json", "--user=u1")[1]) == ["d1", "f1"]
    assert names(tail(sink, "--json", "--name=f2")[1]) == ["f2"]
    assert tail(sink, "--json", "-n", "0") == (0, "", "")
    line = tail(sink, "--name=d1")[1]
    assert line.split("  ", 4)[0] == "datadog"
    assert json.loads(line[line.index("{") :])["event"] == {"name": "d1"}


def test_what_a_terminal_would_obey_is_not_printed(sink):
    """An event's name is anybody's."""
    accept(sink, "freshpaint", "\x1b[2J", "u\x07")
    out = tail(sink)[1]
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize("console", [None, True])
def test_a_body_is_shown_without_control_characters_and_means_the_same(console, capsys):
    """JSON leaves those of the second set as they are, and a terminal obeys them."""
    shown = io.StringIO()
    body = {"event": "x", "properties": {"distinct_id": "u", "note": "\x9b2J a\u200db \x7f ü"}}
    made = console and Console(file=shown, force_terminal=True, width=60)
    _show([Seen("freshpaint", body)], as_json=False, console=made)
    out = shown.getvalue() if console else capsys.readouterr().out
    assert not {"\x9b", "\x7f", "\u200d"} & set(out)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert json.loads(plain[plain.index("{") :]) == body


def test_a_follower_gives_each_event_once(sink):
    """Also across what the sink has forgotten, which is counted, and across a reset."""
    follower = Follower(sink.url)
    assert list(follower.read()) == []
    accept(sink, "datadog", "a")
    accept(sink, "datadog", "b")
    found = list(follower.read())
    assert [(seen.vendor, seen.name, seen.user) for seen in found] == [
        ("datadog", "a", "u"),
        ("datadog", "b", "u"),
    ]
    for number in range(7):
        accept(sink, "datadog", str(number))
    assert [seen.name for seen in follower.read()] == ["2", "3", "4", "5", "6"]
    assert follower.missed == 2
    sink.reset()
    accept(sink, "datadog", "anew")
    assert [seen.name for seen in follower.read()] == ["anew"]


@pytest.mark.parametrize("body", [{}, {"event": 1}, {"event": {"name": 2}, "usr": "u"}])
def test_bodies_that_name_nobody(body):
    """An odd body has an empty name and user."""
    for vendor in ("datadog", "freshpaint"):
        assert (Seen(vendor, body).name, Seen(vendor, body).user) == ("", "")


def test_where_there_is_no_sink():
    """Exit 1 and the address; a URL that is none is wrong use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    class Nobody:
        url = f"http://127.0.0.1:{port}"

    status, out, err = tail(Nobody)
    said = f"Error: there is no sink at 127.0.0.1:{port}: Connection refused\n"
    assert (status, out, err) == (1, "", said)
    Nobody.url = "ftp://x"
    assert tail(Nobody)[0] == 2
    with pytest.raises(SinkGoneError):
        list(Follower(f"http://127.0.0.1:{port}").read())


def following(sink, *options):
    paths = filter(None, (SOURCE, os.environ.get("PYTHONPATH", "")))
    return subprocess.Popen(
        [sys.executable, "-m", "sendoff", "tail", "--url", sink.url, "--json", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_follows_until_ctrl_c(sink):
    """Events that come later are shown as they come, through a pipe too."""
    accept(sink, "datadog", "before")
    with following(sink) as process:
        assert json.loads(process.stdout.readline())["name"] == "before"
        accept(sink, "freshpaint", "after", "somebody")
        line = json.loads(process.stdout.readline())
        assert (line["vendor"], line["name"], line["user"]) == ("freshpaint", "after", "somebody")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "stopped by Ctrl-C\n")


def test_a_reader_that_is_gone_ends_it_quietly(sink):
    """`sendoff tail | head -1`: no traceback, and the status that shells give it."""
    accept(sink, "datadog", "before")
    with following(sink) as process:
        assert process.stdout.readline()
        process.stdout.close()
        for _ in range(200):
            accept(sink, "datadog", "x" * 1_000)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                break
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")
