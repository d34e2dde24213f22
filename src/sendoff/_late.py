"""
What to do about an event that was put in without the lock just as that was no longer allowed.

A thread may be kept waiting between its look at the queue and the next instruction, for as long as
it takes others to fill the queue, or to close it. Plain, as the queue; called under the same lock,
by the call that put the event in, after a weighing. Always holds: a call takes out no other call's
event behind its back, so what it returns is true.
"""

from __future__ import annotations

from sendoff._queue import EventQueue, Evicted

__all__ = ["squeeze", "withdraw"]


def withdraw(queue: EventQueue, event_id: str) -> bool:
    """
    Takes an event out again that came behind the close.

    Returns:
        Whether it did come behind it, and nobody has taken it meanwhile.
    """
    behind = queue.head + queue.weighed // 2 - queue.end
    return queue.closed and _take_back(queue, event_id, behind, 0, count=0)


def squeeze(queue: EventQueue, body: bytes, event_id: str) -> Evicted:
    """
    Keeps to the bounds, if others took the room that there was for an event.

    Returns:
        The events that must go, mostly none.
    """
    evicted = []
    if queue.overflow == "drop_oldest":
        while queue.weighed and (
            queue.held_events > queue.max_events or queue.held_bytes > queue.max_bytes
        ):
            evicted.append(queue.evict())
    elif _take_back(
        queue,
        event_id,
        queue.held_events - queue.max_events,
        queue.held_bytes - queue.max_bytes,
        count=1,
    ):
        evicted.append((body, event_id))
    return tuple(evicted)


def _take_back(queue: EventQueue, event_id: str, events: int, size: int, *, count: int) -> bool:
    """
    Takes an event out again, if it is one of the last, of which so many events or bytes are too
    many. The count is added to those that the queue has evicted.
    """
    items = queue.items
    for at in range(queue.weighed - 2, -1, -2):
        if events <= 0 and size <= 0:
            break
        length = len(items[at])
        if items[at + 1] is event_id:
            # In one go, as in a taking: nothing is called from here to the last count.
            del items[at + 1], items[at]
            queue.weighed -= 2
            queue.queued_bytes -= length
            queue.held_events -= 1
            queue.held_bytes -= length
            queue.evicted += count
            return True
        events, size = events - 1, size - length
    return False
