"""
Writes docs/reference from the code, so that no table can say what the code does not.

``python docs/make_reference.py`` writes the pages; a test compares them with what is in the tree.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import click

import pytest_sendoff

sys.path.insert(0, str(Path(__file__).parent))  # its other half lies beside it

from support import support as page_on_support

import sendoff
import sendoff.integrations
from sendoff import testing
from sendoff._lines import FIELDS, LINES
from sendoff._values import EXTRA_TYPES, marker
from sendoff.cli import cli
from sendoff.cli.exits import EXITS
from sendoff.destinations.verdicts import FAILURES, STATUSES
from sendoff.events import Action, DropReason
from sendoff.metrics.metric import ATTRIBUTES
from sendoff.metrics.names import LEFT_OUT, METRICS
from sendoff.transports import http

PAGES = Path(__file__).parent / "reference"
NOTE = "<!-- Made from the code by docs/make_reference.py. -->\n"

REJECTIONS = {
    "closed": "the dispatcher is closed",
    "before_send": "`before_send` raised, or returned something else than an event",
    "too_large": "the encoded event is above `max_batch_bytes` or `max_queue_bytes`",
    "unencodable": "the destination raised something unforeseen",
    "invalid_payload": "`enqueue` was given something else than a mapping",
    "invalid_event": "the event's name is no non-empty str",
    "missing_identity": "the vendor needs an id that says who did it, and none was given",
    "invalid_user_id": "`user_id` is no str, int or UUID",
    "invalid_account_id": "`account_id` is no str, int or UUID",
    "invalid_session_id": "`session_id` is no str, int or UUID",
    "invalid_device_id": "`device_id` is no str, int or UUID",
    "invalid_properties": "`properties` is no mapping",
    "invalid_time": "`time` is no epoch seconds or datetime, or it is in milliseconds",
    "invalid_ip": "`ip` is no non-empty str or address",
    "invalid_integrations": "`integrations` is no mapping of names to bool",
    "invalid_insert_id": "the id is not 1 to 36 characters of `[A-Za-z0-9-]`",
    "invalid_type": 'Datadog: `type` of a body is not `"server"`',
    "invalid_application": "Datadog: a body has no `application.id`",
    "invalid_usr": "Datadog: `usr` of a body has no id",
    "invalid_account": "Datadog: `account` of a body has no id",
    "invalid_session": "Datadog: `session` of a body has no id",
    "invalid_token": "Freshpaint: `token` of a body is no non-empty str",
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """
    A Markdown table.
    """
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def section(doc: str, name: str) -> dict[str, str]:
    """
    The entries of one Google section of a docstring: name → text on one line.
    """
    match = re.search(rf"^{name}:\n((?:    .*\n?|\n)*)", inspect.cleandoc(doc), re.MULTILINE)
    entries: dict[str, str] = {}
    for line in (match.group(1) if match else "").splitlines():
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            entries[entry.group(1)] = entry.group(2)
        elif line.strip():
            last = next(reversed(entries))
            entries[last] += " " + line.strip()
    return {key: value.replace("``", "`") for key, value in entries.items()}


def member_docs(enum: type) -> dict[str, str]:
    """
    The strings that stand under the members of an enum.
    """
    body = ast.parse(inspect.getsource(enum)).body[0].body  # type: ignore[attr-defined]
    docs: dict[str, str] = {}
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr):
            docs[node.targets[0].id] = " ".join(after.value.value.split())  # type: ignore[attr-defined]
    return docs


def shown(value: Any) -> str:
    """
    A default as a reader would write it.
    """
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return f"`{value.__name__}`" if inspect.isfunction(value) else f"`{value!r}`"


def options_of(owner: Any, section_name: str = "Args") -> str:
    """
    The table of an owner's constructor options.
    """
    texts = section(owner.__doc__ or "", section_name)
    rows = []
    for parameter in inspect.signature(owner).parameters.values():
        default = "one or more" if parameter.kind is parameter.VAR_POSITIONAL else parameter.default
        text = default if isinstance(default, str) and default == "one or more" else shown(default)
        if owner in (sendoff.Retry, sendoff.Tuning) and not isinstance(default, int | float):
            text = "`None`" if default is None else "`Retry()`"
        rows.append((f"`{parameter.name}`", text, texts[parameter.name]))
    return table(("option", "default", "meaning"), rows)


def options() -> str:
    """
    Every constructor option.
    """
    return (
        "# Options\n\n"
        "All are keyword-only; a wrong one raises `OptionError` at construction, naming the option"
        " and its limit.\nTimes are seconds, sizes are bytes, `None` means off.\n\n"
        f"## `Dispatcher`\n\n{options_of(sendoff.Dispatcher)}\n"
        "## `DeadLetters`\n\nMay be given without the names.\n\n"
        f"{options_of(sendoff.DeadLetters, 'Attributes')}\n"
        f"## `Datadog`\n\n{options_of(sendoff.Datadog)}\n"
        f"## `Freshpaint`\n\n{options_of(sendoff.Freshpaint)}\n"
        "## `Spool`\n\nFor `Dispatcher(spool=...)`; the path may be positional.\n\n"
        f"{options_of(sendoff.Spool, 'Attributes')}\n"
        f"## `Retry`\n\n{options_of(sendoff.Retry, 'Attributes')}\n"
        "## `Tuning`\n\nWhat a destination of your own hands to `HttpDestination`.\n\n"
        f"{options_of(sendoff.Tuning, 'Attributes')}"
    )


def statuses() -> str:
    """
    The table of verdicts.
    """
    actions = member_docs(Action)
    return (
        "# Statuses and failures\n\nWhat every answer, and every way to get none, means."
        " An exact status wins over its class.\n\n## Answers\n\n"
        + table(
            ("status", "action", "reason", "why"),
            [(row.key, row.action.value, f"`{row.reason}`", row.why) for row in STATUSES],
        )
        + "\n## No answer\n\n"
        + table(
            ("failure", "action", "reason", "why"),
            [(f"`{row.key}`", row.action.value, f"`{row.reason}`", row.why) for row in FAILURES],
        )
        + "\n## Actions\n\n"
        + table(
            ("action", "what the lane does"),
            [(action.value, actions[action.name]) for action in Action],
        )
        + "\nA wait that the server asks for is read from `Retry-After` (seconds, or a date against"
        " the answer's own `Date`) or `X-RateLimit-Reset`.\n"
    )


def types() -> str:
    """
    The table of types.
    """
    rows = [
        ("str, int, float, bool, None, dict, list, tuple", "as JSON has them"),
        ("NaN and infinities", "`null`: JSON has no such numbers"),
        ("int beyond 64 bits", "a string: as a number most parsers would round it"),
        (
            "str with lone surrogates",
            "these become U+FFFD, pairs are joined: UTF-8 has no such thing",
        ),
        ("keys that are no str", "their own form as text; `_` is added where two would be equal"),
        ("datetime, date, time", "an ISO 8601 string"),
        ("UUID", "a string"),
        ("Enum", "its value's form"),
        ("dataclasses", "an object"),
        *((name, form) for name, _, _, form in EXTRA_TYPES),
        ("anything else, and what raises", f"a marker, such as `{marker(object())}`; counted"),
        ("cycles, and what is nested deeper than 200", "a marker where it would go on"),
    ]
    return (
        "# Types\n\nWhat becomes of the values in your properties."
        " The event always goes, and what goes passes a strict JSON parser.\n\n"
        + table(("type", "form"), rows)
    )


def statistics() -> str:
    """
    What `stats` shows.
    """
    drops = member_docs(DropReason)
    return (
        "# Statistics\n\n`dispatcher.stats().destinations[name]` is a frozen `DestinationStats`.\n"
        "At every instant `submitted` is the sum of `delivered`, `rejected`, `dropped`,"
        " `dead_lettered` and `pending`.\n\n"
        + table(
            ("attribute", "meaning"),
            [
                (
                    "`submitted`",
                    "Events that calls meant for this destination: the sum of all fates.",
                ),
                ("`rejected`", "Events not taken at the call: the sum of `rejections`."),
                *(
                    (f"`{name}`", text)
                    for name, text in section(
                        sendoff.DestinationStats.__doc__ or "", "Attributes"
                    ).items()
                ),
            ],
        )
        + "\n`dispatcher.stats()` itself, a frozen `Stats`, has beside `destinations`:\n\n"
        + table(
            ("attribute", "meaning"),
            [
                (f"`{name}`", text)
                for name, text in section(sendoff.Stats.__doc__ or "", "Attributes").items()
                if name != "destinations"
            ],
        )
        + "\n## Reasons in `dropped`\n\n"
        + table(
            ("reason", "meaning"), [(f"`{reason}`", drops[reason.name]) for reason in DropReason]
        )
        + "\n## Reasons in `rejections`\n\nDestinations of your own may add theirs.\n\n"
        + table(("reason", "meaning"), [(f"`{key}`", text) for key, text in REJECTIONS.items()])
    )


# --- calls and names ------------------------------------------------------------------------------

OPTIONS = ("Dispatcher", "Datadog", "Freshpaint", "DeadLetters", "Retry", "Spool", "Tuning")
"""Names whose arguments stand in the page of options."""

STATISTICS = ("DestinationStats", "Stats")
"""Names whose attributes stand in the page of statistics."""

SECTIONS = re.compile(r"^(Args|Attributes|Returns|Raises):$", re.MULTILINE)


def prose(doc: str | None) -> str:
    """
    A docstring without its Google sections.
    """
    text = inspect.cleandoc(doc or "")
    found = SECTIONS.search(text)
    return text[: found.start()].strip() if found else text


def default_of(parameter: inspect.Parameter) -> str:
    """
    What an argument is where it is not given.
    """
    return "none" if parameter.kind is parameter.VAR_POSITIONAL else shown(parameter.default)


def arguments_of(call: Any, doc: str | None) -> str:
    """
    The table of a call's arguments; empty if its docstring names none.
    """
    texts = section(doc or "", "Args")
    if not texts:
        return ""
    parameters = inspect.signature(call).parameters
    rows = [(f"`{key}`", default_of(parameters[key]), text) for key, text in texts.items()]
    return "\n" + table(("argument", "default", "meaning"), rows)


def ends_of(doc: str | None) -> str:
    """
    What a call returns and raises, one line each.
    """
    text = inspect.cleandoc(doc or "")
    returns = re.search(r"^Returns:\n((?:    .*\n?)+)", text, re.MULTILINE)
    lines = [f"Returns: {' '.join(returns.group(1).split())}"] if returns else []
    lines += [f"Raises `{error}`: {why}" for error, why in section(text, "Raises").items()]
    return "".join(f"\n{line}\n" for line in lines)


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """
    The public methods and properties of a class of ours, its own and inherited ones.
    """
    seen: set[str] = set()
    for base in owner.__mro__:
        for name, member in vars(base).items() if base.__module__.startswith("sendoff.") else ():
            plain = isinstance(member, FunctionType | property | classmethod | staticmethod)
            if plain and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def verb(name: str, call: Any) -> str:
    """
    How a call is written, without its arguments.
    """
    return f"await {name}" if inspect.iscoroutinefunction(call) else name


def calls() -> str:
    """
    The methods of a dispatcher.
    """
    parts = ["# Calls\n\nThe methods of `Dispatcher`.\n"]
    for name, method in members(sendoff.Dispatcher):
        parts += [f"\n## `{verb(name, method)}`\n\n{prose(method.__doc__)}\n"]
        parts += [arguments_of(method, method.__doc__), ends_of(method.__doc__)]
    for word, enter, leave in (
        ("async with", "__aenter__", "__aexit__"),
        ("with", "__enter__", "__exit__"),
    ):
        begin, end = (getattr(sendoff.Dispatcher, one).__doc__ for one in (enter, leave))
        parts.append(
            f"\n## `{word} dispatcher:`\n\nAt the beginning: {prose(begin)}\n"
            f"At the end: {prose(end)}\n{ends_of(begin)}"
        )
    return "".join(parts).replace("``", "`")


def member_line(owner: type, name: str, member: Any) -> str:
    """
    One method or property, as an item of a list.
    """
    text = " ".join(prose(member.__doc__).split())
    if isinstance(member, property):
        return f"* `{name}`: {text}\n"
    call = getattr(owner, name)
    names = [one for one in inspect.signature(call).parameters if one != "self"]
    kept = [
        f"**{one}"
        if inspect.signature(call).parameters[one].kind is inspect.Parameter.VAR_KEYWORD
        else one
        for one in names
    ]
    raises = section(member.__doc__ or "", "Raises")
    errors = "".join(f" Raises `{error}`: {why}" for error, why in raises.items())
    return f"* `{verb(name, call)}({', '.join(kept)})`: {text}{errors}\n"


def described(thing: Any) -> str:
    """
    What stands under the name of a class or a function.
    """
    doc = thing.__doc__
    parts = [f"{prose(doc)}\n"]
    if not isinstance(thing, type):
        return "".join([*parts, arguments_of(thing, doc), ends_of(doc)])
    if thing.__name__ in OPTIONS:
        parts.append("\nWhat it is made with: [options](options.md).\n")
    elif thing.__name__ in STATISTICS:
        parts.append("\nIts attributes: [statistics](statistics.md).\n")
    elif issubclass(thing, Enum):
        docs = member_docs(thing)
        rows = [(f"`{one.name}`", f"`{one.value}`", docs[one.name]) for one in thing]
        parts.append("\n" + table(("member", "value", "meaning"), rows))
    else:
        parts += [arguments_of(thing, doc), ends_of(doc)]
        rows = [(f"`{key}`", text) for key, text in section(doc or "", "Attributes").items()]
        parts.append("\n" + table(("attribute", "meaning"), rows) if rows else "")
    if thing is sendoff.Dispatcher:
        parts.append("\nIts methods: [calls](calls.md).\n")
        return "".join(parts)
    lines = [member_line(thing, name, member) for name, member in members(thing)]
    return "".join([*parts, "\n" if lines else "", *lines])


def names() -> str:
    """
    Every public name.
    """
    things = {name: getattr(sendoff, name) for name in sendoff.__all__}
    for name in http.__all__:
        things[f"{http.__name__}.{name}"] = getattr(http, name)
    head = "# Names\n\nWhat `from sendoff import ...` offers; last, what has a path of its own.\n"
    parts = [f"\n## `{name}`\n\n{described(thing)}" for name, thing in things.items()]
    return "".join([head, *parts]).replace("``", "`")


# --- integrations ---------------------------------------------------------------------------------


def values_of(module: ModuleType) -> dict[str, str]:
    """
    The strings that stand under the values of a module.
    """
    docs: dict[str, str] = {}
    for node, after in itertools.pairwise(ast.parse(inspect.getsource(module)).body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            docs[target.id] = inspect.cleandoc(after.value.value)  # type: ignore[attr-defined]
    return docs


def integrations() -> str:
    """
    The names of every integration whose framework is installed.
    """
    head = (
        "# Integrations\n\nOne module for each framework, with the same verbs in each;"
        " how they are used: [frameworks](../how-to/frameworks.md)."
        "\nA module imports its framework, and nothing else of the package does.\n"
    )
    parts = [head]
    for found in pkgutil.iter_modules(sendoff.integrations.__path__):
        if found.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"sendoff.integrations.{found.name}")
        except ImportError:  # its framework is not here
            continue
        parts.append(f"\n## `{module.__name__}`\n\n{inspect.cleandoc(module.__doc__ or '')}\n")
        for name in module.__all__:
            thing = getattr(module, name)
            home = getattr(thing, "__module__", module.__name__)
            if home != module.__name__ and home.startswith("sendoff.integrations."):
                text = f"As in `{home}`.\n"
            elif inspect.isfunction(thing) or isinstance(thing, type):
                text = described(thing)
            else:
                text = f"{values_of(module)[name]}\n"
            parts.append(f"\n### `{name}`\n\n{text}")
    return "".join(parts).replace("``", "`")


# --- the command line -----------------------------------------------------------------------------


def command_line() -> str:
    """
    The help of every command, as it is printed.
    """
    top = click.Context(cli, info_name="sendoff", terminal_width=80)
    contexts = [top]
    for name, command in sorted(cli.commands.items()):
        contexts.append(click.Context(command, info_name=name, parent=top))
    parts = [f"\n## `{one.command_path}`\n\n```text\n{one.get_help()}\n```\n" for one in contexts]
    head = "# Command line\n\nComes with the extra `cli`: `pip install 'sendoff[cli]'`.\n"
    rows = [
        (f"`sendoff {name}`".replace(" `", "`"), str(int(code)), text)
        for name, meanings in EXITS.items()
        for code, text in meanings.items()
        if name
    ]
    end = "\n## Exit status\n\n" + table(("command", "status", "meaning"), rows)
    return "".join([head, *parts, end])


def log_events() -> str:
    """
    Every line of the logger, and its fields.
    """
    return (
        "# Log events\n\nEvery line goes to the logger `sendoff`, and says under a stable name"
        " what happened: the log record's `sendoff_event`.\nNames and fields stay; words may"
        " change. Nothing here holds a credential or your data.\n\n"
        + table(
            ("event", "level", "when", "fields"),
            [
                (
                    f"`{line.event}`",
                    line.level,
                    line.meaning,
                    ", ".join(f"`sendoff_{name}`" for name in line.fields),
                )
                for line in LINES
            ],
        )
        + "\n## Fields\n\n"
        + table(
            ("field", "meaning"),
            [(f"`sendoff_{name}`", text) for name, text in FIELDS.items()],
        )
    )


def metrics() -> str:
    """
    The table of metrics.
    """
    attributes = [
        (f"`{label}`", ", ".join(f"`{name}`" for name in name_of.split(", or ")))
        for label, name_of in ATTRIBUTES.items()
    ]
    return (
        "# Metrics\n\nWhat `sendoff.metrics.prometheus` and `sendoff.metrics.opentelemetry` show:"
        " the same figures, read from `stats()` when somebody collects.\n"
        "All have the label `dispatcher` and, but where it says otherwise, `destination`.\n\n"
        + table(
            ("Prometheus", "OpenTelemetry", "kind", "unit", "labels", "meaning", "from"),
            [
                (
                    f"`{metric.exposed}`",
                    f"`{metric.otel}`",
                    metric.kind.value,
                    f"`{metric.unit}`",
                    ", ".join(f"`{label}`" for label in metric.labels)
                    + (" no `destination`" if metric.of_all else ""),
                    metric.meaning,
                    ", ".join(f"`{field}`" for field in metric.fields),
                )
                for metric in METRICS
            ],
        )
        + "\nPrometheus knows up-down counters and gauges as gauges.\n"
        "Where several processes are scraped as one, figures are added up; of"
        + ",".join(
            f" `{metric.exposed}` the {metric.merged}imum is shown"
            for metric in METRICS
            if metric.merged != "sum"
        )
        + ".\n\n## Labels and attributes\n\n"
        "OpenTelemetry leaves out what is empty.\n\n"
        + table(("label", "attribute"), attributes)
        + "\n## What is no metric\n\n"
        + table(("of `stats()`", "why"), [(f"`{name}`", why) for name, why in LEFT_OUT.items()])
    )


# --- the testing kit ------------------------------------------------------------------------------


def fixtures() -> Iterator[tuple[str, str]]:
    """
    Name and meaning of every fixture of the pytest plugin.
    """
    for node in ast.parse(inspect.getsource(pytest_sendoff)).body:
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        if not node.name.startswith("_"):
            yield f"`{node.name}`", " ".join((ast.get_docstring(node) or "").split())


def testing_kit() -> str:
    """
    Every name of the testing kit, and the fixtures.
    """
    things = {name: getattr(testing, name) for name in testing.__all__}
    head = (
        "# Testing\n\nWhat `from sendoff.testing import ...` offers; how it is used:"
        " [test your app](../how-to/test-your-app.md).\n\n## Fixtures\n\nOf the pytest plugin"
        " `pytest_sendoff`, which pytest finds by itself.\n\n"
    )
    parts = [f"\n## `{name}`\n\n{described(thing)}" for name, thing in things.items()]
    return "".join([head, table(("fixture", "meaning"), fixtures()), *parts]).replace("``", "`")


MAKERS: dict[str, Callable[[], str]] = {
    "calls.md": calls,
    "command-line.md": command_line,
    "log-events.md": log_events,
    "metrics.md": metrics,
    "integrations.md": integrations,
    "names.md": names,
    "options.md": options,
    "statistics.md": statistics,
    "statuses.md": statuses,
    "testing.md": testing_kit,
    "support.md": lambda: page_on_support(table),
    "types.md": types,
}


def main() -> int:
    """
    Writes every page; the exit status.
    """
    for name, make in MAKERS.items():
        (PAGES / name).write_text(NOTE + make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
