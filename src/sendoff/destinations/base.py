"""
What a destination is: events → bodies → request, answer → verdict.

A destination is immutable but for what it remembers of credentials, and its methods are plain: no
await, clock, randomness or I/O (a credential's callable may look where it likes, at once). `encode`
runs in the caller's thread, at the call; `request` for a large batch runs in a worker thread, one
at a time; everything else runs in the loop. Beyond the protocol, a destination may have
``authorized(request) -> Request``, which is asked before every attempt for the request with the
credentials of the moment, and must return at once; and, for speed, ``assemble(fragments, time,
event_id) -> bytes | None``, which puts together what `encode` would give from the event's
`Fragments` (None leaves it to `encode`), with ``taken``, the names that no property may have for
that. To write a third one, subclass `HttpDestination` and give it an
`encode`, or satisfy the protocol `Destination` with a class of your own.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sendoff.destinations.credentials import Credential, Secret
from sendoff.destinations.verdicts import DELIVERED, is_plain_success, verdict_of_response
from sendoff.errors import OptionError
from sendoff.events import Event, Framing, Request, Response, Verdict, request_of
from sendoff.option_checks import check_text, check_url
from sendoff.options import Compression, Tuning

__all__ = ["Destination", "Dumps", "HttpDestination", "compressed"]

Dumps = Callable[[object], bytes]
"""Encodes any value to JSON bytes and never raises; the lane's encoder, handed to `encode`."""


class Destination(Protocol):
    """
    An adapter for one vendor.
    """

    @property
    def name(self) -> str:
        """
        The key of this destination in `to=` and in `Stats.destinations`.
        """

    @property
    def endpoint(self) -> str:
        """
        The absolute URL that requests go to.
        """

    @property
    def tuning(self) -> Tuning:
        """
        The options that every destination has.
        """

    @property
    def framing(self) -> Framing:
        """
        What stands around and between the events of a request, so that the batcher can count it.
        """

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body given to `enqueue` without `to` has this vendor's shape.
        """

    def encode(self, event: Event, dumps: Dumps) -> bytes | None:
        """
        One event's JSON object, or None if the vendor has no such thing (the event is then passed
        over, uncounted).

        Raises:
            EventRejected: The vendor would not take it.
        """

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A vendor's own body, checked; its JSON and its id (its own, if it carries one).

        Raises:
            EventRejected: The vendor would not take it.
        """

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        One request for one or more encoded events; for a large batch, in a worker thread.
        """

    def verdict(self, response: Response, now: float) -> Verdict:
        """
        What an answer means.

        Args:
            response: The answer.
            now: Epoch seconds, for a ``Retry-After`` that is a date.
        """


class HttpDestination:
    """
    What most destinations share: one URL, constant headers, a framing, and the table of verdicts.

    Args:
        name: The key in `to=` and in the statistics.
        endpoint: The absolute URL.
        tuning: The common options.
        headers: Headers of every request, credentials included. In the place of a str may stand a
            callable that returns it, for a credential that changes: it is asked before every
            attempt, in the loop, so it must return at once. One that raises, or returns no fit
            text, holds the lane as a 401 does.
        secrets: What must not show in a log line, should the vendor's answer repeat it. What
            callables in `headers` return is among it.
        framing: What stands around and between several events.
        batch_content_type: The content type of two or more events, if it is not JSON's.

    Raises:
        OptionError: A value is outside its limits.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoint: str,
        tuning: Tuning,
        headers: Mapping[str, Credential | Secret] | None = None,
        secrets: Sequence[str | Secret] = (),
        framing: Framing | None = None,
        batch_content_type: str = "application/json",
    ) -> None:
        check_text("name", name)
        check_url("endpoint", endpoint)
        self._name = name
        self._endpoint = endpoint
        self._tuning = tuning
        self._framing = framing or Framing()
        self._secrets = [one for one in secrets if isinstance(one, str)]
        self._watched = [one for one in secrets if isinstance(one, Secret)]
        self._asked: dict[str, Secret] = {}  # the headers that are put in at every attempt
        common = {"Accept": "application/json"}
        for header, value in (headers or {}).items():
            if isinstance(value, str):
                common[header] = value
                continue
            secret = value if isinstance(value, Secret) else Secret(f"header {header}", value)
            self._watched.append(secret)
            if secret.is_fixed:
                common[header] = secret.now()
            else:
                self._asked[header] = secret
        if tuning.compression is not None:
            common["Content-Encoding"] = tuning.compression
        self._headers = {"Content-Type": "application/json", **common}
        self._batch_headers = {"Content-Type": batch_content_type, **common}
        if framing is None and tuning.max_batch_events != 1:
            raise OptionError("max_batch_events must be 1 for a destination without framing")

    def __repr__(self) -> str:
        """
        Name and URL; never a credential.
        """
        return f"{type(self).__name__}(name={self._name!r}, endpoint={self._endpoint!r})"

    @property
    def name(self) -> str:
        """
        The key of this destination in `to=` and in `Stats.destinations`.
        """
        return self._name

    @property
    def endpoint(self) -> str:
        """
        The absolute URL that requests go to.
        """
        return self._endpoint

    @property
    def tuning(self) -> Tuning:
        """
        The options that every destination has.
        """
        return self._tuning

    @property
    def framing(self) -> Framing:
        """
        What stands around and between the events of a request.
        """
        return self._framing

    def recognizes(self, payload: Mapping[str, Any]) -> bool:
        """
        Whether a body given to `enqueue` without `to` has this vendor's shape: by default, every
        body has.
        """
        return True

    def encode_payload(
        self, payload: Mapping[str, Any], *, event_id: str, time: float, dumps: Dumps
    ) -> tuple[bytes, str]:
        """
        A vendor's own body, as it is.
        """
        return dumps(payload), event_id

    def request(self, bodies: Sequence[bytes]) -> Request:
        """
        One request: a single event goes as it is, several go in the framing.
        """
        if len(bodies) == 1:
            return request_of(self._endpoint, self._headers, bodies[0])
        framing = self._framing
        # The ends take the brackets with them, so that 5 MB are copied once and not twice.
        first, last = framing.opening + bodies[0], bodies[-1] + framing.closing
        body = framing.separator.join((first, *bodies[1:-1], last))
        return Request(self._endpoint, self._batch_headers, body)

    def authorized(self, request: Request) -> Request:
        """
        The request with the credentials of this moment; asked for before every attempt.

        Raises:
            TransportError: One is not to be had; nothing is to be sent.
        """
        if not self._asked:
            return request
        fresh = {header: secret.now() for header, secret in self._asked.items()}
        return replace(request, headers={**request.headers, **fresh})

    def verdict(self, response: Response, now: float) -> Verdict:
        """
        What an answer means, by the table `STATUSES`.
        """
        if is_plain_success(response):
            return DELIVERED  # without looking up what an answer must not show
        known = [text for secret in self._watched for text in secret.known]
        return verdict_of_response(response, now, (*self._secrets, *known))


def compressed(request: Request, method: Compression) -> Request:
    """
    A request with its body compressed; the headers say so already. Takes 10 ms and more for a large
    body.
    """
    # mtime=0: equal events give equal bytes.
    body = (
        gzip.compress(request.body, 6, mtime=0)
        if method == "gzip"
        else zlib.compress(request.body, 6)
    )
    return replace(request, body=body)
