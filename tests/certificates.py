"""
How servers of tests speak TLS, and clients that trust them.
"""

from __future__ import annotations

import ssl
from typing import Any

import trustme

__all__ = ["serving", "trusting"]


def serving(ca: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    """
    A server's context, with a certificate for the names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(context)
    return context


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    """
    A client's context.
    """
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context
