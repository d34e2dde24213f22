"""The values that travel: immutable, and silent about what they carry."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from sendoff import Request
from sendoff.events import request_of

FIELDS = ("https://intake.example/", {"X-Key": "secret"}, b"secret", None, "http://u:p@proxy/")


def test_a_request_made_in_a_hurry_is_a_request():
    """Equal to one from the constructor, of its very class, as silent and as frozen."""
    made, plain = request_of(*FIELDS), Request(*FIELDS)
    assert (type(made), made, repr(made)) == (Request, plain, repr(plain))
    assert "secret" not in repr(made)
    for field in ("url", "headers", "body", "ssl", "proxy"):
        assert getattr(made, field) == getattr(plain, field)
        with pytest.raises(FrozenInstanceError):
            setattr(made, field, "else")
        with pytest.raises(FrozenInstanceError):
            delattr(made, field)


def test_a_request_made_in_a_hurry_can_be_copied():
    """By everything that copies values."""
    made = request_of(*FIELDS)
    assert [copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))] == [made] * 3
    assert replace(made, body=b"other") == Request(FIELDS[0], FIELDS[1], b"other", *FIELDS[3:])


def test_proxy_and_tls_are_left_out_where_there_are_none():
    """As with the constructor."""
    assert request_of(*FIELDS[:3]) == Request(*FIELDS[:3])
