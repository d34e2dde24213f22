"""
The file of dead letters: what a line says, what a reader makes of any bytes, how it is appended to.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sendoff
from sendoff import DeadLetters, Letter, OptionError, read_letters
from sendoff._letters import FULL, LATE, LetterBox, append
from sendoff.dead_letters import MAX_LINE, Parcel, letter_of, lines_of

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
NOW = 1_700_000_000.25
BODY = b'{"event":"x","properties":{"n":1}}'


def lines(*bodies, ids=None, **fields):
    fields = {
        "time": NOW,
        "destination": "datadog",
        "reason": "refused",
        "status": 400,
        "detail": "400 Bad",
        **fields,
    }
    ids = ids or [f"id-{n}" for n in range(len(bodies))]
    return lines_of(Parcel(bodies=bodies, ids=ids, **fields))


def test_a_line_can_be_read_by_a_person():
    """One JSON object on one line, with the event as it would have been sent."""
    assert lines(BODY)[0].decode() == (
        '{"time": "2023-11-14T22:13:20.250Z", "destination": "datadog", "id": "id-0", '
        '"reason": "refused", "status": 400, "detail": "400 Bad", '
        '"event": {"event":"x","properties":{"n":1}}}\n'
    )


@pytest.mark.parametrize(
    "body", [b"plain", b"", b'"text"', b"[1]", b'{"a":1', b'{"a":\n1}', b"{\xff}", b'{"a":NaN}']
)
def test_a_body_that_is_no_object_goes_as_base64(body):
    """Whatever a destination encodes to, the line is whole JSON, and the body comes back."""
    fields = json.loads(lines(body)[0])
    assert "event" not in fields
    assert base64.b64decode(fields["event_base64"]) == body
    assert letter_of(lines(body)[0]).body == body


texts = st.text(max_size=20)
bodies = st.one_of(
    st.binary(max_size=30),
    st.dictionaries(texts, st.one_of(texts, st.integers(), st.none()), max_size=3).map(
        lambda event: json.dumps(event).encode()
    ),
)
letters = st.tuples(bodies, texts, texts, st.none() | st.integers(100, 599), texts, texts)


@QUICK
@given(letters)
def test_what_is_written_is_read(letter):
    """Any id, words and body come back as they were."""
    body, event_id, reason, status, detail, destination = letter
    (line,) = lines(
        body, ids=[event_id], reason=reason, status=status, detail=detail, destination=destination
    )
    read = letter_of(line)
    assert (read.id, read.reason, read.status) == (event_id, reason, status)
    assert (read.detail, read.destination) == (detail, destination)
    assert (read.body == body) if read.event is None else (read.event == json.loads(body))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("letters")


@QUICK
@given(
    st.lists(
        st.tuples(st.sampled_from(["letter", "torn", "foreign"]), st.integers(1, 10_000)),
        max_size=12,
    ),
    st.booleans(),
)
def test_a_reader_finds_every_letter_in_a_torn_file(directory, pieces, last_is_torn):
    """The whole lines come back in order, and everything else is one None a line."""
    data, expected = b"", []
    for number, (kind, seed) in enumerate(pieces):
        (line,) = lines(json.dumps({"n": number}).encode(), ids=[f"id-{number}"])
        if kind == "letter":
            data += line
            expected.append(f"id-{number}")
        elif kind == "torn":  # a crash; the next writer began on a fresh line
            data += line[: 1 + seed % (len(line) - 2)] + b"\n"
            expected.append(None)
        else:
            data += [b"\xff\xfe", b"null", b"[[", b'{"id": 1}', b"1e999"][seed % 5] + b"\n"
            expected.append(None)
    if last_is_torn:
        data += lines(BODY)[0][:40]
        expected.append(None)
    path = directory / "file"
    path.write_bytes(data)
    assert [letter and letter.id for letter in read_letters(path)] == expected


@QUICK
@given(st.binary(max_size=300))
def test_a_reader_takes_any_bytes(directory, data):
    """Whatever is in the file, reading it does not raise, and finds no letter that is none."""
    path = directory / "any"
    path.write_bytes(data)
    assert set(read_letters(path)) <= {None}


def test_a_line_beyond_all_bounds_is_one_that_is_no_letter(tmp_path):
    """It is skipped in pieces, and what stands behind it is read."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * (2 * MAX_LINE + 5) + b"\n" + lines(BODY)[0])
    assert [letter and letter.id for letter in read_letters(path)] == [None, "id-0"]


@pytest.mark.parametrize(
    "change",
    [{"id": 1}, {"status": "400"}, {"detail": None}, {"event": []}, {"event_base64": "%"}],
)
def test_a_letter_has_its_types(change):
    """A line with a field of another type is no letter."""
    assert letter_of(json.dumps({**json.loads(lines(BODY)[0]), **change}).encode()) is None


def test_a_letter_hides_its_event():
    """It holds the caller's data."""
    letter = letter_of(lines(b'{"s3cret": 1}')[0])
    assert isinstance(letter, Letter)
    assert "s3cret" not in repr(letter)


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", None, 3, b"bytes", "a\0b"])
def test_a_wrong_path_is_refused(path):
    """The message names the option."""
    with pytest.raises(OptionError, match="dead_letters must be a non-empty path"):
        DeadLetters(path)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "1"])
def test_a_wrong_size_is_refused(size):
    """The message names the option and the limit."""
    with pytest.raises(OptionError, match=r"DeadLetters\.max_bytes must be a whole number of at"):
        DeadLetters("file", max_bytes=size)


def test_a_path_is_a_file_or_a_directory(tmp_path, monkeypatch):
    """In a directory it is `dead-letters.ndjson`; a relative path stays what it was."""
    assert DeadLetters(tmp_path).file == tmp_path / "dead-letters.ndjson"
    assert DeadLetters(tmp_path / "x").file == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    letters = DeadLetters("x")
    monkeypatch.chdir("/")
    assert letters.file == tmp_path / "x"


# --- appending ------------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone(tmp_path):
    """0600, whatever the mask of the process allows."""
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        assert append(path, [b"a\n"], 100) == 1
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_behind_a_torn_line_a_new_one_begins(tmp_path):
    """The half line of a crash spoils no other."""
    path = tmp_path / "file"
    path.write_bytes(b"whole\nhal")
    append(path, [b"next\n"], 100)
    append(path, [b"last\n"], 100)
    assert path.read_bytes() == b"whole\nhal\nnext\nlast\n"


@QUICK
@given(
    st.binary(max_size=40),
    st.lists(st.binary(min_size=1, max_size=10), max_size=8),
    st.integers(1, 60),
)
def test_the_file_never_passes_its_limit(directory, before, pieces, limit):
    """
    As many of the first lines as fit are written, whole; a file that is too long stays as it is.
    """
    path = directory / "limited"
    path.write_bytes(before)
    batch = [piece.replace(b"\n", b".") + b"\n" for piece in pieces]
    written = append(path, batch, limit)
    after = path.read_bytes()
    fresh = b"\n" if before and before[-1:] != b"\n" else b""
    assert after == before + (fresh if written else b"") + b"".join(batch[:written])
    assert len(after) <= max(limit, len(before))
    if written < len(batch):
        whole = len(before) + len(fresh) + len(b"".join(batch[: written + 1]))
        assert whole > limit


def test_a_disk_that_fills_within_a_write_leaves_whole_lines(tmp_path, monkeypatch):
    """The beginning that was written is taken back, and nothing counts as written."""
    path = tmp_path / "file"
    append(path, [b"first\n"], 100)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    with pytest.raises(OSError, match="No space") as caught:
        append(path, [b"second\n"], 100)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"first\n"


def test_what_is_no_file_is_refused(tmp_path):
    """A pipe or a device in the file's place does not block."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="no regular file"):
            append(path, [b"x\n"], 100)


def test_the_files_end_is_looked_at_under_the_lock(tmp_path, monkeypatch):
    """What another process wrote while this one waited for its turn counts."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 90 + b"\n")

    def wait_for_turn(file, operation):
        assert operation == fcntl.LOCK_EX
        with path.open("ab") as other:
            other.write(b"torn")

    monkeypatch.setattr(fcntl, "flock", wait_for_turn)
    assert append(path, [b"1234\n"], 100) == 0
    assert append(path, [b"1234\n"], 105) == 1
    assert path.read_bytes() == b"a" * 90 + b"\ntorntorn\n1234\n"


def test_processes_share_a_file(tmp_path):
    """Four at once: whole lines, every one there, and never above the limit."""
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from sendoff._letters import append\n"
        "name = sys.argv[2].encode()\n"
        "lines = [name + b'-%d-%d\\n' % (n, m) for n in range(200) for m in range(3)]\n"
        "print(sum(append(Path(sys.argv[1]), lines[n:n + 3], 15_000) for n in range(0, 600, 3)))\n"
    )
    root = str(Path(sendoff.__file__).parents[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), f"writer{number}"],
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    written = sum(int(process.communicate(timeout=60)[0]) for process in running)
    data = path.read_bytes()
    found = data.split(b"\n")[:-1]
    assert len(found) == len(set(found)) == written
    assert all(len(line.split(b"-")) == 3 for line in found)
    assert 14_900 < len(data) <= 15_000


# --- the box --------------------------------------------------------------------------------------


class Post:
    """A box, with what was settled and how often it rang."""

    def __init__(self, path, **options):
        self.rings, self.settled = 0, []
        self.box = LetterBox(DeadLetters(path, **options), self.ring)

    def ring(self):
        self.rings += 1

    def give(self, *bodies, detail="d", name="datadog"):
        ids = [f"id-{n}" for n in range(len(bodies))]

        def settled(written, fault):
            self.settled.append((len(bodies), written, fault))

        parcel = Parcel(
            bodies=bodies,
            ids=ids,
            time=NOW,
            destination=name,
            reason="refused",
            status=400,
            detail=detail,
        )
        self.box.post(parcel, settled)


def test_a_box_rings_once_and_writes_all(tmp_path):
    """Once is enough until somebody looks; every parcel is settled with what was written of it."""
    post = Post(tmp_path / "file")
    post.give(BODY, BODY)
    post.give(BODY)
    assert post.rings == 1
    post.box.deliver()
    assert post.settled == [(2, 2, None), (1, 1, None)]
    post.give(BODY)
    assert post.rings == 2
    assert len(list(read_letters(tmp_path / "file"))) == 3


def test_a_parcel_that_fits_in_part_is_settled_in_part(tmp_path):
    """The first events are in the file, the others are not, and that is said."""
    post = Post(tmp_path / "file", max_bytes=2 * len(lines(BODY)[0]))
    post.give(BODY, BODY, BODY)
    post.give(BODY)
    post.box.deliver()
    (size,) = {len(line) for line in (tmp_path / "file").read_bytes().splitlines()}
    assert post.settled == [(3, 2, FULL), (1, 0, FULL)], size


@pytest.mark.parametrize(
    ("place", "words"),
    [("missing/file", "No such file or directory"), ("pipe", "no regular file")],
)
def test_a_file_that_cannot_be_written_is_a_fault(tmp_path, place, words):
    """Nothing raises; the parcel is settled with the system's word for it."""
    os.mkfifo(tmp_path / "pipe")
    post = Post(tmp_path / place)
    post.give(BODY)
    post.box.deliver()
    assert post.settled == [(1, 0, words)]


def test_words_that_have_no_json_form_are_a_fault(tmp_path):
    """A verdict of somebody's own destination may hold anything; the next parcel is written."""
    post = Post(tmp_path / "file")
    post.give(BODY, detail=object())
    post.give(BODY)
    post.box.deliver()
    assert post.settled == [(1, 0, "TypeError"), (1, 1, None)]


def test_what_there_is_no_time_for_is_settled_too(tmp_path):
    """`give_up` settles what is not begun, and what is being written is settled by its writer."""
    post = Post(tmp_path / "file")
    post.give(BODY)
    post.box.give_up()
    post.box.deliver()
    assert post.settled == [(1, 0, LATE)]
    assert not (tmp_path / "file").exists()


def test_two_threads_settle_every_parcel_once(tmp_path):
    """A last call after a close may meet an earlier one."""
    post = Post(tmp_path / "file")
    for _ in range(300):
        post.give(BODY)
    threads = [threading.Thread(target=post.box.deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert post.settled == [(1, 1, None)] * 300
    assert len(list(read_letters(tmp_path / "file"))) == 300
