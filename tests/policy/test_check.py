"""What a check makes of what it has seen."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from sendoff.check.facts import Disk, Facts, Live
from sendoff.check.findings import (
    DAY,
    SOON,
    Result,
    certificate_finding,
    clock_finding,
    configuration_findings,
    disk_finding,
    live_finding,
    network_findings,
    proxy_finding,
)
from sendoff.check.probes import look_at_disk

GOOD = Facts(
    host="intake.example",
    port=443,
    secure=True,
    addresses=("192.0.2.1",),
    connected=0.02,
    tls="TLSv1.3",
    issuer="Good CA",
    expires=1_000_000.0 + 90 * DAY,
    status=405,
    offset=0.4,
    spread=0.6,
)


def brief(findings):
    return [(finding.what, finding.result) for finding in findings]


def test_a_good_way_is_ok_all_along():
    """A line for each step, and nothing to do."""
    found = network_findings("datadog", GOOD)
    assert brief(found) == [(what, Result.OK) for what in ("dns", "tcp", "tls", "http")]
    assert [finding.todo for finding in found] == [""] * 4


@pytest.mark.parametrize(
    ("facts", "last"),
    [
        ({"dns_error": "unknown"}, ("dns", Result.FAIL)),
        ({"connect_error": "refused"}, ("tcp", Result.FAIL)),
        ({"proxy": "p:1", "connect_error": "refused"}, ("proxy", Result.FAIL)),
        ({"proxy": "p:1", "proxy_error": "it answered 407 to CONNECT"}, ("proxy", Result.FAIL)),
        ({"tls_error": "self-signed certificate"}, ("tls", Result.FAIL)),
        ({"http_error": "the answer is no HTTP"}, ("http", Result.FAIL)),
        ({"status": 503}, ("http", Result.WARN)),
    ],
)
def test_the_way_ends_where_it_is_broken(facts, last):
    """What fails is the last line and says what to do; steps behind it are not made up."""
    found = network_findings("datadog", replace(GOOD, **facts))
    assert brief(found)[-1] == last
    assert found[-1].todo
    assert all(finding.result is Result.OK for finding in found[:-1])


def test_a_slow_connection_and_plain_http_are_warned_of():
    """Both work, and both are worth a look; on this machine plain http is fine."""
    slow = network_findings("datadog", replace(GOOD, connected=1.5))
    assert ("tcp", Result.WARN) in brief(slow)
    plain = replace(GOOD, secure=False)
    assert ("tls", Result.WARN) in brief(network_findings("datadog", plain))
    local = network_findings("datadog", replace(plain, host="127.0.0.1"))
    assert brief(local) == [(what, Result.OK) for what in ("dns", "tcp", "http")]


@pytest.mark.parametrize(("left", "result"), [(SOON + 1, Result.OK), (SOON - 1, Result.WARN)])
def test_a_certificate_that_ends_soon_is_warned_of(left, result):
    """Three weeks before."""
    finding = certificate_finding("datadog", replace(GOOD, expires=5_000_000.0 + left), 5_000_000.0)
    assert (finding.result, bool(finding.todo)) == (result, result is Result.WARN)
    assert certificate_finding("datadog", replace(GOOD, expires=None), 0.0) is None


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("offset", "spread", "result"),
    [
        (5.5, 0.6, Result.OK),
        (60.0, 58.0, Result.OK),  # a slow answer says little
        (6.0, 0.6, Result.WARN),
        (300.0, 0.0, Result.WARN),
        (302.0, 1.0, Result.FAIL),
    ],
)
def test_a_clock_is_off_only_by_what_is_sure(sign, offset, spread, result):
    """What the way of the answer may account for is not held against it."""
    finding = clock_finding("datadog", replace(GOOD, offset=sign * offset, spread=spread))
    assert (finding.result, bool(finding.todo)) == (result, result is not Result.OK)
    if result is not Result.OK:
        assert ("behind" if sign > 0 else "ahead of") in finding.detail


def test_credentials_of_an_unusual_shape_are_a_warning_and_not_shown():
    """No vendor promises the shape, so it fails nothing."""
    values = {"DD_API_KEY": "secret-of-mine", "DD_APPLICATION_ID": "0" * 8 + "-1-2-3-4"}
    found = configuration_findings("datadog", None, values, "https://x")
    assert brief(found) == [
        ("options", Result.OK),
        ("options", Result.WARN),
        ("options", Result.WARN),
    ]
    assert "secret-of-mine" not in repr(found)
    usual = {
        "DD_API_KEY": "0123456789abcdef" * 2,
        "FRESHPAINT_TOKEN": "0" * 8 + "-1111" * 3 + "-" + "2" * 12,
    }
    assert brief(configuration_findings("datadog", None, usual, "https://x")) == [
        ("options", Result.OK)
    ]


def test_missing_options_fail():
    """In the words of the option's own error."""
    (finding,) = configuration_findings("freshpaint", "token is not given", {}, "")
    assert (finding.result, finding.detail) == (Result.FAIL, "token is not given")


def test_a_proxy_that_is_left_out_is_pointed_at():
    """Only if one is set and none is given."""
    assert proxy_finding(None, given=False) is None
    assert proxy_finding("HTTPS_PROXY", given=True) is None
    finding = proxy_finding("HTTPS_PROXY", given=False)
    assert (finding.result, "HTTPS_PROXY" in finding.detail) == (Result.WARN, True)


LIVE = Live(mark="check-1", sent=2, delivered=2, statuses=(202,))


def test_a_receipt_is_ok_and_says_where_to_look():
    """The mark, the number and that an answer proves no more than receipt."""
    finding = live_finding("datadog", LIVE)
    assert finding.result is Result.OK
    assert "@event.name:sendoff.check @sendoff_check:check-1; there must be 2" in finding.todo
    assert "received, and nothing more" in finding.todo


def test_a_batch_that_was_refused_names_the_option_that_helps():
    """A warning, as the events were taken one by one."""
    finding = live_finding("datadog", replace(LIVE, statuses=(400, 202, 202), batch_refused=True))
    assert (finding.result, finding.todo.startswith("use framing='single'")) == (Result.WARN, True)


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "look at the key"), (404, "site and endpoint"), (503, "status page")],
)
def test_what_was_not_taken_fails(status, words):
    """With the status, and what to do about this one."""
    live = replace(LIVE, delivered=0, statuses=(status,), said="no")
    finding = live_finding("freshpaint", live)
    assert (finding.result, words in finding.todo) == (Result.FAIL, True)


def test_disks():
    """Little room is a warning, none to write is a failure."""
    disk = Disk(what="spool", path="/x", free=10 * 2**20, wanted=2**20)
    assert disk_finding(disk).result is Result.OK
    assert disk_finding(replace(disk, wanted=2**30)).result is Result.WARN
    assert disk_finding(replace(disk, error="No space left on device")).result is Result.FAIL


def test_a_place_is_tried_by_writing_there_and_left_as_it_was(tmp_path):
    """A folder to be made is fine, one for a file must be there; nothing stays behind."""
    assert look_at_disk("s", tmp_path / "a" / "b", is_folder=True, wanted=1).error is None
    assert look_at_disk("d", tmp_path / "d", is_folder=False, wanted=1).error is None
    missing = look_at_disk("d", tmp_path / "a" / "d", is_folder=False, wanted=1)
    assert missing.error == "No such file or directory"
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.write_text("x")
    assert look_at_disk("s", file / "s", is_folder=True, wanted=1).error == "Not a directory"
    file.chmod(0o400)
    if os.geteuid():  # root may write anywhere
        assert look_at_disk("d", file, is_folder=False, wanted=1).error is not None
