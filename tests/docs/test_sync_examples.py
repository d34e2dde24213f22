"""
What the pages on sync frameworks, workers and Lambda show is what stands in the examples.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

SHOWN = {
    "flask_app": "sync-frameworks-and-workers",
    "django_app": "sync-frameworks-and-workers",
    "celery_app": "sync-frameworks-and-workers",
    "arq_app": "sync-frameworks-and-workers",
    "script": "sync-frameworks-and-workers",
    "lambda_app": "lambda",
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_the_example(name: str) -> None:
    """Whole and word for word, but for its docstring."""
    source = (DOCS / f"examples/{name}.py").read_text()
    end = ast.parse(source).body[0].end_lineno
    code = "\n".join(source.splitlines()[end:]).strip()
    assert f"```python\n{code}\n```" in (DOCS / f"how-to/{SHOWN[name]}.md").read_text()
