"""Events and acknowledgements as bytes: whatever is damaged, every undamaged record is found."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sendoff.spool.places import runs_of
from sendoff.spool.record import (
    FILE_MARK,
    Header,
    file_header,
    frame,
    frame_acks,
    parse,
    parse_acks,
    read_header,
)
from sendoff.spool.runs import Runs

QUICK = settings(derandomize=True, deadline=None, max_examples=100)

IDS = st.text(max_size=40)
BODIES = st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
EVENTS = st.lists(st.tuples(IDS, BODIES), min_size=1, max_size=8)


def framed(events):
    """Each event's record, numbered from 0."""
    return [frame(number, *event) for number, event in enumerate(events)]


def seen(parsed):
    return [(record.number, record.id, record.body) for record in parsed.records]


@QUICK
@given(events=EVENTS)
@example(events=[("\ud800", b"\xff\xfe\xffR")])
def test_what_was_written_is_read(events):
    """Numbers, ids and bodies come back, whatever is in them, and nothing is called damaged."""
    data = b"".join(framed(events))
    parsed = parse(data, final=True)
    assert seen(parsed) == [(number, *event) for number, event in enumerate(events)]
    assert parsed[1:] == (len(data), 0, False)


@QUICK
@given(events=EVENTS, data=st.data())
def test_a_prefix_keeps_every_whole_record(events, data):
    """A file that was cut off anywhere gives the records before the cut, and one damage at most."""
    records = framed(events)
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(whole)))
    parsed = parse(whole[:cut], final=True)
    ends = [sum(map(len, records[: n + 1])) for n in range(len(records))]
    good = [n for n, end in enumerate(ends) if end <= cut]
    assert [number for number, *_ in seen(parsed)] == good
    assert parsed.bad == (cut not in (0, *ends))


@QUICK
@given(events=EVENTS, data=st.data())
def test_a_flipped_bit_costs_the_record_it_is_in(events, data):
    """All others survive, also those behind it, and nothing is invented."""
    records = framed(events)
    whole = bytearray(b"".join(records))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    hit = next(n for n in range(len(records)) if bit // 8 < sum(map(len, records[: n + 1])))
    parsed = parse(bytes(whole), final=True)
    expected = [(n, *event) for n, event in enumerate(events) if n != hit]
    assert seen(parsed) == expected
    assert parsed.bad == 1


@QUICK
@given(events=EVENTS, junk=st.lists(st.binary(max_size=30), min_size=9, max_size=9))
def test_junk_between_records_hides_none_of_them(events, junk):
    """Other files' bytes, spliced in anywhere between, are passed over."""
    # A mark in the junk that claims to be a record has no right check sum.
    whole = junk[0] + b"".join(
        record + waste for record, waste in zip(framed(events), junk[1:], strict=False)
    )
    parsed = parse(whole, final=True)
    assert seen(parsed) == [(n, *event) for n, event in enumerate(events)]


@QUICK
@given(events=EVENTS, data=st.data())
def test_a_piece_of_another_file_invents_nothing(events, data):
    """Whatever is cut out and put elsewhere, each record that is read was written like that."""
    whole = b"".join(framed(events))
    one, two, at = (data.draw(st.integers(0, len(whole))) for _ in range(3))
    spliced = whole[:at] + whole[min(one, two) : max(one, two)] + whole[at:]
    written = {(n, *event) for n, event in enumerate(events)}
    assert set(seen(parse(spliced, final=True))) <= written


@QUICK
@given(events=EVENTS, junk=st.binary(max_size=40), window=st.integers(1, 90))
def test_reading_in_windows_finds_the_same(events, junk, window):
    """What is cut off by the end of a window is found in the next one; damage is counted once."""
    records = framed(events)
    middle = len(records) // 2
    whole = b"".join(records[:middle]) + junk + b"".join(records[middle:])
    found, bad, lost, at, size = [], 0, False, 0, window
    while True:
        final = at + size >= len(whole)
        parsed = parse(whole[at : at + size], final=final, lost=lost)
        found += seen(parsed)
        bad += parsed.bad
        lost = parsed.lost
        # As the reader does: more, if not even one record fits.
        size = window if parsed.end else size + window
        at += parsed.end
        if final:
            break
    together = parse(whole, final=True)
    assert (found, bad) == (seen(together), together.bad)


@pytest.mark.parametrize("name", ["datadog", "ä" * 40, "x" * 70_000, "\ud800"])
def test_a_header_names_its_destination(name):
    """Version and name come back, whatever follows; a very long name is cut."""
    header = file_header(name)
    known = name.encode("utf-8", "surrogatepass")[:0xFFFF].decode("utf-8", "replace")
    assert read_header(header + b"rest") == Header(1, known, len(header))


@QUICK
@given(bit=st.integers(0, len(file_header("datadog")) * 8 - 1))
def test_a_damaged_header_is_noticed(bit):
    """Any flipped bit."""
    header = bytearray(file_header("datadog"))
    header[bit // 8] ^= 1 << bit % 8
    assert read_header(bytes(header)) is None


@pytest.mark.parametrize("data", [b"", FILE_MARK, file_header("datadog")[:-1], b"{}" * 50])
def test_what_is_no_header_is_none(data):
    """Nothing, too little, or something else."""
    assert read_header(data) is None


# --- acknowledgements -----------------------------------------------------------------------------


RUNS = st.lists(
    st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)).map(lambda pair: (min(pair), max(pair)))
)


@QUICK
@given(runs=RUNS, data=st.data())
def test_a_damaged_acknowledgement_is_passed_over(runs, data):
    """Nothing is acknowledged that was not: better an event comes twice than never."""
    whole = bytearray(frame_acks(runs))
    assert parse_acks(bytes(whole)) == runs
    if whole:
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
        hit = bit // 8 // 16
        assert parse_acks(bytes(whole)) == runs[:hit] + runs[hit + 1 :]


@QUICK
@given(runs=RUNS, cut=st.integers(0, 15))
def test_a_torn_acknowledgement_hides_none_behind_it(runs, cut):
    """One that was not written whole, and others appended to it."""
    torn = frame_acks([(5, 9)])[:cut]
    assert parse_acks(torn + frame_acks(runs)) == runs


# --- runs -----------------------------------------------------------------------------------------


@QUICK
@given(
    runs=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).map(tuple)),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "cut"]), st.integers(0, 35)), max_size=30
    ),
)
def test_runs_are_a_set(runs, steps):
    """Adding, removing, cutting, counting and asking are a set's."""
    mine = Runs(runs)
    model = {number for first, last in runs for number in range(first, last + 1)}
    for step, number in steps:
        if step == "add" and number not in model:
            mine.add(number)
            model.add(number)
        elif step == "remove":
            assert mine.remove(number) == (number in model)
            model.discard(number)
        elif step == "cut":
            gone = {one for one in model if one <= number}
            assert mine.cut(number) == len(gone)
            model -= gone
        assert len(mine) == len(model)
        assert {one for one in range(40) if one in mine} == model
        assert [n for a, b in mine.pairs() for n in range(a, b + 1)] == sorted(model)


def test_numbers_in_order_make_one_run():
    """A million events behind a full memory are two numbers."""
    runs = Runs()
    for number in range(1_000):
        runs.add(number)
    assert runs.pairs() == [(0, 999)]


# --- places ---------------------------------------------------------------------------------------


@QUICK
@given(places=st.sets(st.tuples(st.integers(1, 3), st.integers(0, 12))))
def test_places_become_runs_of_their_segments(places):
    """Every place is in exactly one run, neighbours are in the same; what has no place is not."""
    packed = [key << 32 | number for key, number in places] + [-1, -1]
    fates = runs_of(packed)
    found = [
        (key, number)
        for key, runs in fates.items()
        for first, last in runs
        for number in range(first, last + 1)
    ]
    assert sorted(found) == sorted(places)
    for runs in fates.values():
        assert all(two[0] > one[1] + 1 for one, two in itertools.pairwise(runs))
