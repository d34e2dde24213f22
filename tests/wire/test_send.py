"""`sendoff send`: what arrives, what is noted, what it says, and how it ends.

In this process where nothing kills it and nothing comes from a pipe: a start takes a second.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest

import sendoff
from sendoff import read_letters
from sendoff.cli import cli
from sendoff.sink import Settings, SinkProcess
from terminals import on_a_terminal

PATIENCE = 60.0
SOURCE = str(Path(sendoff.__file__).parents[1])
KEYS = {"DD_API_KEY": "right", "DD_APPLICATION_ID": "app", "FRESHPAINT_TOKEN": "right"}
VENDORS = ("datadog", "freshpaint")
CDNOW = (
    "--event=Purchase",
    "--map=user_id=customer_id",
    "--map=properties.purchased_on=date:date:%Y%m%d",
    "--map=properties.quantity=quantity:int",
    "--map=properties.amount_usd=amount_usd:decimal",
)


@pytest.fixture(scope="module")
def process():
    with SinkProcess(Settings(api_key="right", token="right", keep_events=20)) as sink:
        yield sink


def purchases(path, count):
    """The first rows of the shipped purchases, which are real."""
    data = gzip.decompress(files("sendoff.demo").joinpath("purchases.csv.gz").read_bytes())
    path.write_bytes(gzip.compress(b"".join(data.splitlines(keepends=True)[: count + 1])))


def command(sink, path, *options):
    return [
        *(sys.executable, "-W", "error", "-m", "sendoff", "send", str(path)),
        *("--datadog-endpoint", sink.datadog_endpoint),
        *("--freshpaint-endpoint", sink.freshpaint_endpoint, *options),
    ]


def environment(keys=KEYS):
    clean = {name: value for name, value in os.environ.items() if name not in KEYS}
    paths = filter(None, (SOURCE, os.environ.get("PYTHONPATH", "")))
    return {**clean, "PYTHONPATH": os.pathsep.join(paths), **keys}


class Answer(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def send(sink, path, *options, keys=KEYS):
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in KEYS:
            patch.delenv(name, raising=False)
        for name, value in keys.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli(command(sink, path, *options)[5:], prog_name="sendoff")
    return Answer(int(end.value.code), out.getvalue(), err.getvalue())


def send_stream(sink, data, *options):
    return subprocess.run(
        command(sink, "-", *options),
        env=environment(),
        input=data,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def stop_after(sink, path, rows, number, *options):
    """Starts a run, and sends it a signal when a vendor has some rows; how it ended."""
    with subprocess.Popen(
        command(sink, path, *options),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while len(sink.ids("freshpaint")) < rows:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@pytest.mark.slow
def test_interrupted_and_resumed_every_row_arrives_once(sink, tmp_path):
    """Ctrl-C half way, a fifth of all requests failing: each vendor has each row, under one id."""
    path = tmp_path / "purchases.csv.gz"
    purchases(path, 600)
    sink.faults("503 share 0.2")
    status, out, err = stop_after(sink, path, 200, signal.SIGINT, *CDNOW)
    assert (status, err.endswith("the same command goes on where it was\n")) == (130, True), err
    assert "rows read" in out
    noted = {
        vendor: (tmp_path / f"purchases.csv.gz.{vendor}.sent").read_text().count(";")
        for vendor in VENDORS
    }
    assert all(noted.values())
    again = send(sink, path, *CDNOW, "--json")
    assert again.returncode == 0, again
    outcome = json.loads(again.stdout)
    for vendor in VENDORS:
        counts = outcome["vendors"][vendor]
        assert (counts["sent"] + counts["before"], counts["before"] > 0) == (600, True)
        assert Counter(sink.ids(vendor)) == {
            f"{outcome['identity']}-{row}": 1 for row in range(1, 601)
        }
    third = send(sink, path, *CDNOW, "-q")
    assert (third.returncode, third.stdout, third.stderr) == (0, "", "")
    assert len(sink.ids("datadog")) == 600


@pytest.mark.slow
def test_a_killed_run_sends_again_under_the_same_ids(sink, tmp_path):
    """SIGKILL: every row arrives, and what arrives twice has an id that arrived before."""
    path = tmp_path / "purchases.csv.gz"
    purchases(path, 600)
    sink.faults("latency 150ms")
    status, _, _ = stop_after(sink, path, 150, signal.SIGKILL, *CDNOW)
    assert status == -signal.SIGKILL
    sink.faults()
    assert send(sink, path, *CDNOW).returncode == 0
    for vendor in VENDORS:
        ids = Counter(sink.ids(vendor))
        assert {int(found.partition("-")[2]) for found in ids} == set(range(1, 601))
        assert (len(ids), len({found.partition("-")[0] for found in ids})) == (600, 1)
        assert ids.total() - 600 <= 2_000


@pytest.mark.slow
def test_a_sigterm_ends_it_as_ctrl_c_does(sink, tmp_path):
    """Under its own exit status."""
    path = tmp_path / "purchases.csv.gz"
    purchases(path, 600)
    sink.faults("latency 100ms")
    status, _, err = stop_after(sink, path, 100, signal.SIGTERM, *CDNOW)
    assert (status, "stopped by SIGTERM" in err) == (143, True)


def test_the_real_rows_as_each_vendor_gets_them(sink, tmp_path):
    """Ids are text, amounts are numbers, and the id of a row is where each vendor looks for it."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 1)
    answer = send(sink, path, *CDNOW, "--to", "datadog,freshpaint")
    assert (answer.returncode, answer.stdout.splitlines()[1]) == (
        0,
        "datadog: 1 sent in 1 requests",
    ), answer
    (datadog,), (freshpaint,) = sink.events("datadog"), sink.events("freshpaint")
    own = {"purchased_on": "1997-01-21", "quantity": 3, "amount_usd": 39.31}
    event_id = datadog["insert_id"]
    assert datadog == {
        "application": {"id": "app"},
        "event": {"name": "Purchase"},
        "type": "server",
        "usr": {"id": "00010"},
        "insert_id": event_id,
        **own,
    }
    assert freshpaint["properties"].pop("time") == pytest.approx(time.time(), abs=PATIENCE)
    assert freshpaint["properties"] == {
        "token": "right",
        "distinct_id": "00010",
        "$insert_id": event_id,
        **own,
    }


@pytest.mark.slow
def test_lines_of_all_kinds_go_where_they_belong(sink, tmp_path):
    """Neutral events to both, identifications and bodies to their vendor; own ids stay."""
    lines = [
        {"event": "x", "user_id": "u", "time": "2024-01-01T00:00:00Z", "insert_id": "mine"},
        {"type": "identify", "user_id": "u", "properties": {"plan": "pro"}},
        {
            "application": {"id": "other"},
            "event": {"name": "y"},
            "type": "server",
            "usr": {"id": "u"},
        },
        {"event": "z", "properties": {"distinct_id": "u"}},
        {"event": "z", "properties": {"distinct_id": "u", "$insert_id": "own"}},
        {
            "application": {"id": "other"},
            "event": {"name": "y"},
            "type": "server",
            "usr": {"id": "u"},
            "insert_id": "own",
        },
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines)
    answer = send_stream(sink, data, "--identity=a", f"--journal={tmp_path / 'j'}", "--json")
    assert answer.returncode == 0, answer
    outcome = json.loads(answer.stdout)
    passed = {vendor: outcome["vendors"][vendor]["passed"] for vendor in VENDORS}
    assert (passed, outcome["complete"]) == ({"datadog": 3, "freshpaint": 2}, True)
    prefix = outcome["identity"]
    assert sorted(sink.ids("datadog")) == sorted([f"{prefix}-3", "mine", "own"])
    assert sorted(sink.ids("freshpaint")) == sorted([f"{prefix}-2", f"{prefix}-4", "mine", "own"])
    found = {one["event"]: one["properties"] for one in sink.events("freshpaint")}
    assert found["x"]["time"] == 1704067200.0
    assert found["$identify"]["$user_props"] == {"plan": "pro"}
    again = send_stream(sink, data, "--identity=a", f"--journal={tmp_path / 'j'}", "--json")
    assert json.loads(again.stdout)["vendors"]["datadog"]["before"] == 3
    assert len(sink.ids("datadog")) == 3


def test_bad_rows_are_written_down_once_and_stop_nothing(sink, tmp_path):
    """Exit 1, a line with row, reason and text; the next run does not write them again."""
    path = tmp_path / "events.ndjson"
    path.write_text(
        '{"event": "x", "user_id": "u"}\n{"event": \n{"event": "y", "device_id": "d"}\n'
    )
    answer = send(sink, path)
    assert answer.returncode == 1, answer
    assert "  1 are no events: json" in answer.stdout
    assert "  1 not taken: missing_identity" in answer.stdout
    rejects = [
        json.loads(line) for line in (tmp_path / "events.ndjson.rejects").read_text().splitlines()
    ]
    assert [(one["row"], one["to"], one["reason"]) for one in rejects] == [
        (2, None, "json"),
        (3, "datadog", "missing_identity"),
    ]
    assert rejects[0]["text"] == '{"event": '
    again = send(sink, path)
    assert (again.returncode, "2 given up by an earlier run" in again.stdout) == (0, True), again
    assert len((tmp_path / "events.ndjson.rejects").read_text().splitlines()) == 2
    assert (len(sink.ids("datadog")), len(sink.ids("freshpaint"))) == (1, 2)


def test_strict_ends_at_the_first_bad_row(sink, tmp_path):
    """What stands before it arrives."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"event": "x", "user_id": "u"}\n{\n{"event": "y", "user_id": "u"}\n')
    answer = send(sink, path, "--strict", "--to=datadog")
    assert (answer.returncode, "gave up: row 2: json" in answer.stderr) == (1, True), answer
    assert [event["event"]["name"] for event in sink.events("datadog")] == ["x"]


def test_what_a_vendor_refuses_is_in_the_dead_letters(sink, tmp_path):
    """With status and words, in the form that `sendoff replay` takes; another run leaves it."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 20)
    sink.faults("400 first 3 on freshpaint")
    options = (*CDNOW, "--to=freshpaint", f"--dead-letters={tmp_path / 'dead'}", "--json")
    answer = send(sink, path, *options)
    counts = json.loads(answer.stdout)["vendors"]["freshpaint"]
    assert (answer.returncode, counts["refused"]) == (1, {"refused": 3})
    assert (counts["sent"], counts["dead_lettered"]) == (17, 3)
    letters = list(read_letters(tmp_path / "dead"))
    assert [(letter.destination, letter.reason, letter.status) for letter in letters] == [
        ("freshpaint", "refused", 400)
    ] * 3
    assert all(letter.detail.startswith("400") for letter in letters)
    assert {letter.id for letter in letters}.isdisjoint(sink.ids("freshpaint"))
    assert (tmp_path / "dead").stat().st_mode & 0o777 == 0o600
    again = send(sink, path, *options)
    assert (again.returncode, len(sink.ids("freshpaint"))) == (0, 17)
    # Without a file for it, what is refused stays with the rows that are still to be sent.
    other = tmp_path / "q.csv.gz"
    purchases(other, 20)
    sink.faults("400 first 3 on freshpaint")
    assert send(sink, other, *CDNOW, "--to=freshpaint", "--identity=q").returncode == 1
    final = send(sink, other, *CDNOW, "--to=freshpaint", "--identity=q", "--json")
    assert json.loads(final.stdout)["vendors"]["freshpaint"]["sent"] == 3


def test_a_wrong_key_ends_it_in_bounded_time(sink, tmp_path):
    """It says what was answered last and by which vendor; nothing is noted or called lost."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 5)
    wrong = {**KEYS, "DD_API_KEY": "wrong"}
    answer = send(sink, path, *CDNOW, "--timeout=1.5", "--to=datadog", keys=wrong)
    assert answer.returncode == 1
    assert "gave up: datadog made no progress for 1.5 s; the last word was forbidden (403" in (
        answer.stderr
    )
    assert "  5 left" in answer.stdout
    assert "the same command goes on where it was" in answer.stderr
    assert "lost" not in answer.stderr  # they are in the file
    assert ";" not in (tmp_path / "p.csv.gz.datadog.sent").read_text()
    assert "wrong" not in answer.stdout + answer.stderr
    assert "left at the end" not in answer.stderr  # they are in the file, and go with the next run


@pytest.mark.slow
def test_a_row_of_a_slow_pipe_goes_at_once(sink):
    """It does not wait for the next one, nor for the end."""
    with subprocess.Popen(
        command(sink, "-", "--to=freshpaint"),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        process.stdin.write('{"event": "x", "user_id": "u"}\n')
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while not sink.ids("freshpaint"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)  # also while it waits for a line
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "freshpaint: 1 sent in 1 requests" in out) == (130, True)


def test_another_mapping_needs_another_journal(sink, tmp_path):
    """Exit 2, and the words that go on under the ids of before."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 3)
    assert send(sink, path, *CDNOW, "--to=datadog").returncode == 0
    changed = (*CDNOW[:-1], "--to=datadog")
    answer = send(sink, path, *changed)
    assert (answer.returncode, answer.stdout) == (2, "")
    words = " ".join(answer.stderr.split())
    assert "was begun for other contents or another mapping" in words
    identity = words.partition("--identity ")[2].split()[0]
    again = send(sink, path, *changed, "--identity", identity)
    assert (again.returncode, "3 sent by an earlier run" in again.stdout) == (0, True), again
    assert len(sink.ids("datadog")) == 3


@pytest.mark.slow
def test_a_reader_that_is_gone_changes_nothing(sink, tmp_path):
    """The counts have nobody, and the exit status still says how it went."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 3)
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.run(
        command(sink, path, *CDNOW),
        env=environment(),
        stdout=theirs,
        stderr=theirs,
        timeout=PATIENCE,
        check=False,
    )
    os.close(theirs)
    assert process.returncode == 0
    assert len(sink.ids("datadog")) == len(sink.ids("freshpaint")) == 3


def test_a_dry_run_needs_no_key_and_sends_nothing(sink, tmp_path):
    """It prints the events, and why a row is none; a reader that is gone ends it."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 2)
    answer = send(sink, path, *CDNOW, "--dry-run", keys={})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout.splitlines()[0]) == {
        "event": "Purchase",
        "user_id": "00010",
        "properties": {"purchased_on": "1997-01-21", "quantity": 3, "amount_usd": 39.31},
    }
    assert list(tmp_path.iterdir()) == [path]
    assert sink.stats().requests_total == 0


@pytest.mark.parametrize(
    ("options", "keys", "message"),
    [
        ((), {}, "none of DD_API_KEY, DD_APPLICATION_ID, DD_SITE, FRESHPAINT_TOKEN is set"),
        (("--to=nobody",), KEYS, "--to takes datadog and freshpaint, not 'nobody'"),
        (("--to=datadog",), {"DD_API_KEY": "k"}, "DD_APPLICATION_ID is not set"),
        (("--map=a",), KEYS, "'a' is not FIELD=COLUMN"),
        (("--event=x", "--map=user_id=z"), KEYS, "column 'z' is not in the file"),
        (("--delimiter=ab",), KEYS, "the delimiter is one character"),
        (("--site=gov",), KEYS, "does not offer Product Analytics"),
        (("--dry-run", "--to=nobody"), {}, "--to takes datadog and freshpaint, not 'nobody'"),
        (("--dry-run", "--map=user_id=customer_id"), {}, "give --event NAME, or --map event="),
        (("--event=x", "--journal=gone/j"), KEYS, "--journal: there is no folder gone"),
        (("--event=x", "--rejects=gone/r"), KEYS, "--rejects: there is no folder gone"),
        (("--event=x", "--dead-letters=gone/d"), KEYS, "--dead-letters: there is no folder gone"),
    ],
)
def test_wrong_use_exits_with_2(sink, tmp_path, options, keys, message):
    """The message names what is wrong, and no file is begun."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 1)
    answer = send(sink, path, *options, keys=keys)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in " ".join(answer.stderr.split())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "gone.csv"])
def test_what_is_no_file_is_named(sink, tmp_path, name):
    """A folder, and a file that is not there: wrong use, in words and not in numbers."""
    answer = send(sink, tmp_path / name, "--event=x")
    assert (answer.returncode, answer.stdout) == (2, "")
    words = "Is a directory" if not name else "No such file or directory"
    assert f"Error: {tmp_path / name}: {words}" in answer.stderr
    assert "Errno" not in answer.stderr


def test_the_reader_waits_for_the_slowest_vendor(sink, tmp_path, monkeypatch):
    """No more rows are given than the window has room for, however slow the answers are."""
    from sendoff.send import lane

    path = tmp_path / "p.csv.gz"
    purchases(path, 300)
    most = Counter()
    give = lane.Lane.give

    def watched(self, row):
        error = give(self, row)
        most[self.name] = max(most[self.name], self.ledger().pending)
        return error

    monkeypatch.setattr(lane, "WINDOW", 50)
    monkeypatch.setattr(lane.Lane, "give", watched)
    sink.faults("latency 20ms on freshpaint")
    assert send(sink, path, *CDNOW).returncode == 0
    assert most["freshpaint"] == 50
    assert most["datadog"] <= 50
    assert len(set(sink.ids("freshpaint"))) == 300


def test_large_rows_wait_by_their_bytes(sink, tmp_path, monkeypatch):
    """What was given and not answered is bounded in bytes as well: by the window, and one row."""
    from sendoff.send import lane

    path = tmp_path / "large.ndjson"
    row = {"event": "x", "user_id": "u", "properties": {"pad": "x" * 10_000}}
    path.write_text(f"{json.dumps(row)}\n" * 40)
    given = []
    give = lane.Lane.give

    def watched(self, row):
        error = give(self, row)
        given.append(self.ledger().pending_bytes)
        return error

    monkeypatch.setattr(lane, "WINDOW_BYTES", 50_000)
    monkeypatch.setattr(lane.Lane, "give", watched)
    sink.faults("latency 20ms")
    assert send(sink, path, "--to=freshpaint").returncode == 0
    assert 50_000 < max(given) < 50_000 + 2 * 10_000
    assert len(set(sink.ids("freshpaint"))) == 40


@pytest.mark.slow
@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_there_are_bars(sink, tmp_path, colour):
    """On stderr, one for each vendor; stdout has the counts alone, and NO_COLOR no colours."""
    path = tmp_path / "p.csv.gz"
    purchases(path, 50)
    clean = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    if not colour:
        clean["NO_COLOR"] = "1"
    drawn = on_a_terminal(command(sink, path, *CDNOW), clean, 110, piped=True)
    assert (drawn.status, drawn.cursor) == (0, (1, 1)), drawn.text
    assert "\x1b" not in drawn.out
    assert "datadog: 50 sent" in drawn.out
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", drawn.text)) is colour
    assert len(re.findall(r"(?:datadog|freshpaint) +\S* +50/50", drawn.plain)) >= 2
