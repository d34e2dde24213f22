"""
What every test gets: jitter that is the same in every run.
"""

from __future__ import annotations

import random

import pytest


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)
