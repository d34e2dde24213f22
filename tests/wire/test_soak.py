"""
The soak, for a few seconds: producers of every kind are ended in every way, and nothing is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", [[], ["--spool"]])
def test_a_short_soak_loses_nothing(mode: list[str]) -> None:
    """Every accepted event arrives or is handed to `on_drop`, whatever ends its process."""
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.05", "--seed", "5", *mode],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["datadog"]["lost"], result["freshpaint"]["lost"]) == (0, 0, 0)
    assert result["accepted"] > 10
    assert sum(result["ends"].values()) >= 4
