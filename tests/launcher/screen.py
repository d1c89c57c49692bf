"""A real (pseudo) terminal with `regiment` in its foreground, and what a person would see and type there."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .conftest import GUARD, Lab


class Terminal:
    """A terminal with `regiment` in its foreground."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self.text = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(lab.folder)
            environ = {**lab.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
            os.execve(sys.executable, [sys.executable, "-m", "regiment", *arguments], environ)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def read_until(self, text: str, seconds: float = GUARD) -> None:
        """Read what is on the screen until a text has come."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} did not come; there is {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                assert text in self.text, f"the terminal ended; there is {self.text!r}"

    def wait(self) -> int:
        """Read to the end and give the exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def terminal(lab: Lab, *arguments: str) -> Iterator[Terminal]:
    """Open a terminal and take it down whatever the test did."""
    opened = Terminal(lab, *arguments)
    try:
        yield opened
    finally:
        try:
            os.kill(opened.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.close(opened.master)
        except OSError:
            pass
