"""
Our words for what the system and OpenSSL say when there is no answer; both lanes use them.

Plain: no I/O. The words are keys of `FAILURES` in `sendoff.destinations.verdicts`; a detail is
OpenSSL's or the system's own text, never a URL or a header.
"""

from __future__ import annotations

import os
import socket
import ssl

__all__ = ["Refusals", "named"]

LASTING = (
    "CERTIFICATE",
    "UNKNOWN_CA",
    "VERSION",
    "PROTOCOL",
    "HANDSHAKE_FAILURE",
    "NAME",
    "CIPHER",
)
"""Parts of OpenSSL's names for what no later try will change; the others pass, such as an end."""


def named(error: BaseException | None, *, connecting: bool) -> tuple[str, str]:
    """
    The word for a failure, and what else may be said of it.

    Args:
        error: What the system, OpenSSL or the loop raised; None for an end without a word.
        connecting: Whether there was no connection yet.
    """
    passing = "connect" if connecting else "disconnected"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls", error.verify_message
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or "")
        return ("tls" if any(part in reason for part in LASTING) else passing), reason
    if isinstance(error, socket.gaierror | UnicodeError):
        return "resolve", ""  # the resolver's numbers are no system's
    if isinstance(error, OSError):
        return passing, os.strerror(error.errno) if error.errno else ""
    return passing, "" if error is None else type(error).__name__


class Refusals:
    """
    Who refused us by an alert after the handshake, and has not answered since.

    TLS 1.3 tells a client that its certificate is missing or wrong after the handshake, and then
    hangs up: often enough the reset overtakes the alert.
    """

    def __init__(self) -> None:
        # All mutable state.
        self.known: set[tuple[str, ssl.SSLContext | None]] = set()

    def answered(self, url: str, context: ssl.SSLContext | None) -> None:
        """
        Notes that somebody takes our certificate, or wants none.
        """
        self.known.discard((url, context))

    def judged(self, failure: str, url: str, context: ssl.SSLContext | None) -> str:
        """
        The word for a failure after the handshake, in the light of earlier ones.
        """
        if failure == "tls":
            self.known.add((url, context))
        elif failure == "disconnected" and (url, context) in self.known:
            return "tls"
        return failure
