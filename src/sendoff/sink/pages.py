"""
The files of the live page, and the headers under which a browser gets them.

They are package data, used as they are: nothing is built, nothing comes from elsewhere, and the
headers forbid the browser to fetch or run anything else.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sendoff.sink.contract import Verdict

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# Event bodies come from anywhere; even if one of them got into the page as markup, no script in it
# would run, no style would apply and nothing would be sent anywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'"
)
# For everything below `/_sink/` as well: what is in it is for this page and for programs.
PRIVATE: tuple[tuple[str, str], ...] = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


@cache
def page_file(name: str) -> Verdict | None:
    """
    The answer to a request for one of the page's files; `None` if there is no such file.

    Args:
        name: its bare name.
    """
    kind = _TYPES.get(name.rpartition(".")[2])
    if kind is None or "/" in name or "\\" in name:
        return None
    file = files("sendoff.sink").joinpath("page", name)
    if not file.is_file():
        return None
    headers = (("Content-Type", kind), ("Content-Security-Policy", _POLICY), *PRIVATE)
    return Verdict(200, file.read_bytes(), headers)
