"""
What a test expects of an event, and how far one that came is from it.

Plain; knows nothing of how many events there should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from sendoff.testing._captured import CapturedEvent
from sendoff.testing._matching import ANYTHING, MISSING, Difference, differences, id_form

__all__ = ["Expected", "told"]

IDS = ("user_id", "account_id", "session_id", "device_id")


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What an event should be like; whatever is `ANYTHING` is not looked at.

    Attributes:
        name: Its name.
        user_id: The user; None expects that there is none, as for the other ids.
        account_id: The account.
        session_id: The session.
        device_id: The device.
        properties: Some of its properties.
        to: A destination that took it.
    """

    name: Any = ANYTHING
    user_id: Any = ANYTHING
    account_id: Any = ANYTHING
    session_id: Any = ANYTHING
    device_id: Any = ANYTHING
    properties: Any = ANYTHING
    to: Any = ANYTHING

    def matches(self, event: CapturedEvent) -> bool:
        """
        Whether an event is like this.
        """
        return not self.differences(event)

    def differences(self, event: CapturedEvent) -> list[Difference]:
        """
        Where an event is not like this.
        """
        found: list[Difference] = []
        if self.name is not ANYTHING:
            found += differences("name", self.name, event.name)
        for field in IDS:
            wanted = getattr(self, field)
            if wanted is not ANYTHING:
                found += differences(field, id_form(wanted), getattr(event, field))
        if self.properties is not ANYTHING:
            found += differences("properties", self.properties, event.properties)
        if self.to is not ANYTHING and self.to not in event.bodies:
            found.append(("to", self.to, event.destinations))
        return found

    def distance(self, event: CapturedEvent) -> float:
        """
        How far an event is from this; 0 where it matches. A name counts for more than a property,
        and one that is nearly right for less than a wrong one.
        """
        found = self.differences(event)
        far = float(len(found))
        if any(path == "name" for path, _, _ in found):
            likeness = SequenceMatcher(None, str(self.name), str(event.name)).ratio()
            far += 4.0 * (1.0 - likeness)
        return far

    def nearest(self, events: list[CapturedEvent]) -> CapturedEvent | None:
        """
        The event that is nearest to this, the first of several; None without any.
        """
        return min(events, key=self.distance, default=None)

    def __str__(self) -> str:
        """
        What is looked at, on one line.
        """
        parts = [] if self.name is ANYTHING else [repr(self.name)]
        for field in (*IDS, "properties", "to"):
            value = getattr(self, field)
            if value is not ANYTHING:
                parts.append(f"{field}={value!r}")
        return " ".join(parts) or "anything"


def told(difference: Difference) -> str:
    """
    One difference, for people.
    """
    path, expected, actual = difference
    if actual is MISSING:
        return f"{path}: expected {expected!r}, and it is not there"
    if expected is MISSING:
        return f"{path}: expected nothing more, got {actual!r}"
    return f"{path}: expected {expected!r}, got {actual!r}"
