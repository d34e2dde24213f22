"""`sendoff check` against real sockets: the sink, a server with TLS, a proxy, nobody."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket

import pytest
import trustme

from certificates import serving, trusting
from neighbours import Neighbour, answer
from sendoff.check.probes import look_at_way
from sendoff.cli import cli
from sendoff.sink import Settings, SinkProcess

KEYS = {
    "DD_API_KEY": "0123456789abcdef" * 2,
    "DD_APPLICATION_ID": "01234567-89ab-cdef-0123-456789abcdef",
    "FRESHPAINT_TOKEN": "01234567-89ab-cdef-0123-456789abcdef",
}
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(scope="module")
def process():
    with SinkProcess(Settings(accept_batches=False)) as sink:
        yield sink


def check(*options, keys=KEYS):
    out = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        for name in (*KEYS, *PROXIES):
            patch.delenv(name, raising=False)
        for name, value in keys.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli(["check", *options], prog_name="sendoff")
    return int(end.value.code), out.getvalue()


def endpoints(sink):
    return (
        f"--datadog-endpoint={sink.datadog_endpoint}",
        f"--freshpaint-endpoint={sink.freshpaint_endpoint}",
    )


def test_all_is_well_at_the_sink(sink, tmp_path):
    """Every step is ok, for both vendors; without --live no event is sent."""
    status, out = check(*endpoints(sink), "--json", f"--spool={tmp_path / 's'}")
    found = [json.loads(line) for line in out.splitlines()]
    assert (status, {one["result"] for one in found} - {"ok", "warn"}) == (0, set()), out
    steps = ["options", "dns", "tcp", "http", "clock"]
    assert [one["what"] for one in found] == [*steps, *steps, "disk"]
    assert [one["result"] for one in found][:-1] == ["ok"] * 10
    assert sink.stats().datadog.accepted == sink.stats().freshpaint.accepted == 0
    assert check(*endpoints(sink), "-q") == (0, "")


def test_live_sends_marked_events_and_says_where_they_are(sink):
    """The mark in the report is the one at the vendor; a batch that was refused is told."""
    status, out = check(*endpoints(sink), "--live", "--json")
    found = {
        one["vendor"]: one for one in map(json.loads, out.splitlines()) if one["what"] == "live"
    }
    assert (status, found["datadog"]["result"], found["freshpaint"]["result"]) == (0, "warn", "ok")
    assert "use framing='single'" in found["datadog"]["todo"]
    events = [*sink.events("datadog"), *(one["properties"] for one in sink.events("freshpaint"))]
    (mark,) = {event["sendoff_check"] for event in events}
    assert (len(events), mark in found["freshpaint"]["todo"]) == (4, True)


def test_a_wrong_key_fails_at_once(sink):
    """Without waiting for a lane that is held, and without showing the key."""
    sink.faults("403")
    status, out = check(*endpoints(sink), "--live", "--to=datadog", "--timeout=20")
    assert status == 1
    assert "fail  datadog     live         0 of 2 events taken (403)" in out
    assert "look at the key or token" in out
    assert "0 of 2 events taken (403): 403" in out  # and the vendor's own words
    assert KEYS["DD_API_KEY"] not in out


def test_without_credentials_the_way_is_gone_all_the_same(sink):
    """What is missing fails, and the network is looked at; nothing is sent, not even if asked."""
    status, out = check(*endpoints(sink), "--live", "--timeout=2", keys={})
    assert (status, "sendoff.check" in out) == (1, False)
    assert sink.stats().requests_total == 2  # those without a key and an event
    assert "api_key is not given and DD_API_KEY is not set" in out
    assert "token is not given and FRESHPAINT_TOKEN is not set" in out
    assert out.count("answered 405") == 2


def test_nobody_there_and_a_name_that_is_none():
    """A refused connection and a name without an address are different lines."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    status, out = check(
        f"--datadog-endpoint=http://127.0.0.1:{port}/x",
        "--freshpaint-endpoint=http://nowhere.invalid/x",
    )
    assert status == 1
    lines = [line.split() for line in out.splitlines() if line.startswith("fail")]
    assert [line[1:3] for line in lines] == [["datadog", "tcp"], ["freshpaint", "dns"]]


def test_a_proxy_of_the_environments_is_pointed_at(sink):
    """It is not used, and not silently so."""
    keys = {**KEYS, "HTTPS_PROXY": "http://user:secret@proxy.invalid:1"}
    status, out = check(*endpoints(sink), keys=keys)
    assert (status, "HTTPS_PROXY is set, and sendoff does not read it" in out) == (0, True)
    assert "secret" not in out
    given = check(*endpoints(sink), f"--proxy={sink.url}", keys=keys)[1]
    assert "HTTPS_PROXY" not in given  # whoever gives one has seen to it


def test_the_query_of_an_endpoint_is_not_shown(sink):
    """People put keys into URLs."""
    endpoint = f"{sink.datadog_endpoint}?dd-api-key=secret"
    status, out = check(f"--datadog-endpoint={endpoint}", "--to=datadog", "--json")
    assert (status, f"requests go to {sink.datadog_endpoint}" in out) == (0, True), out
    assert "secret" not in out


def test_a_file_without_certificates_is_wrong_use(tmp_path):
    """Exit 2, and the option's name."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    assert check(f"--ca-file={path}") == (2, "")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(organization_name="Our own")


def contexts(authority):
    return serving(authority), trusting(authority)


def test_tls_as_it_is_spoken(authority):
    """Version, issuer and end of a certificate that verifies; OpenSSL's words of one that does
    not."""
    theirs, ours = contexts(authority)
    date = "Sun, 06 Nov 1994 08:49:37 GMT"

    async def main():
        async with Neighbour(theirs, lambda _: answer(404, Date=date)) as server:
            url = f"https://localhost:{server.port}/track"
            good = await look_at_way(url, ours, None, 10.0)
            bad = await look_at_way(url, None, None, 10.0)
            return good, bad, server.seen

    good, bad, seen = asyncio.run(main())
    assert (good.tls, good.issuer, good.status, good.tls_error) == ("TLSv1.3", "Our own", 404, None)
    assert good.expires > 0
    assert good.offset < -86_400 * 365
    assert (bad.status, "certificate" in bad.tls_error) == (None, True)
    assert [(one.method, one.target, one.body) for one in seen] == [("GET", "/track", b"")]


def test_what_hangs_ends_in_time():
    """A server that never answers is a line of its own."""

    async def main():
        async with Neighbour(respond=lambda _: None) as server:
            return await look_at_way(f"http://127.0.0.1:{server.port}/", None, None, 0.2)

    assert asyncio.run(main()).http_error == "nothing within 0.2 s"


def test_what_speaks_no_http_is_named():
    """A server that answers with something else, or hangs up."""

    async def main(body):
        async with Neighbour(respond=lambda _: body) as server:
            return await look_at_way(f"http://127.0.0.1:{server.port}/", None, None, 10.0)

    assert asyncio.run(main(b"SSH-2.0-x\r\n\r\n")).http_error == "the answer is no HTTP"
    assert asyncio.run(main(b"")).http_error == "it hung up without an answer"


def test_through_a_proxy(authority):
    """A tunnel for https with the proxy's password, the whole URL for http; a refusal is told."""
    theirs, ours = contexts(authority)

    async def main():
        async with Neighbour(theirs) as server, _proxy(200) as yes, _proxy(407) as no:
            url = f"https://localhost:{server.port}/track"
            through = f"http://user:p%20w@127.0.0.1:{yes.port}"
            good = await look_at_way(url, ours, through, 10.0)
            bad = await look_at_way(url, ours, f"http://127.0.0.1:{no.port}", 10.0)
            return good, bad, yes.heads

    good, bad, heads = asyncio.run(main())
    assert (good.status, good.tls, good.proxy.startswith("127.0.0.1:")) == (202, "TLSv1.3", True)
    assert "Proxy-Authorization: Basic dXNlcjpwIHc=" in heads[0]
    assert (bad.proxy_error, bad.tls) == ("it answered 407 to CONNECT", None)


class _proxy:
    """A proxy that answers CONNECT as told, and then leads on."""

    def __init__(self, status):
        self.status = status
        self.heads = []
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(f"HTTP/1.1 {self.status} Whatever\r\n\r\n".encode())
        if self.status != 200:
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        onward, there = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_pump(reader, there), _pump(onward, writer))


async def _pump(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()
