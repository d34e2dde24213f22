"""
A process on a terminal of its own, and what it draws there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PATIENCE = 60.0
"""Seconds for the process to end, once it has closed the terminal."""


class Drawn(NamedTuple):
    """
    What a process has drawn until its end.
    """

    status: int
    text: str  # as the terminal got it
    out: str  # stdout, where that is no terminal

    @property
    def plain(self) -> str:
        """
        The text without escape sequences, each picture on lines of its own.
        """
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text).replace("\r", "\n")

    @property
    def cursor(self) -> tuple[int, int]:
        """
        How often the cursor was hidden, and how often shown again.
        """
        return self.text.count("\x1b[?25l"), self.text.count("\x1b[?25h")


def on_a_terminal(
    command: Sequence[str], env: Mapping[str, str], columns: int, *, piped: bool = False
) -> Drawn:
    """
    Runs a command on a terminal of so many columns.

    Args:
        command: What to run.
        env: Its environment; the size and the kind of the terminal are not taken from there.
        columns: Of the terminal.
        piped: Whether stdout is a pipe and only stderr the terminal.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    clean = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        command,
        env={**clean, "TERM": "xterm-256color"},
        stdout=subprocess.PIPE if piped else theirs,
        stdin=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while True:
                seen += os.read(ours, 65_536)
        os.close(ours)
        out = process.communicate(timeout=PATIENCE)[0] or b""
    return Drawn(process.returncode, seen.decode(), out.decode())
