"""`regiment run` in a real (pseudo) terminal: what a person sees, types, and what a closed window does."""

from __future__ import annotations

import os

from .conftest import ENDLESS, Lab
from .screen import terminal

POLITE = """\
import os, signal, sys, time
def end(number, frame):
    print("saving", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(3600)
"""


def test_the_live_view_shows_run_nodes_processes_and_their_lines(lab: Lab) -> None:
    command = ("sh", "-c", "echo hello from here; until [ -e seen ]; do sleep 0.1; done")
    with terminal(lab, "run", "--name", "myrun", "--nodes", "2", "--", *command) as screen:
        screen.read_until_seen("myrun", "node-0", "node-1", "running", "hello from here")
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
