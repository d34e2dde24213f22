"""`sendoff replay` as a process: what it sends, what it notes, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import sendoff
from sendoff import Datadog, Dispatcher, Freshpaint, Retry, read_letters
from sendoff.sink import Settings, SinkProcess
from terminals import on_a_terminal

pytestmark = pytest.mark.slow

PATIENCE = 60.0
SOURCE = str(Path(sendoff.__file__).parents[1])
KEYS = {"DD_API_KEY": "right", "FRESHPAINT_TOKEN": "right"}
IN_FLIGHT = {"datadog": 2_000, "freshpaint": 128}


@pytest.fixture(scope="module")
def process():
    with SinkProcess(Settings(api_key="right", token="right")) as sink:
        yield sink


def command(sink, path, to, *options):
    endpoint = getattr(sink, f"{to}_endpoint")
    return [
        *(sys.executable, "-W", "error", "-m", "sendoff", "replay", str(path), "--to", to),
        *("--endpoint", endpoint, *options),
    ]


def environment(**keys):
    clean = {name: value for name, value in os.environ.items() if name not in KEYS}
    paths = filter(None, (SOURCE, os.environ.get("PYTHONPATH", "")))
    return {**clean, "PYTHONPATH": os.pathsep.join(paths), **keys}


def replay(sink, path, to, *options, keys=KEYS):
    return subprocess.run(
        command(sink, path, to, *options),
        env=environment(**keys),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def shut_down_with_a_wrong_key(sink, path, events):
    """Both vendors answer 403 to everything until the dispatcher closes; the ids of the events."""

    async def main():
        dispatcher = Dispatcher(
            Datadog(
                api_key="wrong-key-of-mine",
                application_id="app",
                endpoint=sink.datadog_endpoint,
                id_attribute="insert_id",
            ),
            Freshpaint(token="wrong-token-of-mine", endpoint=sink.freshpaint_endpoint),
            dead_letters=path,
            shutdown_timeout=5,
        )
        async with dispatcher:
            ids = [
                dispatcher.track("x", user_id="u", properties={"n": n, "zoë": "ü\n\u2028"})
                for n in range(events)
            ]
        for stats in dispatcher.stats().destinations.values():
            assert (stats.dead_lettered, stats.submitted, stats.dropped) == (events, events, {})
        return ids

    return asyncio.run(main())


def letters_for(path, count, to="freshpaint"):
    """A file of letters as a dispatcher writes it, without one."""
    from sendoff.dead_letters import Parcel, lines_of

    bodies = [
        json.dumps(
            {
                "event": "x",
                "properties": {
                    "distinct_id": "u",
                    "token": None,
                    "time": 1_700_000_000,
                    "$insert_id": f"id-{n}",
                },
            }
            if to == "freshpaint"
            else {
                "application": {"id": "app"},
                "type": "server",
                "event": {"name": "x"},
                "usr": {"id": "u"},
                "insert_id": f"id-{n}",
            }
        ).encode()
        for n in range(count)
    ]
    parcel = Parcel(
        bodies=bodies,
        ids=[f"id-{n}" for n in range(count)],
        time=1_700_000_000.0,
        destination=to,
        reason="expired",
        status=503,
        detail="503",
    )
    path.write_bytes(b"".join(lines_of(parcel)))


def test_a_wrong_key_at_shutdown_then_a_replay_with_the_right_one(sink, tmp_path):
    """Everything that a 403 left is in the file, and arrives once at each vendor under its id."""
    path = tmp_path / "letters"
    ids = shut_down_with_a_wrong_key(sink, path, 700)
    assert (sink.ids("datadog"), sink.ids("freshpaint")) == ([], [])
    letters = list(read_letters(path))
    assert {(letter.reason, letter.status) for letter in letters} == {("shutdown", 403)}
    assert path.stat().st_mode & 0o777 == 0o600
    for to in IN_FLIGHT:
        answer = replay(sink, path, to)
        assert answer.returncode == 0, answer
        assert "700 sent in" in answer.stdout
        assert "700 are another vendor's" in answer.stdout
        assert sorted(sink.ids(to)) == sorted(ids)
        journal = tmp_path / f"letters.{to}.done"
        assert (journal.read_text().count("\n"), journal.stat().st_mode & 0o777) == (700, 0o600)
    again = replay(sink, path, "datadog")
    assert (again.returncode, "700 sent by an earlier replay" in again.stdout) == (0, True)
    assert len(sink.ids("datadog")) == 700


def test_the_metadata_of_letters_hold_no_key(sink, tmp_path):
    """The vendor's words are redacted, and nothing else of a letter beside the event has a key."""
    path = tmp_path / "letters"
    shut_down_with_a_wrong_key(sink, path, 3)
    for line in path.read_bytes().splitlines():
        letter = json.loads(line)
        assert letter.pop("event")
        assert "of-mine" not in json.dumps(letter)


@pytest.mark.parametrize("to", IN_FLIGHT)
def test_a_killed_replay_goes_on_where_it_was(sink, tmp_path, to):
    """SIGKILL half way and again: every id arrives, at most those in flight twice."""
    path = tmp_path / "letters"
    count = 6_000
    letters_for(path, count, to)
    sink.faults("latency 300ms")
    with subprocess.Popen(
        command(sink, path, to),
        env=environment(**KEYS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        journal = tmp_path / f"letters.{to}.done"
        deadline = time.monotonic() + PATIENCE
        while not journal.exists() or journal.read_bytes().count(b"\n") < count // 6:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    noted = journal.read_bytes().count(b"\n")
    sink.faults()
    assert noted < count
    answer = replay(sink, path, to)
    assert answer.returncode == 0, answer
    assert f"{count - noted:,} sent in" in answer.stdout
    assert f"{noted:,} sent by an earlier replay" in answer.stdout
    arrived = Counter(sink.ids(to))
    assert set(arrived) == {f"id-{n}" for n in range(count)}
    assert sum(arrived.values()) - count <= IN_FLIGHT[to]


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")],
)
def test_a_signal_ends_it_cleanly(sink, tmp_path, number, status, name):
    """
    A status of its own, nothing called lost or refused, whole lines in the journal; and the next
    replay sends the rest.
    """
    path = tmp_path / "letters"
    letters_for(path, 6_000)
    sink.faults("latency 300ms")
    journal = tmp_path / "letters.freshpaint.done"
    with subprocess.Popen(
        command(sink, path, "freshpaint"),
        env=environment(**KEYS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not journal.exists() or not journal.read_bytes():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert err.endswith(f"stopped by {name}; the same command goes on where it was\n")
    assert "left" in out
    assert "lost" not in err
    assert "given up" not in out
    lines = journal.read_bytes().split(b"\n")
    assert (lines.pop(), {len(line) for line in lines}) == (b"", {24})
    assert len(lines) == len(set(lines))
    sink.faults()
    assert replay(sink, path, "freshpaint").returncode == 0
    assert set(sink.ids("freshpaint")) == {f"id-{n}" for n in range(6_000)}


def test_a_wrong_key_ends_it_in_bounded_time(sink, tmp_path):
    """It says what was answered, notes nothing and exits with 1."""
    path = tmp_path / "letters"
    letters_for(path, 5)
    began = time.monotonic()
    answer = replay(sink, path, "freshpaint", "--timeout", "1", keys={"FRESHPAINT_TOKEN": "wrong"})
    assert time.monotonic() - began < PATIENCE / 2
    assert answer.returncode == 1
    assert "gave up: no progress for 1 s; the last word was forbidden (403" in answer.stderr
    assert "5 left" in answer.stdout
    assert (tmp_path / "letters.freshpaint.done").read_bytes() == b""


def test_an_option_wins_over_the_environment(sink, tmp_path):
    """`--token` and `--application-id` take the place of what an event and the environment have."""
    path = tmp_path / "letters"
    letters_for(path, 1)
    wrong = {"FRESHPAINT_TOKEN": "wrong", "DD_API_KEY": "wrong"}
    assert replay(sink, path, "freshpaint", "--token", "right", keys=wrong).returncode == 0
    letters_for(path, 1, "datadog")
    options = ("--api-key", "right", "--application-id", "other", "--site", "eu1")
    assert replay(sink, path, "datadog", *options, keys=wrong).returncode == 0
    assert sink.events("freshpaint")[0]["properties"]["token"] == "right"
    assert sink.events("datadog")[0]["application"] == {"id": "other"}


def test_what_is_refused_again_is_counted_and_stays(sink, tmp_path):
    """Exit 1 and a count by reason; the next replay tries those again, and only those."""
    path = tmp_path / "letters"
    letters_for(path, 20)
    sink.faults("400 first 3 on freshpaint")
    answer = replay(sink, path, "freshpaint")
    assert (answer.returncode, "3 given up again: refused" in answer.stdout) == (1, True)
    again = replay(sink, path, "freshpaint")
    assert (again.returncode, "3 sent in" in again.stdout) == (0, True)
    assert sorted(sink.ids("freshpaint")) == sorted(f"id-{n}" for n in range(20))


def test_torn_and_foreign_lines_are_counted_and_skipped(sink, tmp_path):
    """A crash's half line and somebody else's lines cost no letter."""
    path = tmp_path / "letters"
    letters_for(path, 3)
    whole = path.read_bytes()
    path.write_bytes(b'{"level": "info"}\n\xff\xfe\n' + whole + whole[:100] + b"\n" + whole[:50])
    answer = replay(sink, path, "freshpaint")
    assert answer.returncode == 0, answer
    assert "3 sent in" in answer.stdout
    assert "4 lines are no letters" in answer.stdout


def test_a_file_of_something_else_is_wrong_use(sink, tmp_path):
    """Lines of which none is a letter are no dead letters; an empty file has none."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"event": "x", "user_id": "u"}\n')
    answer = replay(sink, path, "freshpaint")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "holds no dead letters; none of its lines is one" in " ".join(answer.stderr.split())
    path.write_text("")
    assert replay(sink, path, "freshpaint").returncode == 0


def test_the_counts_as_json(sink, tmp_path):
    """One object on stdout; -q leaves nothing else on stderr."""
    path = tmp_path / "letters"
    letters_for(path, 3)
    answer = replay(sink, path, "freshpaint", "--json", "-q")
    counts = json.loads(answer.stdout)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (counts["sent"], counts["left"], counts["complete"]) == (3, 0, True)


def test_equal_letters_are_all_sent(sink, tmp_path):
    """Two letters that are the same to the byte are two events."""
    path = tmp_path / "letters"
    letters_for(path, 1, "datadog")
    path.write_bytes(path.read_bytes() * 3)
    assert "3 sent in" in replay(sink, path, "datadog").stdout
    assert sink.ids("datadog") == ["id-0"] * 3
    assert "3 sent by an earlier replay" in replay(sink, path, "datadog").stdout
    journal = tmp_path / "letters.datadog.done"
    journal.write_text(journal.read_text().partition("\n")[0] + "\n")
    assert "2 sent in" in replay(sink, path, "datadog").stdout


def test_two_replays_at_once(sink, tmp_path):
    """The second is refused with 2; one to the other vendor is not."""
    from sendoff.replay import Journal

    letters_for(tmp_path / "dead-letters.ndjson", 1)
    with Journal(tmp_path / "dead-letters.ndjson.freshpaint.done"):
        answer = replay(sink, tmp_path, "freshpaint")
        assert (answer.returncode, "another replay holds" in answer.stderr) == (2, True)
        assert replay(sink, tmp_path, "datadog").returncode == 0
    assert replay(sink, tmp_path, "freshpaint").returncode == 0


@pytest.mark.parametrize(
    ("options", "keys", "message"),
    [
        (("--to", "nobody"), KEYS, "'nobody' is not one of"),
        (("--to", "freshpaint"), {}, "token is not given and FRESHPAINT_TOKEN is not set"),
        (("--to", "datadog"), {}, "api_key is not given and DD_API_KEY is not set"),
        (("--to", "datadog", "--token", "t"), KEYS, "--token is for freshpaint"),
        (("--to", "freshpaint", "--site", "eu1"), KEYS, "--site is for datadog"),
        (("--to", "freshpaint", "--timeout", "0"), KEYS, "0.0 is not in the range"),
        (("--to", "freshpaint", "--endpoint", "ftp://x"), KEYS, "endpoint must be"),
    ],
)
def test_wrong_use_exits_with_2(tmp_path, options, keys, message):
    """The message names what is wrong."""
    path = tmp_path / "letters"
    path.touch()
    answer = subprocess.run(
        [sys.executable, "-m", "sendoff", "replay", str(path), *options],
        env=environment(**keys),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in answer.stderr


def test_a_directory_without_letters_is_wrong_use(sink, tmp_path):
    """The message names the file that is missing, and no journal is begun."""
    answer = replay(sink, tmp_path, "freshpaint")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "there is no file" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_cannot_be_written_stops_it(sink, tmp_path):
    """Nothing more is sent than what was under way, since it could not be noted."""
    from sendoff.replay import Journal, PlainScreen, Plan, destination_of, run

    def full(self, keys):
        raise OSError("the disk is full")

    path = tmp_path / "letters"
    letters_for(path, 5_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "note", full)
        outcome = run(
            Plan(path=path, to="freshpaint"),
            destination_of("freshpaint", token="right", endpoint=sink.freshpaint_endpoint),
            PlainScreen(),
        )
    assert (outcome.gave_up, outcome.complete) == (
        "the journal cannot be written: the disk is full",
        False,
    )
    assert len(sink.ids("freshpaint")) <= 128


def test_retry_is_that_of_the_vendor(sink, tmp_path):
    """An outage that ends within the time does not end a replay."""
    path = tmp_path / "letters"
    letters_for(path, 50)
    sink.faults("503 for 500ms")
    assert Retry().attempts > 1
    answer = replay(sink, path, "freshpaint")
    assert (answer.returncode, "50 sent in" in answer.stdout) == (0, True)


@pytest.mark.parametrize("columns", [100, 50])
def test_on_a_terminal_there_is_a_bar(sink, tmp_path, columns):
    """It fits the terminal, and leaves the cursor visible."""
    path = tmp_path / "letters"
    letters_for(path, 300)
    sink.faults("latency 50ms", "400 first 2 on freshpaint")
    clean = {name: value for name, value in environment(**KEYS).items() if name != "NO_COLOR"}
    drawn = on_a_terminal(command(sink, path, "freshpaint"), clean, columns)
    assert (drawn.status, drawn.cursor) == (1, (1, 1)), drawn.text
    assert "298/300" in drawn.plain
    assert "2 refused" in drawn.plain
    bars = [line for line in drawn.plain.splitlines() if "/300" in line]
    assert max(map(len, bars)) <= columns
