"""
How what a test expects is compared with what came.

Plain. Always holds: of a mapping only the expected keys are looked at, at every depth, of a list
all items; a value matches as it is, or in the form that JSON gives it, so a Decimal, UUID or
datetime may be expected as the app had it or as the vendor gets it; what compares by rules of its
own, such as `pytest.approx` or `unittest.mock.ANY`, does so; True is not 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from sendoff.diversion import json_form

__all__ = ["ANYTHING", "Difference", "differences", "id_form"]

ANYTHING: Final = ...
"""What is not looked at."""

MISSING: Final = object()
"""In place of a value that is not there."""

Difference = tuple[str, object, object]
"""Where it is, what was expected, and what came; one of these may be `MISSING`."""


def id_form(value: object) -> Any:
    """
    An id as the vendors get it: numbers and UUIDs are text there.
    """
    return str(value) if type(value) is int or isinstance(value, UUID) else value


def differences(path: str, expected: Any, actual: Any) -> Iterator[Difference]:
    """
    Where a value that came is not what was expected.

    Args:
        path: Where both are, such as ``properties.customer``.
        expected: A value, or a mapping of which the keys that are there count.
        actual: What came, as JSON has it.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            place = f"{path}.{key}"
            if key in actual:
                yield from differences(place, value, actual[key])
            else:
                # JSON's keys are text.
                yield from differences(place, value, actual.get(_key_form(key), MISSING))
    elif isinstance(expected, list | tuple) and isinstance(actual, list):
        for index, value in enumerate(expected):
            found = actual[index] if index < len(actual) else MISSING
            yield from differences(f"{path}[{index}]", value, found)
        for index in range(len(expected), len(actual)):
            yield f"{path}[{index}]", MISSING, actual[index]
    elif actual is MISSING or not _equal(expected, actual):
        yield path, expected, actual


def _equal(expected: Any, actual: Any) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        if isinstance(expected, bool | int | float):
            return expected is actual
        return bool(expected == actual)
    return bool(expected == actual) or bool(json_form(expected) == actual)


def _key_form(key: object) -> str:
    (form,) = json_form({key: None})
    return str(form)
