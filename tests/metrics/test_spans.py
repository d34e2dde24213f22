"""
Our own requests are no client spans of the app's, whatever traces aiohttp; nor do they live on in
the context of the request that happened to wake a worker.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sendoff import Dispatcher, Freshpaint, Request
from sendoff.sink import SinkProcess
from sendoff.transports.http import HttpTransport
from virtual import Vendors, freshpaint, run
from virtual import dispatcher as dispatcher_to


@pytest.fixture(scope="module")
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as process:
        yield process


class Tracing:
    """
    aiohttp's client under real instrumentation, and the spans that come of it.
    """

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self) -> list[tuple[str, trace.SpanKind]]:
        return [(span.name, span.kind) for span in self.exporter.get_finished_spans()]


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    tracing = Tracing()
    AioHttpClientInstrumentor().instrument(tracer_provider=tracing.provider)
    try:
        yield tracing
    finally:
        AioHttpClientInstrumentor().uninstrument()
        tracing.provider.shutdown()


class SessionOnly(Freshpaint):
    """
    Goes by the session lane: the fast one does not know such a header.
    """

    def request(self, bodies):
        plain = super().request(bodies)
        return Request(plain.url, {**plain.headers, "Keep-Alive": "timeout=5"}, plain.body)


@pytest.mark.parametrize(("kind", "lane"), [(Freshpaint, "fast"), (SessionOnly, "session")])
def test_deliveries_make_no_spans(tracing, sink, kind, lane):
    """Neither lane shows under aiohttp's instrumentation, while the app's own requests do."""
    sink.reset()
    tracer = tracing.provider.get_tracer("app")

    async def main():
        destination = kind(token="t", endpoint=sink.freshpaint_endpoint)
        async with Dispatcher(destination) as dispatcher:
            with tracer.start_as_current_span("checkout"):
                dispatcher.track("bought", user_id="u-1")
                async with aiohttp.ClientSession() as own, own.get(f"{sink.url}/_sink/stats"):
                    pass
            assert await dispatcher.flush(timeout=10)
            return dispatcher.stats().destinations["freshpaint"].lane

    assert asyncio.run(main()) == lane
    assert len(sink.events("freshpaint")) == 1
    assert tracing.spans() == [
        ("GET", trace.SpanKind.CLIENT),
        ("checkout", trace.SpanKind.INTERNAL),
    ]


def test_a_session_of_yours_is_traced_as_you_made_it(tracing, sink):
    """Who wants the spans gives a session: its requests show, as roots of their own."""
    sink.reset()
    tracer = tracing.provider.get_tracer("app")

    async def main():
        async with aiohttp.ClientSession() as own:
            destination = Freshpaint(token="t", endpoint=sink.freshpaint_endpoint)
            async with Dispatcher(destination, transport=HttpTransport(session=own)) as dispatcher:
                with tracer.start_as_current_span("checkout"):
                    dispatcher.track("bought", user_id="u-1")
                assert await dispatcher.flush(timeout=10)

    asyncio.run(main())
    posts = [span for span in tracing.exporter.get_finished_spans() if span.name == "POST"]
    assert [span.parent for span in posts] == [None]


def test_a_worker_knows_nothing_of_the_request_that_called_for_it():
    """No context variable of a request's is seen where an event is sent, nor kept alive there."""
    request = contextvars.ContextVar("request", default="nobody's")
    seen = []

    async def answer():
        seen.append(request.get())
        await asyncio.sleep(1.0)

    async def main():
        vendors = Vendors(lambda *_: answer())
        async with dispatcher_to(vendors, freshpaint()) as dispatcher:
            await asyncio.sleep(1.0)
            for number in range(4):  # each finds all workers busy, so another one is started
                request.set(f"request {number}")
                dispatcher.track("bought", user_id="u-1")
                await asyncio.sleep(0.1)
            assert await dispatcher.flush()

    run(main())
    assert seen == ["nobody's"] * 4
