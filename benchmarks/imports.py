"""
What `import sendoff` costs, in time, modules and memory; and the first start, which brings aiohttp.

Every sample is a process of its own. An import is measured against that of `asyncio` and `orjson`,
without which nothing of the kind would do; a start against the import of aiohttp. Processor time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.harness import Figure, command, in_turns

PROGRAM = """
import sys, time
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * {page}
{before}
modules, memory = len(sys.modules), resident()
begun = time.process_time()
{code}
taken = time.process_time() - begun
import json
print(json.dumps([taken, len(sys.modules) - modules, resident() - memory]))
"""
PARTS = {
    # name: what comes before, what is measured
    "base": ("", "import asyncio, orjson"),
    "sendoff": ("", "import sendoff"),
    "besides": ("import asyncio, orjson", "import sendoff"),
    "aiohttp": ("import sendoff", "import aiohttp"),
    "start": (
        """
import asyncio, sendoff
dispatcher = sendoff.Dispatcher(
    sendoff.Datadog(api_key="key", application_id="app"), sendoff.Freshpaint(token="token")
)
async def main():
    global taken
    begun = time.process_time()
    await dispatcher.start()
    taken = time.process_time() - begun
    await dispatcher.aclose(0)
""",
        "asyncio.run(main()); begun = time.process_time() - taken",
    ),
}


def once(name: str) -> tuple[float, int, int]:
    """
    Runs one part; its processor seconds, modules and bytes of resident memory.
    """
    before, code = PARTS[name]
    program = PROGRAM.format(before=before, code=code, page=os.sysconf("SC_PAGE_SIZE"))
    result = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
    )
    taken, modules, memory = json.loads(result.stdout)
    return taken, modules, memory


def measure(*, quick: bool) -> list[Figure]:
    """
    Imports and the first start.
    """
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in PARTS}

    def run(name: str) -> float:
        found[name].append(once(name))
        return found[name][-1][0]

    for name in PARTS:
        once(name)  # the first import compiles, or reads files that are not in memory yet
    runs: Any = {name: lambda name=name: run(name) for name in PARTS}
    values = in_turns(runs, 3 if quick else 15)
    taken = {name: statistics.median(values[name]) * 1e3 for name in PARTS}
    modules = {name: found[name][0][1] for name in PARTS}
    memory = {name: statistics.median(one[2] for one in found[name]) / 2**20 for name in PARTS}

    def ratio(name: str, of: str, to: str, against: str) -> Figure:
        return Figure.median(
            f"imports.{name}",
            [one / other for one, other in zip(values[of], values[to], strict=True)],
            against=against,
            detail=f"measured {taken[of]:.0f} ms by {taken[to]:.0f} ms",
        )

    return [
        ratio("time", "sendoff", "base", "import asyncio, orjson"),
        ratio("time.besides", "besides", "base", "that, where these are imported already"),
        Figure(
            "imports.modules",
            modules["sendoff"] / modules["base"],
            against="the modules of import asyncio, orjson",
            detail=f"{modules['sendoff']} by {modules['base']}",
        ),
        Figure(
            "imports.memory",
            memory["sendoff"] / memory["base"],
            against="the memory of import asyncio, orjson",
            detail=f"measured {memory['sendoff']:.1f} MiB by {memory['base']:.1f} MiB",
        ),
        ratio("first_start", "start", "aiohttp", "import aiohttp"),
        Figure(
            "imports.first_start.memory",
            memory["start"] / memory["aiohttp"],
            against="the memory of import aiohttp",
            detail=f"measured {memory['start']:.1f} MiB by {memory['aiohttp']:.1f} MiB",
        ),
    ]


def main() -> int:
    """
    The command line.
    """
    return command(measure, __doc__)


if __name__ == "__main__":
    sys.exit(main())
