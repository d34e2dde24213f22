"""
Log lines under stable names: every one has its entry in the table, and a JSON formatter shows it.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import re
from pathlib import Path

import pytest

import sendoff
from sendoff import Retry, _lines, bind
from sendoff._lines import FIELDS, LINES, Line
from sendoff._log import write
from virtual import Vendors, datadog, dispatcher, freshpaint, run

ROOT = Path(sendoff.__file__).parent
BY_EVENT = {line.event: line for line in LINES}
CONSTANTS = {name: line for name, line in vars(_lines).items() if isinstance(line, Line)}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def test_names_and_fields_are_well_formed() -> None:
    """Dotted names, each once; every field has its meaning; the text has no more places."""
    assert len(BY_EVENT) == len(LINES) == len(CONSTANTS)
    for line in LINES:
        assert line.event.startswith("sendoff.")
        assert line.event.count(".") == 2
        assert set(line.fields) <= set(FIELDS)
        assert line.places <= len(line.fields)
        assert set(line.level.split(", ")) <= {"warning", "error"}
    used = {field for line in LINES for field in line.fields}
    assert set(FIELDS) - used == {"event", "repeats"}


def calls() -> list[tuple[str, ast.Call, str, str]]:
    """
    All calls of methods and functions by a plain name: file, call, owner, name.
    """
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                owner, _, name = ast.unparse(node.func).rpartition(".")
                found.append((str(path.relative_to(ROOT)), node, owner, name))
    return found


def test_every_log_call_has_a_name_in_the_table() -> None:
    """By the table's constants; where only public names may be used, by `extra`."""
    used = set()
    for file, call, owner, name in calls():
        place = f"{file}:{call.lineno}"
        text = owner.rpartition(".")[2]
        if file == "_log.py":
            continue
        if name in LEVELS and text in ("logger", "_logger", "logging"):
            extra = {one.arg: one.value for one in call.keywords}.get("extra")
            assert isinstance(extra, ast.Dict), place
            keys = {key.value: value for key, value in zip(extra.keys, extra.values, strict=True)}
            line = BY_EVENT[keys.pop("sendoff_event").value]
            assert line.text == ast.literal_eval(call.args[0]), place
            assert set(keys) == {f"sendoff_{field}" for field in line.fields}, place
            used.add(line)
            continue
        at = {"write": 0, "fault": 1, "call": 1, "log": 1}.get(name)
        if (owner, name) == ("", "write") or text in ("log", "_log") or name == "log":
            line_of = call.args[at]
            assert isinstance(line_of, ast.Name), place
            if line_of.id != "line":  # handed on
                line = CONSTANTS[line_of.id]
                given = len(call.args) - at - 1
                # An intake puts its own name in front.
                own = name == "log" and not any(isinstance(one, ast.Starred) for one in call.args)
                assert given + own == len(line.fields), place
                used.add(line)
    assert used == set(LINES)


class JsonLines(logging.Handler):
    """
    As a JSON formatter does it: whatever a record has under our prefix.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def emit(self, record: logging.LogRecord) -> None:
        own = {key: value for key, value in vars(record).items() if key.startswith("sendoff_")}
        self.lines.append(json.loads(json.dumps({"message": record.getMessage(), **own})))


@pytest.fixture
def lines():
    handler = JsonLines()
    logging.getLogger("sendoff").addHandler(handler)
    yield handler.lines
    logging.getLogger("sendoff").removeHandler(handler)


def test_what_happens_is_told_in_fields(lines) -> None:
    """An overflow, a rejection, a failure with its status, and what is left at the end."""

    async def main() -> None:
        vendors = Vendors(lambda *_: 503)
        d = dispatcher(vendors, freshpaint(retry=Retry(attempts=2)), max_queue_events=1)
        await d.start()
        d.track("", user_id="u")
        d.track("e", user_id="u", to="nowhere")
        d.track("e", user_id="u")
        d.track("e", user_id="u")
        await asyncio.sleep(0.01)
        await d.aclose(timeout=0)

    run(main())
    bare = [{key.removeprefix("sendoff_"): value for key, value in one.items()} for one in lines]
    assert [one.pop("message") for one in bare if one["event"] != "sendoff.request.failed"]
    assert [one for one in bare if one["event"] != "sendoff.request.failed"] == [
        {
            "event": "sendoff.event.rejected",
            "destination": "freshpaint",
            "reason": "invalid_event",
            "detail": "the event's name must be a non-empty str, not an empty str",
        },
        {"event": "sendoff.call.unknown_destination"},
        {
            "event": "sendoff.queue.overflow",
            "destination": "freshpaint",
            "policy": "drop_newest",
        },
        {"event": "sendoff.end.left", "left": "freshpaint 1 (lost)", "events": 1},
    ]
    failed = [one for one in bare if one["event"] == "sendoff.request.failed"]
    assert {one["status"] for one in failed} == {503}
    assert {one["reason"] for one in failed} == {"server_error"}


def test_what_was_held_back_is_a_number_too(lines) -> None:
    """`sendoff_repeats` is there if there were some."""
    write(_lines.SPOOL_FULL, "datadog")
    write(_lines.SPOOL_FULL, "datadog", repeats=7)
    assert lines == [
        {
            "message": "datadog: the spool is full, events are dropped",
            "sendoff_event": "sendoff.spool.full",
            "sendoff_destination": "datadog",
        },
        {
            "message": "datadog: the spool is full, events are dropped"
            " (7 more like it since the last such line)",
            "sendoff_event": "sendoff.spool.full",
            "sendoff_destination": "datadog",
            "sendoff_repeats": 7,
        },
    ]


def test_no_field_holds_what_a_caller_gave(lines) -> None:
    """Neither values nor keys nor credentials, whatever goes wrong."""

    class Canary:
        def keys(self):
            raise ValueError("canary")

    async def main() -> None:
        vendors = Vendors(lambda *_: 401)
        d = dispatcher(vendors, datadog(api_key="canary"), freshpaint(token="canary"))
        await d.start()
        bind(properties=Canary()).undo()
        d.track("canary", user_id=object(), properties={"canary": "canary"})
        d.track("canary", user_id="canary")
        d.enqueue({"canary": "canary"})
        await asyncio.sleep(2.0)
        await d.aclose(timeout=0)

    run(main())
    assert {one["sendoff_event"] for one in lines} >= {
        "sendoff.event.rejected",
        "sendoff.request.failed",
        "sendoff.context.properties",
        "sendoff.end.left",
    }
    assert "canary" not in json.dumps(lines)


def test_a_handler_that_raises_harms_nobody() -> None:
    """A line is worth less than what it speaks of."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError

    handler = Broken()
    logging.getLogger("sendoff").addHandler(handler)
    try:
        for line in LINES:
            write(line, *range(len(line.fields)))
    finally:
        logging.getLogger("sendoff").removeHandler(handler)


def test_the_line_that_the_document_shows_is_the_one_that_is_written() -> None:
    """The formatter and the line of `docs/how-to/monitor.md` belong together."""
    page = (Path(__file__).parents[2] / "docs/how-to/monitor.md").read_text()
    code = next(one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Json" in one)
    shown = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    stream = io.StringIO()
    code = code.replace("StreamHandler()", "StreamHandler(stream)")
    names: dict = {"stream": stream}
    exec(code, names)

    async def main() -> None:
        d = dispatcher(Vendors(lambda *_: 401), datadog(flush_interval=0.0))
        await d.start()
        d.track("e", user_id="u")
        await asyncio.sleep(5.0)
        await d.aclose(timeout=0)

    try:
        run(main())
    finally:
        logging.getLogger("sendoff").removeHandler(names["handler"])
    assert stream.getvalue().splitlines(keepends=True)[:1] == shown
