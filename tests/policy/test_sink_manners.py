"""Who may look at a sink and drive it."""

from __future__ import annotations

import pytest

from sendoff.sink.manners import objection

OWN = {"host": "127.0.0.1:8321"}


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {"host": "localhost:8321"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:8321"},
        {**OWN, "origin": "http://127.0.0.1:8321"},
        {**OWN, "sec-fetch-site": "same-origin"},
        {**OWN, "sec-fetch-site": "none"},
    ],
    ids=str,
)
def test_programs_and_the_page_itself_are_let_in(headers):
    """A loopback name, and no other site behind the request."""
    assert objection(headers, is_page=False) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "evil.example:8321"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "evil.example/127.0.0.1"},
        {"host": "evil@127.0.0.1"},
        {"host": "127.0.0.1:port"},
        {"host": "[::1"},
        {**OWN, "origin": "https://evil.example"},
        {**OWN, "origin": "http://localhost:3000"},
        {**OWN, "origin": "http://127.0.0.1:3000"},
        {**OWN, "origin": "null"},
        {**OWN, "sec-fetch-site": "cross-site"},
        {**OWN, "sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_other_sites_are_not(headers):
    """Neither under a name of their own nor from a page of theirs, local ones included."""
    assert objection(headers, is_page=False) is not None


def test_any_site_may_link_to_the_page():
    """Following a link shows the page; a name that is not the loopback's does not."""
    assert objection({**OWN, "sec-fetch-site": "cross-site"}, is_page=True) is None
    assert objection({"host": "evil.example"}, is_page=True) is not None
