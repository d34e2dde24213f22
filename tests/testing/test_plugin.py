"""
The pytest plugin as a user has it: a project of its own, in a process of its own, found by the
entry point, with every warning an error and no network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import sendoff

ROOT = Path(__file__).parents[2]

NO_NETWORK = """
import os, socket

real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}

def refuse(what):
    with open(os.environ["ATTEMPTS"], "a") as file:
        file.write(f"{what}\\n")
    raise OSError(f"no network: {what}")

def guarded(name):
    def call(self, *args):
        address = args[-1]
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            refuse(address)
        return real[name](self, *args)
    return call

for name in real:
    setattr(socket.socket, name, guarded(name))

real_lookup = socket.getaddrinfo

def lookup(host, *args, **options):
    if host not in (None, "127.0.0.1", "::1", "localhost", ""):
        refuse(host)
    return real_lookup(host, *args, **options)

socket.getaddrinfo = lookup
"""

INI = """
[pytest]
filterwarnings = error
addopts = --strict-markers --strict-config -p no:cacheprovider
"""

SHOP = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from sendoff import Datadog, Dispatcher, Freshpaint

dispatcher = Dispatcher(
    Datadog(api_key="k", application_id="a"), Freshpaint(token="t"), shutdown_timeout=1
)

@asynccontextmanager
async def lifespan(app):
    async with dispatcher:
        yield

app = FastAPI(lifespan=lifespan)

@app.post("/checkout")
async def checkout(user: str, amount: float):
    dispatcher.track("checkout.completed", user_id=user, properties={"amount": amount})
    return {"ok": True}

@app.post("/plain")
def plain(user: str):  # in a thread
    dispatcher.track("plain", user_id=user)
    return {"ok": True}
"""

TESTS = """
import asyncio
import pytest
from fastapi.testclient import TestClient
from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.testing import ScriptedVendors, VirtualLoop, capture, run_virtual
import shop

def test_without_a_loop(sendoff_events):
    shop.dispatcher.track("x", user_id="u-1")
    sendoff_events.one("x", user_id="u-1")

@pytest.mark.parametrize("time", [1, 2])
def test_of_a_web_app(sendoff_events, time):
    with TestClient(shop.app) as client:
        assert client.post("/checkout?user=u-1&amount=9.99").json() == {"ok": True}
        assert client.post("/plain?user=u-1").json() == {"ok": True}
    event = sendoff_events.one("checkout.completed", user_id="u-1", properties={"amount": 9.99})
    assert event.bodies["datadog"]["usr"] == {"id": "u-1"}
    assert sendoff_events.names == ["checkout.completed", "plain"]

def test_of_a_web_app_without_its_lifespan(sendoff_events):
    TestClient(shop.app).post("/checkout?user=u-2&amount=1")
    sendoff_events.one("checkout.completed", user_id="u-2")

def test_of_a_running_web_app():
    with TestClient(shop.app) as client, capture(shop.dispatcher) as events:
        client.post("/checkout?user=u-1&amount=9.99")
    events.one("checkout.completed")

@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualLoop}

@pytest.mark.anyio
async def test_of_a_coroutine(sendoff_events):
    await shop.checkout("u-1", 9.99)
    await asyncio.sleep(3_600)
    assert await shop.dispatcher.flush()
    sendoff_events.one("checkout.completed")

def test_of_an_app_made_in_the_test(sendoff_events):
    dispatcher = Dispatcher(Freshpaint(token="t"))
    dispatcher.track("made", device_id="d-1")
    sendoff_events.one("made", user_id=None, device_id="d-1", to="freshpaint")

def test_that_means_it(sendoff_events):
    shop.dispatcher.track("anonymous", device_id="d-1")
    assert [one.reason for one in sendoff_events.rejected] == ["missing_identity"]
    sendoff_events.allow_rejected()

@pytest.mark.parametrize("time", [1, 2])
def test_over_real_sockets(sendoff_sink, time):
    assert (sendoff_sink.stats().requests_total, sendoff_sink.stats().script) == (0, ())
    sendoff_sink.faults("503 first 1")

    async def main():
        endpoint = sendoff_sink.freshpaint_endpoint
        async with Dispatcher(Freshpaint(token="t", endpoint=endpoint)) as dispatcher:
            dispatcher.track("x", user_id="u-1")
    asyncio.run(main())
    assert [event["event"] for event in sendoff_sink.events("freshpaint")] == ["x"]
    assert sendoff_sink.stats().requests_total == 2

def test_in_virtual_time():
    async def main():
        vendors = ScriptedVendors("503 for 10s")
        async with Dispatcher(Freshpaint(token="t"), transport=vendors) as dispatcher:
            dispatcher.track("x", user_id="u-1")
            await dispatcher.flush()
        assert vendors.times[-1] >= 10
        assert len(vendors.accepted) == 1
    run_virtual(main())
"""

FAILING = """
import pytest
from sendoff import Datadog, Dispatcher

dispatcher = Dispatcher(Datadog(api_key="k", application_id="a"))

def test_wrong(sendoff_events):
    dispatcher.track("cart.opened", user_id="u-1")
    sendoff_events.one("cart.closed")

def test_rejected(sendoff_events):
    dispatcher.track("anonymous", device_id="d-1")
"""

LEAKING = """
from sendoff import Dispatcher, Freshpaint

def test_without_a_fixture():
    Dispatcher(Freshpaint(token="t"), shutdown_timeout=4).track("x", user_id="u-1")
"""


class Project:
    """
    A user's project in a folder.
    """

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        self.attempts = folder / "attempts"
        texts = {"pytest.ini": INI, "block/sitecustomize.py": NO_NETWORK}
        texts |= {f"{name}.py": text for name, text in files.items()}
        if not any(one.name == "pytest_sendoff" for one in entry_points(group="pytest11")):
            # Not installed, as in a run from the source: found by the very lines of the project.
            declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            plugins = declared["entry-points"]["pytest11"].items()
            lines = "".join(f"{name} = {value}\n" for name, value in plugins)
            texts["dist/sendoff-0.dist-info/entry_points.txt"] = f"[pytest11]\n{lines}"
            texts["dist/sendoff-0.dist-info/METADATA"] = "Name: sendoff\nVersion: 0\n"
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """
        Its tests, run.
        """
        paths = (self.folder / "block", self.folder / "dist", Path(sendoff.__file__).parents[1])
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "COV_")) and not name.lower().endswith("_proxy")
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--color=no", *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={
                **kept,
                "ATTEMPTS": str(self.attempts),
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
            },
        )


@pytest.mark.parametrize("options", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])
def test_a_users_tests_pass_without_a_network(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Without a loop, under a test client, in coroutines, in threads, over the sink, in several
    processes; nobody even tries to leave the machine."""
    project = Project(tmp_path, shop=SHOP, test_shop=TESTS)
    result = project.run(*options)
    assert re.search(r"^11 passed", result.stdout, re.MULTILINE), result.stdout + result.stderr
    assert (result.returncode, result.stderr) == (0, "")
    assert not project.attempts.exists(), project.attempts.read_text()


@pytest.mark.slow
def test_without_the_fixture_somebody_would_have_tried(tmp_path: Path) -> None:
    """The block is one: an event that nothing captures is tried to be sent."""
    project = Project(tmp_path, test_leaking=LEAKING)
    project.run()
    assert project.attempts.exists()


def test_a_failure_reads_well(tmp_path: Path) -> None:
    """The line of the test, what came, and no line of ours; a rejected event fails at the end."""
    project = Project(tmp_path, test_failing=FAILING)
    result = project.run()
    assert result.returncode == 1
    assert (
        '>       sendoff_events.one("cart.closed")\n'
        "E       AssertionError: expected exactly 1 event like 'cart.closed', got none\n"
        "E       nearest: 'cart.opened' user_id='u-1' properties={}\n"
        "E           name: expected 'cart.closed', got 'cart.opened'\n"
        "E       captured:\n"
        "E           - 'cart.opened' user_id='u-1' properties={}\n"
    ) in result.stdout
    assert (
        "ERROR at teardown of test_rejected ___\n"
        "an event was rejected, and would not have been sent:\n"
        "    - 'anonymous' by datadog: missing_identity: one of user_id, account_id, session_id is"
        " required\n"
        "if that is meant: capture(..., allow_rejected=True), or events.allow_rejected()\n"
    ) in re.sub("_{3,}", "___", result.stdout)
    assert "During handling" not in result.stdout
    assert "_events.py" not in result.stdout
    assert "1 failed, 1 passed, 1 error" in result.stdout

    allowed = project.run("-o", "sendoff_allow_rejected=true")
    assert "1 failed, 1 passed" in allowed.stdout
    assert "error" not in allowed.stdout.splitlines()[-1]
