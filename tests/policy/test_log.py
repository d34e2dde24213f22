"""The dispatcher's log lines: few, counted, and neither side hides the other."""

from __future__ import annotations

import logging

from sendoff._lines import Line
from sendoff._log import CALL_LINES, FAULT_LINES, Log


def line(text):
    return Line("sendoff.test", text, ("number",), "A test's.")


AGAIN = line("again")
ONCE = line("%s")


def test_callers_and_vendors_do_not_hide_each_other(caplog):
    """Twenty kinds of bad calls leave a vendor's first fault its line, and the other way round."""
    log = Log(lambda: 0.0)
    for number in range(20):
        log.call(f"{number}", line("call %d"), number)
    for number in range(20):
        log.fault(f"{number}", line("fault %d"), number)
    assert caplog.messages == [
        *(f"call {number}" for number in range(CALL_LINES)),
        *(f"fault {number}" for number in range(FAULT_LINES)),
    ]


def test_what_was_held_back_is_said_with_the_next_line(caplog):
    """A minute later the line says how many there were."""
    log = Log(lambda: 0.0)
    for moment in (0.0, 1.0, 2.0, 60.0):
        log.clock = lambda moment=moment: moment
        log.fault("x", line("%s is down"), "it", level=logging.ERROR)
    assert caplog.record_tuples == [
        ("sendoff", logging.ERROR, "it is down"),
        ("sendoff", logging.ERROR, "it is down (2 more like it since the last such line)"),
    ]


def test_a_handler_that_fails_the_same_way_ends():
    """A log handler may send events itself: its own trouble stays silent."""
    log = Log(lambda: 0.0)
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())
            log.fault("x", AGAIN)

    handler = Handler()
    logging.getLogger("sendoff").addHandler(handler)
    try:
        log.fault("x", ONCE, "once")
    finally:
        logging.getLogger("sendoff").removeHandler(handler)
    assert seen == ["once"]
