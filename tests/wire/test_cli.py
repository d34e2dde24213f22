"""The command line as a process: its help, its exit status, its sink."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

import sendoff
from sendoff.cli import cli
from sendoff.cli.exits import EXITS, Exit, exit_text
from sendoff.sink import add_arguments

PATIENCE = 30.0
sink_command = cli.commands["sink"]
SOURCE = str(Path(sendoff.__file__).parents[1])


def environment():
    """That of this process, and the very package that is being tested."""
    paths = (SOURCE, os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(*arguments, code=None):
    program = ("-m", "sendoff") if code is None else ("-c", code)
    return subprocess.run(
        [sys.executable, *program, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("Usage: sendoff [OPTIONS] COMMAND", "demo  ", "sink  ", "130")),
        (("demo",), ("Usage: sendoff demo [OPTIONS]", "--events N", "--all FILE", "purchased_on")),
        (
            ("replay",),
            ("Usage: sendoff replay [OPTIONS] PATH", "--token TOKEN", "list of processes"),
        ),
        (("send",), ("Usage: sendoff send [OPTIONS] FILE|-", "--map FIELD=COLUMN[:TYPE]", "143")),
        (("check",), ("Usage: sendoff check [OPTIONS]", "--live", "--ca-file FILE")),
        (("tail",), ("Usage: sendoff tail [OPTIONS]", "--user ID", "--no-follow")),
        (("completion",), ("Usage: sendoff completion [OPTIONS] SHELL", "bash, zsh or fish")),
        (("sink",), ("Usage: sendoff sink [OPTIONS]", "--fault SCRIPT", "--keep-events N")),
    ],
)
def test_help_names_options_and_exit_status(arguments, parts):
    """Every help has its usage, its options and what its exit status means."""
    answer = run(*arguments, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert all(part in answer.stdout for part in (*parts, "Exit status: 0")), answer.stdout


def test_every_command_and_option_has_a_help():
    """Nothing is left to guess."""
    for command in cli.commands.values():
        assert inspect.getdoc(command.callback)
        for param in command.params:
            # An argument has no help of its own: the command's says what it is.
            name = (param.metavar or param.name.upper()).partition("|")[0]
            assert getattr(param, "help", None) or name in command.help


def test_one_table_says_how_commands_end():
    """It has every command, each help is made from it, and no command ends by a bare number."""
    assert {name for name in EXITS if name} == set(cli.commands)
    for name, command in cli.commands.items():
        assert command.help.endswith(exit_text(name))
        assert set(EXITS[name]) <= set(EXITS[""])
    for path in (Path(sendoff.__file__).parent / "cli").glob("*.py"):
        for argument in re.findall(r"sys\.exit\((.*)\)", path.read_text()):
            assert set(re.findall(r"Exit\.(\w+)", argument)) <= set(Exit.__members__)
            assert argument.startswith("Exit."), path


def test_every_command_that_prints_facts_has_json():
    """`completion` prints a script, and nothing else is without it."""
    without = {
        name
        for name, command in cli.commands.items()
        if not any("--json" in param.opts for param in command.params)
    }
    assert without == {"completion"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell(shell):
    """The script calls our command, and says at its end how it is put in place."""
    answer = run("completion", shell)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"_SENDOFF_COMPLETE={shell}_complete" in answer.stdout
    assert answer.stdout.splitlines()[-1].startswith(f"# To install: sendoff completion {shell} >")
    if shell == "zsh":
        assert answer.stdout.startswith("#compdef sendoff")
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=answer.stdout, text=True, check=False)
        assert checked.returncode == 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("sendoff se", {"send"}),
        ("sendoff send --dead", {"--dead-letters"}),
        ("sendoff completion z", {"zsh"}),
    ],
)
def test_what_is_completed(words, wanted):
    """Commands, options and choices, as bash asks for them."""
    answer = subprocess.run(
        [sys.executable, "-m", "sendoff"],
        env={
            **environment(),
            "_SENDOFF_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert {line.partition(",")[2] for line in answer.stdout.splitlines()} == wanted


def test_the_demo_as_json():
    """Both counts in one object on stdout, all else on stderr."""
    answer = run("demo", "--events=5", "--json")
    counts = json.loads(answer.stdout)
    assert (answer.returncode, counts["agrees"]) == (0, True)
    assert counts["sink"]["freshpaint"]["unique"] == 5
    assert counts["dispatcher"]["datadog"]["delivered"] == 5
    assert "Both ends agree" in answer.stderr


def test_version():
    """One line with the name and the version."""
    answer = run("--version")
    assert (answer.returncode, answer.stdout.split()[:2]) == (0, ["sendoff,", "version"])


def test_wrong_use_is_told_and_exits_with_2():
    """The message names the command that does not exist."""
    answer = run("explode")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "No such command 'explode'" in answer.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_one_clear_line(missing):
    """Without click or rich it says what to install, and exits with 2."""
    code = f"import sys; sys.modules[{missing!r}] = None; from sendoff.__main__ import main; main()"
    answer = run(code=code)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == (
        f"sendoff: the command line needs {missing}: pip install 'sendoff[cli]'\n"
    )


def test_a_module_that_is_missing_for_another_reason_is_not_taken_for_the_extra():
    """A broken installation shows its own traceback."""
    code = (
        "import sys; sys.modules['click'] = sys; sys.modules['rich'] = sys;"
        "sys.modules['sendoff.cli'] = None; from sendoff.__main__ import main; main()"
    )
    answer = run(code=code)
    assert answer.returncode == 1
    assert "ModuleNotFoundError" in answer.stderr


def test_the_sink_has_the_options_of_the_module():
    """`sendoff sink` and `python -m sendoff.sink` take the same options with the same defaults."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    ours = {option.opts[0]: option.default for option in sink_command.params}
    theirs = {f"--{name.replace('_', '-')}": n for name, n in vars(parser.parse_args([])).items()}
    assert set(ours) == {*theirs, "--json"}  # the module is for programs anyway
    for name, default in theirs.items():
        context = sink_command.make_context("sink", [])
        assert context.params[_param(name)] == (tuple(default) if default == [] else default)


def _param(option):
    return next(param.name for param in sink_command.params if option in param.opts)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_the_sink_serves_until_it_is_asked_to_stop(signal_number):
    """The first line tells the port, options arrive, and the end is a clean one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sendoff", "sink", "--api-key=k", "--fault=503 on freshpaint"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        connection = HTTPConnection("127.0.0.1", json.loads(process.stdout.readline())["port"])
        connection.timeout = PATIENCE
        statuses = []
        for path in ("/_sink/health", "/track", "/api/v2/prodlytics"):
            connection.request("GET" if "_sink" in path else "POST", path)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        process.send_signal(signal_number)
        rest = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert statuses == [200, 503, 401]
    assert (process.returncode, *rest) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--port", "70000"), "port must lie in 0..65535, got 70000"),
        (("--fault", "explode"), "'explode' is neither"),
        (("--keep-events", "x"), "'x' is not a valid integer"),
    ],
)
def test_a_wrong_option_of_the_sink_exits_with_2(arguments, message):
    """The message names the option and what is allowed."""
    answer = run("sink", *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in answer.stderr


def test_a_port_that_is_taken_exits_with_1():
    """The second sink on a port says so."""
    with sendoff_sink() as taken:
        port = taken.url.rpartition(":")[2]
        answer = run("sink", "--port", port)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert f"cannot listen on port {port}" in answer.stderr


def sendoff_sink():
    from sendoff.sink import SinkProcess

    return SinkProcess()
