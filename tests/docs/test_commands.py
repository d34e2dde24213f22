"""
The commands that the pages show work as they stand, and print what the pages say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sendoff
from sendoff.sink import SinkProcess

PAGES = Path(__file__).parents[2] / "docs/how-to"
SHIM = """#!/bin/sh
case "$1 $*" in
*--datadog-endpoint*) ;;
send*|check*) set -- "$@" --datadog-endpoint {datadog} --freshpaint-endpoint {freshpaint} ;;
esac
exec {python} -W error -m sendoff "$@"
"""
ENVIRONMENT = {"DD_API_KEY": "k", "DD_APPLICATION_ID": "a", "FRESHPAINT_TOKEN": "t"}
FINDS_BAD_ROWS = 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["send-a-file.md", "check-your-setup.md"])
def test_the_commands_work(name: str, tmp_path: Path) -> None:
    """Each `sh` block runs, in order, with the files of the page, and prints what it says."""
    page = (PAGES / name).read_text()
    for file, body in re.findall(r"`(\S+)` holds:\n\n```\w+\n(.*?)```", page, re.DOTALL):
        (tmp_path / file).write_text(body)
    shim = tmp_path / "bin/sendoff"
    shim.parent.mkdir()
    with SinkProcess() as sink:
        shim.write_text(
            SHIM.format(
                datadog=sink.datadog_endpoint,
                freshpaint=sink.freshpaint_endpoint,
                python=sys.executable,
            )
        )
        shim.chmod(0o755)
        clean = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
        source = str(Path(sendoff.__file__).parents[1])
        paths = filter(None, (source, os.environ.get("PYTHONPATH", "")))
        environment = {
            **clean,
            **ENVIRONMENT,
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        }
        blocks = re.findall(
            r"```sh\n(.*?)```(\n\nIt prints:\n\n```text\n(.*?)```)?", page, re.DOTALL
        )
        assert blocks
        for code, _, printed in blocks:
            answer = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code.replace("http://127.0.0.1:8321", sink.url)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            has_bad_rows = "are no events" in answer.stdout + answer.stderr
            assert answer.returncode == (FINDS_BAD_ROWS if has_bad_rows else 0), answer
            assert answer.stdout
            if printed:
                assert _steady(answer.stdout) == _steady(printed)
        assert sink.stats().datadog.accepted
        assert sink.stats().freshpaint.accepted


def _steady(text: str) -> str:
    return re.sub(r"in [0-9.]+ s", "in a while", text)
