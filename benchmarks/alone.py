"""
Measures one module in this process, which does nothing else, and writes what it found as JSON.

`python -m benchmarks` runs one of these for each module, so that memory, imports and garbage of one
do not touch another. The machine's noise is measured before and after.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.harness import Measure, calibration
from benchmarks.judgement import noise_of


def main() -> int:
    """
    Measures; the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("name", help="of a module in benchmarks")
    parser.add_argument("found", help="the file to write")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller loads")
    options = parser.parse_args()
    before = calibration()
    begun = time.perf_counter()
    measure: Measure = importlib.import_module(f"benchmarks.{options.name}").measure
    figures = measure(quick=options.quick)
    seconds = time.perf_counter() - begun
    found = {
        "seconds": round(seconds, 1),
        "noise": round(noise_of(before + calibration()), 2),
        "figures": [one.as_json() for one in figures],
    }
    Path(options.found).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
