"""
Who may look at a sink and drive it: browsers only from its own page.

Pure. A sink listens on the loopback alone, but every web site that a browser of this machine shows
can send requests there too. Two facts tell them apart, and neither can be forged by a site: the
`Host` that the browser meant to talk to, and the `Origin` or `Sec-Fetch-Site` of the page that
asked. Programs such as curl send no origin and are let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# A name of a site's own that resolves to 127.0.0.1 is the trick called DNS rebinding; these names
# no site can have. Any port will do, as a forwarded one is fine.
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# What a browser says of a request that the page itself made, or that somebody typed in.
_OWN_SITE = frozenset({"same-origin", "none"})


def objection(headers: Mapping[str, str], *, is_page: bool) -> str | None:
    """
    Why a request must not be served; `None` if it may.

    Args:
        headers: by lower-case name, or in a mapping that does not mind case.
        is_page: the page itself is asked for, to which any site may link.
    """
    host = headers.get("host", "")
    if not _is_loopback(host):
        return f"host {host!r} is not 127.0.0.1 or localhost; a sink answers under no other name"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"origin {origin!r} is another site"
    if not is_page and headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return "the request was made by another site"
    return None


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.hostname in _LOOPBACK and parts.netloc == host and "@" not in host
