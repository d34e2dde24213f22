"""
An answer's headers, read when somebody asks: most answers are a 2xx, and nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["Headers"]


class Headers(Mapping[str, str]):
    """
    Lower-case names to values.

    Args:
        raw: Names and values as they came; not changed afterwards.
    """

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw
        self._read: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in self._raw.items()
            }
        return self._read

    def __getitem__(self, name: str) -> str:
        """
        The value of a lower-case name; the last one, if it came more than once.
        """
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        """
        The names.
        """
        return iter(self._all())

    def __len__(self) -> int:
        """
        How many names.
        """
        return len(self._all())
