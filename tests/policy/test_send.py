"""What a row becomes, and which rows are still to be sent: the parts of `sendoff send` without I/O
but for a file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff.destinations.checks import insert_id_of
from sendoff.replay.journal import JournalBusyError
from sendoff.send import source
from sendoff.send.cells import time_reader, value_reader
from sendoff.send.dry import events_of
from sendoff.send.files import append, reject_line
from sendoff.send.items import BadRow, Body, Row, neutral
from sendoff.send.journal import RowJournal, RowSet, StrangeJournalError, runs_of
from sendoff.send.mapping import MappingError, parse_columns
from sendoff.send.ndjson import item_of
from sendoff.send.plan import Outcome, VendorOutcome, identity_from, identity_of, row_id
from sendoff.send.rows import WHITESPACE, Form, Rows
from sendoff.send.source import Content, Lines, SourceError, content_of

CDNOW = (
    "user_id=customer_id",
    "time=date:%Y%m%d",
    "properties.quantity=quantity:int",
    "properties.amount_usd=amount_usd:decimal",
)


@pytest.fixture
def opened(tmp_path):
    """Makes a descriptor that reads what it is given."""
    files = []

    def make(data):
        path = tmp_path / f"source{len(files)}"
        path.write_bytes(data)
        files.append(os.open(path, os.O_RDONLY))
        return files[-1]

    yield make
    for file in files:
        os.close(file)


def read(data, **form):
    """The rows of some bytes."""
    ours, theirs = os.pipe()
    try:
        os.write(theirs, data)
        os.close(theirs)
        return list(Rows(Lines(ours), Form(**form)))
    finally:
        os.close(ours)


def seen(row):
    return (row.number, row.item if row.error is None else row.error.reason)


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("", "007", "007"),
        ("int", "-12", -12),
        ("float", "1e3", 1000.0),
        ("decimal", "11.770", Decimal("11.770")),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("date", "1997-01-12", date(1997, 1, 12)),
        ("date:%Y%m%d", "19970112", date(1997, 1, 12)),
        ("datetime:%d.%m.%Y %H:%M", "12.01.1997 08:30", datetime(1997, 1, 12, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_cell_becomes_what_its_type_says(kind, text, value):
    """Each type has one strict form, and its value the type."""
    found = value_reader("c", kind)(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("int", text) for text in ("1_000", "1.0", " 1", "٣", "x")),
        *(("float", text) for text in ("nan", "inf", "1e999", "1,5", "0x1")),
        *(("decimal", text) for text in ("NaN", "1_0", "Infinity", "--1")),
        *(("bool", text) for text in ("2", "maybe")),
        *(("json", text) for text in ("{", "NaN", "[" * 100_000)),
        ("date:%Y%m%d", "1997-01-12"),
    ],
)
def test_a_cell_that_does_not_fit_is_a_bad_row(kind, text):
    """The reason is a word, and the message holds the column and not the cell."""
    with pytest.raises(BadRow) as caught:
        value_reader("the column", kind)(text)
    assert (caught.value.reason, "the column" in caught.value.detail) == ("type", True)
    assert text not in caught.value.detail.replace("the column", "").replace(kind, "")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-9, 9))
def test_numbers_come_back_as_they_were_written(value):
    """What Python writes for a number reads as that number."""
    kind = {int: "int", float: "float", Decimal: "decimal"}[type(value)]
    assert value_reader("c", kind)(str(value)) == value


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))
def test_every_form_of_a_moment_is_the_same_time(moment):
    """Epoch, milliseconds, ISO and a format agree to what they can say."""
    stamp = moment.replace(tzinfo=UTC).timestamp()
    assert time_reader("c", "epoch")(repr(stamp)) == stamp
    assert time_reader("c", "epoch_ms")(repr(stamp * 1_000)) == pytest.approx(stamp, abs=1e-4)
    assert time_reader("c", "")(moment.isoformat()) == stamp
    assert time_reader("c", "%Y-%m-%d %H:%M:%S.%f")(f"{moment:%Y-%m-%d %H:%M:%S.%f}") == stamp


def test_milliseconds_are_not_taken_for_seconds():
    """A time beyond the year 5000 costs the row, not the report."""
    with pytest.raises(BadRow, match="time"):
        time_reader("c", "epoch")("1700000000000")


# --- the mapping ----------------------------------------------------------------------------------


def test_a_row_of_the_real_file_becomes_its_event():
    """Ids stay text, amounts stay exact, the day is a moment in UTC."""
    bound = parse_columns(CDNOW, "Purchase").bind(["customer_id", "date", "quantity", "amount_usd"])
    assert bound(["00002", "19970112", "5", "77.00"]) == neutral(
        {"event": "Purchase", "user_id": "00002", "time": 853027200.0},
        {"quantity": 5, "amount_usd": Decimal("77.00")},
    )


@pytest.mark.parametrize(
    ("texts", "event", "message"),
    [
        (["user_id"], "x", "is not FIELD=COLUMN"),
        (["userid=c"], "x", "FIELD is one of event, user_id"),
        (["properties.=c"], "x", "is not FIELD=COLUMN"),
        (["user_id="], "x", "is not FIELD=COLUMN"),
        (["user_id=c:int"], "x", "user_id is text and takes no type"),
        (["properties.a=c:number"], "x", "a type is one of str, int"),
        (["properties.a=c:int:%Y"], "x", "a type is one of"),
        (["time=c:yesterday"], "x", "a time is one of epoch, epoch_ms, iso or a format"),
        (['user_id="c'], "x", "the quotes of the column's name do not end"),
        (['user_id="c"x'], "x", "nothing but :TYPE"),
        ([], "", "must not be empty"),
    ],
)
def test_a_mapping_that_makes_no_sense_says_what_may_stand_there(texts, event, message):
    """The error names the text and the choices."""
    with pytest.raises(MappingError, match=message):
        parse_columns(texts, event)


@pytest.mark.parametrize(
    ("texts", "event", "header", "message"),
    [
        (["user_id=who"], "x", ["a", "b"], "column 'who' is not in the file; the file has a, b"),
        (["user_id=a"], "x", ["a", "a"], "column 'a' is there twice"),
        (["user_id=a", "user_id=b"], "x", ["a", "b"], "user_id is mapped twice"),
        (["user_id=a"], None, ["a"], "nothing names the events: give --event NAME"),
        (["event=a"], "x", ["a"], "not both"),
        (["properties.*"], "x", ["a", ""], "its name is empty"),
        (["properties.*"], "x", ["a", "a"], "there twice"),
        (["properties.*", "properties.b=a"], "x", ["a", "b"], "properties.b is mapped twice"),
    ],
)
def test_a_mapping_that_does_not_fit_is_found_before_the_first_row(texts, event, header, message):
    """Nothing is sent under a mapping that means something else."""
    with pytest.raises(MappingError, match=message):
        parse_columns(texts, event).bind(header)


def test_without_a_mapping_names_are_taken_at_their_word():
    """Columns called like fields are these, all others are properties; empty cells are no value."""
    bound = parse_columns(()).bind(["event", "user_id", "properties.a", "b", "time"])
    event = bound(["x", "u", "1", "", "2024-01-01"])
    assert event == neutral({"event": "x", "user_id": "u", "time": 1704067200.0}, {"a": "1"})


def test_a_quoted_name_may_hold_a_colon():
    """`"a:b":int` is the column a:b."""
    bound = parse_columns(['properties.n="a:b":int'], "x").bind(["a:b"])
    assert bound(["3"]).properties == {"n": 3}


def test_own_ids_are_those_that_vendors_take():
    """An insert_id that would be refused later costs the row now."""
    bound = parse_columns(["insert_id=i"], "x").bind(["i"])
    assert bound(["ab-1"]).id == "ab-1"
    with pytest.raises(BadRow, match="insert_id"):
        bound(["a b"])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(NAMES, min_size=1, max_size=5, unique=True),
    st.data(),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
)
def test_whatever_the_csv_module_writes_reads_as_it_was(names, data, delimiter, packed):
    """A table written by Python comes back as events, gzipped or not: quotes, newlines, all."""
    cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8)
    rows = data.draw(
        st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=5)
    )
    names = [f"n{name}".strip() for name in names]
    if len(set(names)) < len(names):
        return
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *rows])
    body = out.getvalue().encode()
    body = gzip.compress(body) if packed else body
    columns = parse_columns(["properties.*"], "x")
    found = read(body, columns=columns, delimiter=delimiter, kind="csv")
    wanted = [{name: cell for name, cell in zip(names, row, strict=True) if cell} for row in rows]
    assert [row.item.properties for row in found] == wanted
    assert [row.number for row in found] == list(range(1, len(rows) + 1))


# --- rows -----------------------------------------------------------------------------------------


def test_bad_records_cost_themselves():
    """What is no record, has other columns, is no UTF-8 or does not fit its type is alone in it."""
    body = b'a,n\nok,1\n"x"y,2\none\n\xff\xfe,3\nb,c\n\n"two\nlines",4\n'
    columns = parse_columns(["user_id=a", "properties.n=n:int"], "x")
    found = [seen(row) for row in read(body, columns=columns)]
    assert found == [
        (1, neutral({"event": "x", "user_id": "ok"}, {"n": 1})),
        (2, "csv"),
        (3, "columns"),
        (4, "encoding"),
        (5, "type"),
        (6, neutral({"event": "x", "user_id": "two\nlines"}, {"n": 4})),
    ]


def test_a_rejected_row_keeps_its_text():
    """It can be mended and sent as a file of its own."""
    body = b"a,n\nx,one\n"
    row = read(body, columns=parse_columns(["properties.n=n:int"], "x"))[0]
    line = json.loads(reject_line(row, row.error))
    detail = "column n is no int"
    assert line == {"row": 1, "to": None, "reason": "type", "detail": detail, "text": "x,one"}


def test_without_a_header_columns_are_positions():
    """The first line is a row, and whitespace is any run of blanks, as in CDNOW's own file."""
    body = b" 00001 19970101  1   11.77\r\n 00002 19970112  5   77.00\n"
    columns = parse_columns(["user_id=1", "properties.amount=4:decimal"], "Purchase")
    found = read(body, columns=columns, header=False, delimiter=WHITESPACE)
    assert [(row.number, row.item.user_id, row.item.properties) for row in found] == [
        (1, "00001", {"amount": Decimal("11.77")}),
        (2, "00002", {"amount": Decimal("77.00")}),
    ]


def test_a_line_that_is_too_long_is_cut_out(monkeypatch):
    """It costs itself, in both forms, and no more memory than the limit."""
    for module in (source, __import__("sendoff.send.rows", fromlist=["rows"])):
        monkeypatch.setattr(module, "MAX_LINE", 100)
    long = b"x" * 300_000
    with_long = b'{"event": "a"}\n{"event": "' + long + b'"}\n{"event": "b"}\n'
    assert [row.error and row.error.reason for row in read(with_long[:200])] == [None, "too_long"]
    columns = parse_columns(["user_id=u"], "x")
    found = read(b"u\na\n" + b"y" * 300 + b"\nb\n", columns=columns)
    assert [(row.number, row.item and row.item.user_id) for row in found] == [
        (1, "a"),
        (2, None),
        (3, "b"),
    ]


@pytest.mark.parametrize(
    ("body", "form", "message"),
    [
        (b'{"event": "x"}\n', {"columns": parse_columns((), "x")}, "this is NDJSON"),
        (b"a,b\n", {}, "nothing names the events"),
        (b'"a\n', {"columns": parse_columns((), "x")}, "the first line is no record"),
    ],
)
def test_a_file_of_the_wrong_form_is_found_at_once(body, form, message):
    """Before anything is sent."""
    with pytest.raises(MappingError, match=message):
        read(body, **form)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter):
    """The message says what may stand there."""
    with pytest.raises(MappingError, match="one character, tab or whitespace"):
        Form(delimiter=delimiter)


def test_nothing_is_nothing():
    """An empty file has no rows, and is no error."""
    assert read(b"") == read(b"\n \n") == read(gzip.compress(b"")) == []


# --- NDJSON ---------------------------------------------------------------------------------------


def test_lines_become_events_bodies_and_identifications():
    """Each vendor's own shape is its own; what is left is neutral."""
    datadog = {"application": {"id": "a"}, "event": {"name": "x"}, "type": "server"}
    freshpaint = {"event": "x", "properties": {"distinct_id": "u"}}
    own = {"event": "x", "user_id": "u", "time": "2024-01-01T00:00:00Z", "insert_id": "i-1"}
    assert item_of(json.dumps(datadog)) == Body("datadog", datadog)
    assert item_of(json.dumps(freshpaint)) == Body("freshpaint", freshpaint)
    assert item_of(json.dumps({**own, "properties": {"distinct_id": "mine"}})) == neutral(
        {**own, "time": 1704067200.0}, {"distinct_id": "mine"}
    )
    identify = {"type": "identify", "user_id": "u", "properties": {"plan": "pro"}}
    assert item_of(json.dumps(identify)) == neutral(
        {"user_id": "u"}, {"plan": "pro"}, identify=True
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "json"),
        ('{"event": "x"', "json"),
        ('{"event": "x", "properties": {"n": NaN}}', "json"),
        ('{"event": "x", "userId": "u"}', "field"),
        ('{"event": ""}', "event"),
        ('{"user_id": "u"}', "event"),
        ('{"type": "alias", "event": "x"}', "type"),
        ('{"type": "identify", "event": "x"}', "event"),
        ('{"event": "x", "time": "soon"}', "time"),
        ('{"event": "x", "time": 1700000000000}', "time"),
        ('{"event": "x", "time": true}', "time"),
        ('{"event": "x", "insert_id": "a b"}', "insert_id"),
    ],
)
def test_a_line_that_is_no_event_says_why(line, reason):
    """A misspelt field is an error, not a property that nobody finds."""
    with pytest.raises(BadRow) as caught:
        item_of(line)
    assert caught.value.reason == reason


GOOD = st.dictionaries(NAMES, st.integers() | st.text(max_size=5) | st.none(), max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(GOOD.map(lambda p: ("good", p)), st.sampled_from([("bad", "{]"), ("", "")]))
    ),
    st.booleans(),
)
def test_rows_are_numbered_by_line_whatever_stands_between(lines, packed):
    """The model: good lines are events with their line's number, bad ones are counted, blank are
    nobody's."""
    texts = [
        json.dumps({"event": "x", "user_id": "u", "properties": what}) if kind == "good" else what
        for kind, what in lines
    ]
    body = "\n".join(texts).encode()
    found = read(gzip.compress(body) if packed else body, kind="ndjson")
    wanted = [
        (number, what if kind == "good" else "json")
        for number, (kind, what) in enumerate(lines, 1)
        if kind
    ]
    assert [
        (row.number, row.error.reason if row.error else row.item.properties) for row in found
    ] == (wanted)


def test_a_dry_run_prints_what_it_would_send_again(tmp_path):
    """Its lines are NDJSON of the same events."""
    path = tmp_path / "p.csv"
    path.write_text("customer_id,date,quantity,amount_usd\n00002,19970112,5,77.00\n00003,x,1,1\n")
    (line, _), (error, is_error) = events_of(path, Form(columns=parse_columns(CDNOW, "Purchase")))
    assert item_of(line) == neutral(
        {"event": "Purchase", "user_id": "00002", "time": 853027200.0},
        {"quantity": 5, "amount_usd": 77.0},
    )
    assert (error, is_error) == ("row 2: time: column date is no time of the form %Y%m%d", True)


# --- sources --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=3),
    st.sampled_from([1, 2, 7, 64]),
    st.booleans(),
)
def test_lines_are_those_of_the_bytes_however_they_come(data, cuts, block, packed):
    """Any blocks, any number of gzip members, zeros behind them: the lines are the same."""
    if data.startswith(b"\x1f\x8b"):
        return
    whole = data
    if packed:
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        parts = [data[a:b] for a, b in itertools.pairwise(places)] or [b""]
        whole = b"".join(map(gzip.compress, parts)) + b"\0" * 5
    ours, theirs = os.pipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        os.write(theirs, whole)
        os.close(theirs)
        found = list(Lines(ours))
        os.close(ours)
    assert found == io.BytesIO(data).readlines()


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:20] + b"x" * 40])
def test_damaged_gzip_is_an_error(opened, damage):
    """Half a file is not taken for a whole one."""
    with pytest.raises(SourceError, match="gzip data"):
        content_of(opened(damage(gzip.compress(os.urandom(5_000)))))


def test_the_same_contents_have_the_same_digest(opened):
    """Gzipped or not; and what is appended later is not read."""
    plain, packed = opened(b"a\nb\n"), opened(gzip.compress(b"a\nb\n"))
    content = content_of(plain)
    assert (content.lines, content.size) == (2, 4)
    assert content.digest == content_of(packed).digest
    assert isinstance(content, Content)
    assert list(Lines(opened(b"a\nb\nc\n"), content.size)) == [b"a\n", b"b\n"]


# --- ids and journals -----------------------------------------------------------------------------


def test_ids_are_of_the_contents_the_mapping_and_the_row():
    """Equal in every run, different for another mapping, and such as every vendor takes."""
    one = Form(columns=parse_columns(["user_id=a", "properties.b=b"], "x"))
    same = Form(columns=parse_columns(["properties.b=b", "user_id=a"], "x"), kind="csv")
    other = Form(columns=parse_columns(["user_id=a"], "x"))
    assert identity_of(b"d", one) == identity_of(b"d", same) != identity_of(b"d", other)
    assert identity_of(b"d", one) != identity_of(b"e", one)
    text = row_id(identity_of(b"d", one), 10**15 - 1)
    assert (insert_id_of(text), len(text)) == (text, 36)
    assert identity_from(identity_of(b"d", one)) == identity_of(b"d", one)
    assert identity_from("mine") == identity_from("mine") != identity_from("yours")


@given(st.sets(st.integers(0, 5_000)))
def test_a_set_of_rows_is_a_set(numbers):
    """Bits and numbers agree, and runs are what they were made of."""
    rows = RowSet()
    for number in [*numbers, *numbers]:
        rows.add(number)
    assert (len(rows), {n for n in range(5_100) if n in rows}) == (len(numbers), numbers)
    runs = list(runs_of(numbers))
    assert [n for first, last in runs for n in range(first, last + 1)] == sorted(numbers)
    assert all(b[0] - a[1] > 1 for a, b in itertools.pairwise(runs))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.integers(1, 2_000), min_size=1, max_size=9))),
    st.integers(0, 40),
)
def test_a_torn_journal_notes_no_row_that_was_not(tmp_path_factory, notes, torn):
    """What is cut off costs a row its note, which sends it again; it never makes up one."""
    path = tmp_path_factory.mktemp("j") / "journal"
    with RowJournal(path, "a" * 20) as journal:
        head = path.stat().st_size
        for sent, numbers in notes:
            (journal.note if sent else journal.note_given_up)(numbers)
    os.truncate(path, max(head, path.stat().st_size - torn))
    sent = set().union(*(numbers for sent, numbers in notes if sent))
    given_up = set().union(*(numbers for sent, numbers in notes if not sent))
    with RowJournal(path, "a" * 20) as journal:
        found = {n for n in range(2_001) if n in journal.sent}
        cast_out = {n for n in range(2_001) if n in journal.given_up}
        assert found <= sent
        assert cast_out <= given_up
        assert torn or (found, cast_out) == (sent, given_up)
        journal.note([1_999, 2_000])
    with RowJournal(path, "a" * 20) as journal:
        assert found | {1_999, 2_000} == {n for n in range(2_001) if n in journal.sent}


def test_a_journal_belongs_to_one_identity_and_one_run(tmp_path):
    """Another mapping's is refused, with the words that go on; so is one that is held."""
    path = tmp_path / "journal"
    again = RowJournal(path, "a" * 20)
    with (
        RowJournal(path, "a" * 20),
        pytest.raises(JournalBusyError, match="another run holds"),
        again,
    ):
        pass
    with pytest.raises(StrangeJournalError, match=f"--identity {'a' * 20}"), RowJournal(path, "b"):
        pass
    path.write_text("my own notes\n")
    with pytest.raises(StrangeJournalError, match="no journal"), RowJournal(path, "b"):
        pass
    assert (path.read_text(), path.stat().st_mode & 0o077) == ("my own notes\n", 0)


def test_lines_go_behind_a_torn_one(tmp_path):
    """A file of rejects or dead letters is whole lines, but for what a crash tore."""
    path = tmp_path / "rejects"
    append(path, b'{"half')
    append(path, reject_line(Row(1, "\ud800é"), BadRow("x", "y"), "datadog"))
    assert path.read_bytes().startswith(b'{"half\n{"row": 1, "to": "datadog"')
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_outcome_is_complete_only_if_nothing_is_missing():
    """Each thing that can be missing shows, and in the summary too."""
    whole = Outcome(identity="a", rows=3, finished=True, vendors={"datadog": VendorOutcome(sent=3)})
    assert whole.complete
    for flaw in (
        {"finished": False},
        {"bad": {"json": 1}},
        {"gave_up": "x"},
        *(
            {"vendors": {"datadog": VendorOutcome(sent=2, **part)}}
            for part in ({"rejected": {"r": 1}}, {"refused": {"r": 1}}, {"left": 1})
        ),
    ):
        values = {"identity": "a", "rows": 3, "finished": True, "vendors": whole.vendors}
        assert not Outcome(**{**values, **flaw}).complete, flaw
    assert whole.summary() == ["3 rows read in 0.0 s", "datadog: 3 sent in 0 requests"]


def test_a_cell_may_be_longer_than_the_csv_modules_own_limit(opened):
    """JSON in a cell is; the limit is the process's, and whoever lowered it is overruled."""
    before = csv.field_size_limit(131_072)
    try:
        long = "x" * 200_000
        descriptor = opened(f"event,user_id,properties.a\nx,u,{long}\n".encode())
        (row,) = Rows(Lines(descriptor), Form())
    finally:
        csv.field_size_limit(before)
    assert (row.error, row.item.properties) == (None, {"a": long})
