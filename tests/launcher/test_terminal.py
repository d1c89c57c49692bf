"""`regiment run` in a real (pseudo) terminal: what a person sees, types, and what a closed window does."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .conftest import ENDLESS, GUARD, Lab

POLITE = """\
import os, signal, sys, time
def end(number, frame):
    print("saving", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(3600)
"""


class Terminal:
    """A terminal with `regiment` in its foreground."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self.text = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(lab.folder)
            environ = {**lab.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
            os.execve(sys.executable, [sys.executable, "-m", "regiment", *arguments], environ)

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


def test_the_live_view_shows_run_nodes_processes_and_their_lines(lab: Lab) -> None:
    command = ("sh", "-c", "echo hello from here; until [ -e seen ]; do sleep 0.1; done")
    with terminal(lab, "run", "--name", "myrun", "--nodes", "2", "--", *command) as screen:
        for text in ("myrun", "node-0", "node-1", "running", "hello from here"):
            screen.read_until(text)
        lab.write("seen", "")
        assert screen.wait() == 0
    assert "Completed" in screen.text


def test_ctrl_c_typed_once_stops_politely_and_counts_down(lab: Lab) -> None:
    lab.write(
        "p.py", POLITE.replace('print("saving", flush=True)', "while not os.path.exists('seen'): time.sleep(0.05)")
    )
    with terminal(lab, "run", "--name", "r", "--nodes", "2", "--", "python", "p.py") as screen:
        screen.read_until("up")
        lab.wait_until_running("r", 2)
        os.write(screen.master, b"\x03")
        screen.read_until("SIGKILL in")
        lab.write("seen", "")
        assert screen.wait() == 130
    assert lab.show("r")["status"] == "Canceled"


def test_ctrl_c_typed_twice_kills(lab: Lab) -> None:
    lab.write(
        "p.py", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(3600)"
    )
    with terminal(lab, "run", "--name", "r", "--grace", ENDLESS, "--", "python", "p.py") as screen:
        screen.read_until("up")
        os.write(screen.master, b"\x03")
        screen.read_until("SIGKILL in")
        os.write(screen.master, b"\x03")
        assert screen.wait() == 130  # and not after the grace of an hour
    assert lab.status("r")[0]["signal"] == "SIGKILL"


def test_closing_the_window_ends_an_attached_run(lab: Lab) -> None:
    lab.write("p.py", POLITE)
    with terminal(lab, "run", "--name", "r", "--nodes", "2", "--", "python", "p.py") as screen:
        screen.read_until("up")
        os.close(screen.master)
        os.waitpid(screen.pid, 0)
    lab.wait_until(lambda: not lab.processes())
    shown = lab.show("r")
    assert shown["status"] == "Canceled"
    assert shown["error"]["message"] in ("cancelled by SIGHUP", "the terminal it was attached to is gone")


def test_a_detached_run_outlives_the_window_it_was_started_in(lab: Lab) -> None:
    command = ("sh", "-c", "until [ -e go ]; do sleep 0.05; done")
    with terminal(lab, "run", "--detach", "--name", "r", "--", *command) as screen:
        assert screen.wait() == 0
        os.close(screen.master)
    lab.write("go", "")
    assert lab.run("wait", "r").returncode == 0
