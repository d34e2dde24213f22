"""
What an option's value must be: each check raises `OptionError`, whose message names the option and
the limit.

Always holds: nothing secret is in a message, also not in what it was raised from.
"""

from __future__ import annotations

import math
import os
import ssl as tls
import sys
from importlib.util import find_spec
from inspect import iscoroutinefunction
from urllib.parse import SplitResult, unquote, urlsplit

from sendoff.errors import OptionError

__all__ = [
    "check_callback",
    "check_choice",
    "check_number",
    "check_posix",
    "check_proxy",
    "check_ssl",
    "check_text",
    "check_url",
]


def check_number(
    option: str,
    value: object,
    *,
    least: float,
    most: float = math.inf,
    whole: bool = False,
    above: bool = False,
) -> None:
    """
    Raises unless a value is a finite number within its limits.

    Args:
        option: The option's name, for the message.
        value: What the user gave.
        least: The lowest allowed value; with `above`, the value must be greater.
        most: The highest allowed value.
        whole: Whether only an int will do.
        above: Whether `least` itself is refused.

    Raises:
        OptionError: The message names the option and the limit.
    """
    kind = "a whole number" if whole else "a number"
    limit = f"{kind} {'above' if above else 'of at least'} {least:,}"
    if most != math.inf:
        limit += f" and at most {most:,}"
    types = (int,) if whole else (int, float)
    if (
        isinstance(value, bool)
        or not isinstance(value, types)
        or not least <= value <= most  # false for NaN, and no overflow for a huge int
        or value > sys.float_info.max
        or (above and value == least)
    ):
        raise OptionError(f"{option} must be {limit}, not {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, bool | float | str | None) else type(value).__name__
    if isinstance(value, int) and abs(value) < 10**15:
        text = repr(value)
    return text


def check_choice(option: str, value: object, choices: tuple[object, ...]) -> None:
    """
    Raises unless a value is one of a closed list.

    Raises:
        OptionError: The message names the option and the choices.
    """
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise OptionError(f"{option} must be one of {listed}, not {value!r}")


def check_callback(option: str, value: object) -> None:
    """
    Raises unless a value is a plain callable, or None; nobody would await what a coroutine function
    returns.

    Raises:
        OptionError: The message names the option.
    """
    if value is not None and not callable(value):
        raise OptionError(f"{option} must be callable, not {type(value).__name__}")
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise OptionError(f"{option} must be a plain function, not a coroutine function")


def check_text(option: str, value: object, *, secret: bool = False) -> None:
    """
    Raises unless a value is a non-empty str that can stand in a header; a secret is never printed.

    Raises:
        OptionError: The message names the option and the limit.
    """
    if not isinstance(value, str):
        raise OptionError(f"{option} must be a str, not {type(value).__name__}")
    if not value or value != value.strip() or not value.isprintable():
        shown = "that" if secret else repr(value)
        raise OptionError(
            f"{option} must be a non-empty str without surrounding blanks or control characters, "
            f"not {shown}"
        )
    if secret and not value.isascii():
        raise OptionError(f"{option} must be ASCII")


def check_url(option: str, value: object) -> None:
    """
    Raises unless a value is an absolute http or https URL without credentials or a fragment.

    Raises:
        OptionError: The message names the option and the limit.
    """
    # The value is never printed: people put credentials into URLs.
    check_text(option, value, secret=True)
    parts, port = _split(str(value))
    if parts is None:
        raise OptionError(f"{option} must be an http or https URL, and is none")
    if parts.username is not None or parts.password is not None:
        raise OptionError(f"{option} must not carry credentials")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise OptionError(f"{option} must be an absolute http or https URL")
    if any(char.isspace() for char in str(value)):
        raise OptionError(f"{option} must be an http or https URL without blanks")
    if parts.fragment:
        raise OptionError(f"{option} must not carry a fragment")


def _split(url: str) -> tuple[SplitResult | None, int | None]:
    """
    A URL's parts and its port. The error of one that is none is not passed on, not even as a
    context: its text repeats what it did not understand.
    """
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        return None, None


def _is_latin(quoted: str) -> bool:
    """
    Whether the header of HTTP's basic authentication can say a text.
    """
    try:
        unquote(quoted, errors="strict").encode("latin-1")
    except UnicodeError:
        return False
    return True


def check_ssl(option: str, value: object) -> None:
    """
    Raises unless a value is a client's `ssl.SSLContext` or None.

    Raises:
        OptionError: The message names the option and says what to pass.
    """
    if value is None:
        return
    if not isinstance(value, tls.SSLContext):
        raise OptionError(
            f"{option} must be an ssl.SSLContext or None, not {_shown(value)}; to trust a CA of"
            " your own, pass ssl.create_default_context(cafile=...)"
        )
    if value.protocol == tls.PROTOCOL_TLS_SERVER:
        raise OptionError(f"{option} must be a client's ssl.SSLContext, and this is a server's")


def check_proxy(option: str, value: object) -> None:
    """
    Raises unless a value is the URL of an http or https proxy, perhaps with credentials, or None.

    Raises:
        OptionError: The message names the option and the limit; it never prints the value.
    """
    if value is None:
        return
    check_text(option, value, secret=True)
    limit = f"{option} must be an http:// or https:// URL of a proxy"
    parts, port = _split(str(value))
    if parts is None:
        raise OptionError(f"{limit}, and is none")
    if not _is_latin(f"{parts.username}{parts.password}"):
        raise OptionError(f"{option} must have a user and a password in Latin-1, percent-encoded")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise OptionError(limit)
    if parts.path not in ("", "/") or parts.query or parts.fragment or " " in str(value):
        raise OptionError(f"{limit} without a path, a query, a fragment or blanks")
    if ":" in unquote(parts.username or ""):
        raise OptionError(f"{option} must have no colon in its user's name")


def check_posix(option: str) -> None:
    """
    Raises unless the system has POSIX's locks of files.

    Raises:
        OptionError: The message names the option.
    """
    if os.name != "posix" or find_spec("fcntl") is None:
        raise OptionError(f"{option} needs a POSIX system, for its locks")
