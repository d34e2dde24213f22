"""
What an exit status means: the one table of it, from which every command's help is made.

Always holds: a command ends with none but its own.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXITS", "Exit", "exit_text"]


class Exit(IntEnum):
    """
    How a command ends.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
    PIPE = 141  # 128 and SIGPIPE
    TERMINATED = 143  # 128 and SIGTERM


STOPPED = "stopped by Ctrl-C"
GONE = "whoever reads its output is gone"

EXITS: dict[str, dict[Exit, str]] = {
    "": {
        Exit.OK: "all is well",
        Exit.FAILED: "it ran and failed",
        Exit.USAGE: "wrong use, or an extra is not installed",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE,
        Exit.TERMINATED: "stopped by SIGTERM, after flushing",
    },
    "check": {
        Exit.OK: "nothing failed, though there may be warnings",
        Exit.FAILED: "something failed",
        Exit.USAGE: "wrong use",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE,
    },
    "completion": {
        Exit.OK: "it is printed",
        Exit.USAGE: "wrong use",
        Exit.PIPE: GONE,
    },
    "demo": {
        Exit.OK: "both ends counted the same events",
        Exit.FAILED: "they differ, by one event or more, or the stand-in failed",
        Exit.USAGE: "wrong use",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE,
    },
    "replay": {
        Exit.OK: "all sent, or nothing to do",
        Exit.FAILED: "some were refused again or are left",
        Exit.USAGE: "wrong use, no letters in the file, or another replay of it is under way",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE,
        Exit.TERMINATED: "stopped by SIGTERM",
    },
    "send": {
        Exit.OK: "every row is where it belongs, or nothing to do",
        Exit.FAILED: "some rows are no events, were refused or are left",
        Exit.USAGE: "wrong use, or another run has the journal",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE + ", with --dry-run",
        Exit.TERMINATED: "stopped by SIGTERM",
    },
    "sink": {
        Exit.OK: "stopped as asked",
        Exit.FAILED: "the port cannot be listened on",
        Exit.USAGE: "wrong use",
    },
    "tail": {
        Exit.OK: "all is shown, with --no-follow",
        Exit.FAILED: "there is no sink, or no longer",
        Exit.USAGE: "wrong use",
        Exit.INTERRUPTED: STOPPED,
        Exit.PIPE: GONE,
    },
}
"""By command; the first is what they have in common."""


def exit_text(command: str) -> str:
    """
    What a command's help says of its exit status.
    """
    meanings = "; ".join(f"{int(code)} {text}" for code, text in EXITS[command].items())
    return f"Exit status: {meanings}."
