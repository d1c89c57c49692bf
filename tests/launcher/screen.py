"""A real (pseudo) terminal with `regiment` in its foreground, and what a person would see and type there."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .conftest import GUARD, Lab


class Terminal:
    """A terminal with `regiment` in its foreground."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self.text = ""
        self._read_up_to = 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(lab.folder)
            environ = {**lab.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
            os.execve(sys.executable, [sys.executable, "-m", "regiment", *arguments], environ)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def read_until(self, text: str) -> None:
        """Read until a text comes, after all that was waited for so before."""
        self._read_while(lambda: text not in self.text[self._read_up_to :], text)
        self._read_up_to = self.text.index(text, self._read_up_to) + len(text)

    def read_until_seen(self, *texts: str) -> None:
        """Read until all these texts have been on the screen, in whatever order."""
        self._read_while(lambda: any(text not in self.text for text in texts), " and ".join(texts))

    def _read_while(self, missing: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + GUARD
        while missing():
            assert time.monotonic() < deadline, f"{what!r} did not come; there is {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                assert not missing(), f"the terminal ended before {what!r} came; there is {self.text!r}"

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
