"""
The same load through the peers, each in a process of its own, in turns with sendoff.

What is asked of each: what a call takes from its caller, what the process spends until everything
has arrived, what queued events weigh, and what is lost after the peer's own flush, at the end of a
program that forgot it, and in a forked child. The receiver counts, never the sender.

``python -m benchmarks.rivals --json FILE`` measures and writes; the peers come from the dependency
group ``rivals``. ``python -m benchmarks.rivals.page`` puts the figures into the documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness import Figure

__all__ = ["measure"]


def measure(*, quick: bool) -> list[Figure]:
    """
    All figures; none if no peer is installed, which is said on stderr.
    """
    # Here, because every measured process imports this package.
    from benchmarks.rivals.runs import measure as measured

    return measured(quick=quick)
