"""
How the pages become a site: `python -m sphinx -W -n --keep-going -b html docs build/docs`.

Always holds: nothing is fetched, neither while it is built nor when a page is read; what the pages
show of the code is in them already (`docs/make_reference.py`), so no code is imported here but for
the version.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

project = "sendoff"
author = "The sendoff authors"
copyright = author  # noqa: A001 the name is Sphinx's
_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
release = _metadata["project"]["version"]

extensions = ["myst_parser"]
exclude_patterns = ["examples/**"]  # code that pages name, and no pages
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True

# Headings get anchors, so that a link to a section is checked: a wrong one is a warning, and every
# warning an error.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "html_image"]  # the latter for a width of its own

html_theme = "furo"
html_title = f"sendoff {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_extra_path: list[str] = []
html_theme_options = {
    # One set of charts and colours fits both; furo follows the reader's system and has a switch.
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#6fd3ac", "color-brand-content": "#6fd3ac"},
}
pygments_style = "default"
pygments_dark_style = "monokai"
