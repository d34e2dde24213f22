"""
The sink's server: who asks for what, and what becomes of it.

A request to a vendor is counted when it arrives, judged by the contract, bent by the faults and
noted in a ledger. The routes below `/_sink/` are for whoever runs the sink and are counted nowhere;
no web site other than the sink's own page may use them.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from sendoff.sink.contract import JSON, PATHS, Verdict, judging
from sendoff.sink.faults import Kind, Script
from sendoff.sink.grammar import parse_fault
from sendoff.sink.ledger import Ledger
from sendoff.sink.live import Live, wanted_from
from sendoff.sink.manners import objection
from sendoff.sink.pages import page_file
from sendoff.sink.rows import TEXT_LIMIT, Note
from sendoff.sink.stats import Stats
from sendoff.sink.strict import parse_json
from sendoff.sink.wire import Connection, misbehave, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sendoff.sink.checks import Vendor
    from sendoff.sink.settings import Settings

# How long stopping waits for requests under way; the hung ones among them never end by themselves.
_STOP_SECONDS = 0.05
# Many clients may open their connections within one turn of the loop.
_BACKLOG = 1_024


async def serve(
    settings: Settings, stop: asyncio.Event, *, on_ready: Callable[[int], None]
) -> None:
    """
    Listen on 127.0.0.1 until told to stop.

    Cancelling it stops it as `stop` does; requests under way are then dropped.

    Args:
        settings: what the sink takes and refuses.
        stop: set to end it.
        on_ready: called once with the port, when connections are taken.

    Raises:
        OSError: the port cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    server = web.Server(Sink(settings).handle)
    # Bodies are wanted as they were sent; a log line per request would be the sink's greatest cost.
    options: dict[str, Any] = {"access_log": None, "auto_decompress": False}
    listener = await loop.create_server(
        lambda: Connection(server, loop=loop, **options),
        "127.0.0.1",
        settings.port,
        backlog=_BACKLOG,
    )
    try:
        on_ready(listener.sockets[0].getsockname()[1])
        await stop.wait()
    finally:
        listener.close()
        server.pre_shutdown()
        await server.shutdown(_STOP_SECONDS)


class Sink:
    """
    Both vendors behind one port, with their counts and faults.

    Args:
        settings: what they take and refuse.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        # A fixed seed: the same requests in the same order meet the same faults.
        self._chance = random.Random(1).random
        # All mutable state. Ledgers are replaced, never emptied: requests under way keep theirs.
        self._strays = 0
        self._ledgers = self._new_ledgers()
        self._live = Live(settings, ledgers=lambda: self._ledgers, facts=self._facts)
        self._script = self._new_script(settings.faults)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request, whoever it is for.

        Args:
            request: its head has been read, its body perhaps not.
        """
        path, _, query = request.raw_path.partition("?")
        vendor = PATHS.get(path)
        try:
            if vendor is not None:
                return await self._receive(request, vendor, path)
            body, _ = await read_body(request)
        except (ConnectionError, web.RequestPayloadError):
            # The client went away before the end of its body, or does not frame it as HTTP asks.
            return web.Response(status=400)
        if path != "/" and not path.startswith("/_sink/"):
            self._strays += 1
            return _response(_json({"error": "no such path"}, 404))
        try:
            if reason := objection(request.headers, is_page=path == "/"):
                return _response(_json({"error": reason}, 403))
            fields = dict(parse_qsl(query))
            if (request.method, path) == ("GET", "/_sink/live"):
                return await self._live.serve(request, wanted_from(fields))
            html = "text/html" in request.headers.get("accept", "")
            if (request.method, path, html) == ("GET", "/", True):
                path = "/_sink/page/index.html"
            return _response(self._control(request.method, path, fields, body))
        except ValueError as error:
            return _response(_json({"error": str(error)}, 400))

    async def _receive(
        self, request: web.BaseRequest, vendor: Vendor, path: str
    ) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        now, ledger = connection.arrived, self._ledgers[vendor]
        ledger.arrived(now)
        fault, latency = self._script.plan(vendor, now)
        body, size = await read_body(request)
        ledger.received(size)

        verdict, place = None, None
        if fault is not None and fault.answers:
            verdict = fault.answer(vendor, time.time())
        elif fault is None or fault.processes:
            for verdict in judging(self._settings, request.method, path, request.headers, body):
                if verdict is None:
                    await asyncio.sleep(0)  # the arrivals meanwhile are noted in time
            assert verdict is not None
            if self._live.watched:
                place = ledger.place_of(verdict.ids)
            ledger.processed(verdict)
        if latency:
            ledger.faulted(Kind.LATENCY)
            await asyncio.sleep(latency)
        if fault is not None:
            ledger.faulted(fault.kind)
        status = None
        if verdict is not None and (fault is None or fault.kind is not Kind.RESET):
            status = verdict.status
            ledger.answered(status)
        if self._live.watched and ledger is self._ledgers[vendor]:
            judged = None if fault is not None and fault.answers else verdict
            accepted = judged is not None and bool(judged.events)
            if place is not None or not accepted:  # else it was processed before anybody watched
                self._live.note(
                    Note(
                        vendor,
                        now,
                        size,
                        status,
                        fault=None if fault is None else fault.text,
                        verdict=judged,
                        first=0 if place is None else place[0],
                        repeats=frozenset() if place is None else place[1],
                        body=b"" if accepted else body[:TEXT_LIMIT],
                        encoding=request.headers.get("content-encoding"),
                    )
                )
        if fault is not None and not fault.answers:
            await misbehave(connection, fault.kind, verdict)
        return web.Response() if verdict is None else _response(verdict)

    def _control(self, method: str, path: str, query: dict[str, str], body: bytes) -> Verdict:
        match method, path:
            case "GET", "/" | "/_sink/summary":
                return Verdict(200, self._summary().encode(), (("Content-Type", "text/plain"),))
            case "GET", "/_sink/health":
                return _json({"ok": True})
            case "GET", "/_sink/stats":
                return _json(asdict(self._stats()))
            case "GET", "/_sink/ids":
                return _json(self._ledger(query).ids)
            case "GET", "/_sink/arrivals":
                return _json(list(self._ledger(query).arrivals))
            case "GET", "/_sink/events":
                if "after" in query:
                    return _json(self._ledger(query).bodies_after(int(query["after"])))
                bodies = list(self._ledger(query).bodies)
                limit = int(query.get("limit", len(bodies)))
                return _json(bodies[max(0, len(bodies) - limit) :])
            case "POST", "/_sink/reset":
                self._strays, self._ledgers = 0, self._new_ledgers()
                self._live.reset()
                return _json({})
            case "POST", "/_sink/faults":
                self._script = self._changed_script(body)
                return _json({})
        file = page_file(path.removeprefix("/_sink/page/")) if method == "GET" else None
        if file is not None:
            return file
        self._strays += 1
        return _json({"error": "no such path"}, 404)

    def _new_ledgers(self) -> dict[Vendor, Ledger]:
        return {vendor: Ledger(keep_events=self._settings.keep_events) for vendor in PATHS.values()}

    def _new_script(self, lines: Iterable[str]) -> Script:
        faults = [parse_fault(line) for line in lines]
        return Script(faults, now=time.monotonic(), chance=self._chance)

    def _changed_script(self, body: bytes) -> Script:
        data = parse_json(body)
        if isinstance(data, dict) and "script" in data:
            return self._new_script(_lines(data, "script"))
        if not (isinstance(data, dict) and ("add" in data or "remove" in data)):
            raise ValueError('body must be {"script": ["...", ...]}, or hold "add" and "remove"')
        added = [parse_fault(line) for line in _lines(data, "add")]
        return self._script.changed(add=added, remove=_lines(data, "remove"), now=time.monotonic())

    def _facts(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "uptime": now - self._started,
            "strays": self._strays,
            "script": [standing._asdict() for standing in self._script.standing(now)],
        }

    def _ledger(self, query: dict[str, str]) -> Ledger:
        for vendor, ledger in self._ledgers.items():
            if query.get("vendor") == vendor:
                return ledger
        raise ValueError(f"vendor must be one of {', '.join(self._ledgers)}")

    def _stats(self) -> Stats:
        now = time.monotonic()
        return Stats(
            uptime=now - self._started,
            now=now,
            script=tuple(fault.text for fault in self._script.faults),
            strays=self._strays,
            requests_total=sum(ledger.requests for ledger in self._ledgers.values()),
            datadog=self._ledgers["datadog"].snapshot(),
            freshpaint=self._ledgers["freshpaint"].snapshot(),
        )

    def _summary(self) -> str:
        lines = []
        for vendor, ledger in self._ledgers.items():
            counts = ledger.snapshot()
            lines.append(
                f"{vendor}: {counts.requests:,} requests, {counts.accepted:,} events accepted"
                f" ({counts.duplicates:,} duplicates), fullest second {counts.fullest_second:,}\n"
            )
        return "".join(lines)


def _lines(data: dict[str, Any], name: str) -> list[str]:
    lines = data.get(name, [])
    if not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
        raise ValueError(f'body must be {{"{name}": ["...", ...]}}')
    return lines


def _json(value: Any, status: int = 200) -> Verdict:
    return Verdict(status, json.dumps(value).encode(), JSON)


def _response(answer: Verdict) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
