"""
What stands between a process and the vendors, looked at: what `sendoff check` does.

Takes nothing but public names from sendoff. Imports neither click nor rich.
"""

from __future__ import annotations

from sendoff.check.findings import Finding, Result
from sendoff.check.run import Plan, run

__all__ = ["Finding", "Plan", "Result", "run"]
