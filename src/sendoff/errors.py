"""
Everything that sendoff raises, as one tree; nothing here ever reaches the caller of `track`.

    SendoffError
    ├── OptionError      an option is wrong: the caller's fault; a ValueError, at construction
    ├── EventRejected    an event cannot be taken: raised by a destination, counted by its lane
    └── TransportError   no answer came: raised by a transport, turned into a verdict by the lane
"""

from __future__ import annotations

__all__ = ["EventRejected", "OptionError", "SendoffError", "TransportError"]


class SendoffError(Exception):
    """
    The root of all errors of this package.
    """


class OptionError(SendoffError, ValueError):
    """
    A constructor option is outside its limits; the message names the option and the limit.
    """


class EventRejected(SendoffError):
    """
    A destination cannot take an event.

    Args:
        reason: A short stable word for the count, such as ``missing_identity``.
        detail: What is missing or wrong. It names fields and types, never values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransportError(SendoffError):
    """
    A request got no answer.

    Args:
        failure: A short stable word, a key of `FAILURES` in `sendoff.destinations.verdicts`.
        perhaps_sent: False only when the vendor cannot have seen the request.
        detail: What else is known, for the log line, such as OpenSSL's word for a certificate's
            fault. Never a credential, a header or a part of a body.
    """

    def __init__(self, failure: str, *, perhaps_sent: bool, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure = failure
        self.perhaps_sent = perhaps_sent
        self.detail = detail
