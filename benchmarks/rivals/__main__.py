"""
``python -m benchmarks.rivals``.
"""

from __future__ import annotations

import sys

from benchmarks.rivals.runs import main

if __name__ == "__main__":
    sys.exit(main())
