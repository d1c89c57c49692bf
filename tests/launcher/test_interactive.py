"""`regiment run --interactive RANK`: one process has the person's terminal to itself."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import ENDLESS, GUARD, Lab
from .screen import Terminal, terminal

CANCEL = "\x1d" * 3
TWO_BY_TWO = ("--nodes", "2", "--nproc", "2", "--type", "pytorch")

DEBUGGED = """\
import os
x = 41 + 1
if os.environ.get("RANK", "0") == os.environ.get("DEBUGGED", "0"):
    breakpoint()
print("done", flush=True)
"""


@contextmanager
def session(lab: Lab, program: str, *flags: str, rank: int = 0) -> Iterator[Terminal]:
    """Run a program with a terminal for one rank, and see that the terminal gets its settings back."""
    lab.write("p.py", program)
    command = ("--", "python", "p.py")
    with terminal(lab, "run", "--name", "r", "--interactive", str(rank), *flags, *command) as screen:
        usual = settings(screen)
        yield screen
        assert settings(screen) == usual


def settings(screen: Terminal) -> list[Any]:
    return termios.tcgetattr(screen.master)


def resize(screen: Terminal, lines: int, columns: int) -> None:
    fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def talk_to_pdb(screen: Terminal) -> None:
    screen.read_until("(Pdb) ")
    screen.type("p 'x is', x\n")
    screen.read_until("('x is', 42)")
    screen.type("c\n")


def test_a_breakpoint_is_a_session_with_the_debugger(lab: Lab) -> None:
    with session(lab, DEBUGGED) as screen:
        screen.read_until("this terminal is for rank 0")
        talk_to_pdb(screen)
        screen.read_until("result   Completed")
        assert screen.wait() == 0
    log = lab.log("r", "70_driver_log.txt")
    stopped = "-> breakpoint()" if sys.version_info >= (3, 13) else "-> print"
    assert stopped in log and "('x is', 42)" in log and log.endswith("done\n")
    assert lab.run("logs", "r").stdout.splitlines()[-1] == "done"
    assert lab.status("r")[0]["status"] == "Completed"


def test_a_rank_of_another_node_can_be_the_one(lab: Lab) -> None:
    flags = (*TWO_BY_TWO, "--start-method", "spawn", "--env", "DEBUGGED=3")
    with session(lab, DEBUGGED, *flags, rank=3) as screen:
        talk_to_pdb(screen)
        assert screen.wait() == 0
    assert "('x is', 42)" in lab.log("r", "node-1/70_driver_log_3.txt")
    others = [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(3)]
    assert others == ["done\n"] * 3
    # Nothing of theirs was painted over the session, or after it.
    assert screen.text.count("done\r\n") == 1


def test_beside_forked_ranks_it_is_started_by_itself(lab: Lab) -> None:
    flags = (*TWO_BY_TWO, "--start-method", "fork", "--preload", "json", "--env", "DEBUGGED=3")
    with session(lab, DEBUGGED, *flags, rank=3) as screen:
        talk_to_pdb(screen)
        assert screen.wait() == 0
    assert "forking rank 2: " in lab.log("r", "node-1/55_azureml-execution-node-1.txt")
    assert "starting rank 3: " in lab.log("r", "node-1/55_azureml-execution-node-1.txt")


@pytest.mark.torch
@pytest.mark.slow
def test_a_rank_under_torchrun_has_the_terminal_too(lab: Lab) -> None:
    with session(lab, DEBUGGED, *TWO_BY_TWO, rank=0) as screen:
        talk_to_pdb(screen)
        assert screen.wait() == 0
    assert "('x is', 42)" in lab.log("r", "node-0/70_driver_log_0.txt")
    assert [row["status"] for row in lab.status("r")] == ["Completed"] * 4


@pytest.mark.mpi
@pytest.mark.slow
def test_a_rank_under_mpirun_has_the_terminal_too(lab: Lab) -> None:
    program = """\
from mpi4py import MPI
world = MPI.COMM_WORLD
said = world.bcast(input("what? ") if world.rank == 3 else None, root=3)
print(world.rank, "heard", said, flush=True)
"""
    with session(lab, program, "--nodes", "2", "--nproc", "2", "--type", "mpi", rank=3) as screen:
        screen.read_until("what? ")
        screen.type("this\n")
        screen.read_until("3 heard this")
        assert screen.wait() == 0
    others = [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(3)]
    assert others == [f"{rank} heard this\n" for rank in range(3)]
    assert "what? this\n3 heard this\n" in lab.log("r", "node-1/70_driver_log_3.txt")
    assert [row["status"] for row in lab.status("r")] == ["Completed"] * 4


@pytest.mark.torch
@pytest.mark.slow
def test_a_rank_that_torchrun_restarts_gets_the_terminal_again(lab: Lab) -> None:
    program = "import os, sys; n = os.environ['TORCHELASTIC_RESTART_COUNT']; sys.exit(int(input(n + ' ends with? ')))"
    flags = ("--nproc", "1", "--type", "pytorch", "--torchrun-arg=--max-restarts=1")
    with session(lab, program, *flags) as screen:
        screen.read_until("0 ends with? ")
        screen.type("3\n")
        screen.read_until("1 ends with? ")
        screen.type("0\n")
        assert screen.wait() == 0
    assert lab.log("r", "70_driver_log.txt") == "0 ends with? 3\n1 ends with? 0\n"


def test_what_was_true_only_during_the_session_is_not_said_after_it(lab: Lab) -> None:
    program = "import os; os.environ['RANK'] == '0' and input('up ')"
    flags = ("--nproc", "2", "--type", "pytorch", "--start-method", "spawn")
    with session(lab, program, *flags) as screen:
        screen.read_until("up ")
        lab.wait_until(lambda: lab.status("r")[1]["status"] == "Completed")
        screen.type("\n")
        screen.read_until("result   Completed")
        assert screen.wait() == 0
    assert "processes run" not in screen.text


def test_a_viewer_that_was_paused_goes_on_with_the_session(lab: Lab) -> None:
    with session(lab, "print('got', input('up '))") as screen:
        usual = settings(screen)
        screen.read_until("up ")
        os.kill(screen.pid, signal.SIGSTOP)
        os.waitpid(screen.pid, os.WUNTRACED)
        termios.tcsetattr(screen.master, termios.TCSANOW, usual)  # as the shell does that has the terminal meanwhile
        os.kill(screen.pid, signal.SIGCONT)
        lab.wait_until(lambda: settings(screen) != usual)
        screen.type("it\n")
        screen.read_until("got it")
        assert screen.wait() == 0


def test_ctrl_c_is_the_ranks_own(lab: Lab) -> None:
    program = """\
import time
try:
    print("waiting", flush=True); time.sleep(3600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
input("more? ")
"""
    with session(lab, program) as screen:
        screen.read_until("waiting")
        screen.type("\x03")
        screen.read_until("interrupted")
        screen.read_until("more? ")
        screen.type("no\n")
        assert screen.wait() == 0
    assert lab.show("r")["status"] == "Completed"


def test_ctrl_d_ends_what_the_rank_reads(lab: Lab) -> None:
    with session(lab, "import sys; print('reading', flush=True); print(len(sys.stdin.read()), 'bytes')") as screen:
        screen.read_until("reading")
        screen.type("four\n\x04")
        screen.read_until("5 bytes")
        assert screen.wait() == 0


def test_a_password_is_not_echoed_and_not_in_the_log(lab: Lab) -> None:
    with session(lab, "import getpass; print(len(getpass.getpass('secret: ')))") as screen:
        screen.read_until("secret: ")
        screen.type("hunter2\n")
        screen.read_until("7")
        assert screen.wait() == 0
    assert "hunter2" not in screen.text + lab.log("r", "70_driver_log.txt")


def test_the_rank_hears_that_the_window_changed(lab: Lab) -> None:
    program = """\
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: None)
size = os.get_terminal_size()
print("columns", size.columns, flush=True)
signal.sigwait({signal.SIGWINCH}) if os.get_terminal_size() == size else None
print("columns", os.get_terminal_size().columns, flush=True)
"""
    program = program.replace("import os, signal", "import os, signal; signal.pthread_sigmask(0, {signal.SIGWINCH})")
    with session(lab, program) as screen:
        screen.read_until("columns")
        resize(screen, 40, 123)
        screen.read_until("columns 123")
        assert screen.wait() == 0


def test_the_ranks_exit_code_and_last_words_are_kept(lab: Lab) -> None:
    program = "import sys; input('go? '); print('x' * 200000); sys.exit('I cannot go on')"
    with session(lab, program, "--pass-exit-code") as screen:
        screen.read_until("go? ")
        screen.type("\n")
        screen.read_until("result   Failed")
        assert screen.wait() == 1
    assert lab.log("r", "70_driver_log.txt").count("x") == 200000
    error = lab.show("r")["error"]
    assert (error["exitCode"], error["tail"][-1]) == (1, "I cannot go on")


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_bracket_three_times_cancels_and_again_kills(lab: Lab, count: int) -> None:
    program = """\
import signal, sys, time
def end(number, frame):
    print("asked", flush=True)
    if sys.argv[1] == "1": sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True: time.sleep(1)
"""
    with session(lab, program.replace("sys.argv[1]", f"'{count}'"), "--grace", ENDLESS) as screen:
        screen.read_until("up")
        screen.type("\x1d\x1d.")  # twice is for the rank
        screen.type(CANCEL)
        screen.read_until("asked")
        if count == 2:
            screen.type(CANCEL)
        assert screen.wait() == 130
    assert lab.show("r")["error"]["message"] == "cancelled by Ctrl-] three times"
    assert lab.status("r")[0]["signal"] == ("SIGKILL" if count == 2 else None)


def test_the_run_can_be_cancelled_from_another_shell(lab: Lab) -> None:
    with session(lab, "input('up ')") as screen:
        screen.read_until("up ")
        assert lab.run("cancel", "r").returncode == 0
        assert screen.wait() == 4


def test_a_viewer_that_is_told_to_end_gives_the_terminal_back(lab: Lab) -> None:
    with session(lab, "input('up ')") as screen:
        screen.read_until("up ")
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.wait() == 143


def test_a_killed_viewer_leaves_nothing_and_the_terminal_as_it_was(lab: Lab) -> None:
    program = "import os, time; input('up ') if os.environ['RANK'] == '0' else time.sleep(3600)"
    with session(lab, program, "--nodes", "2", "--grace", ENDLESS) as screen:
        usual = settings(screen)
        screen.read_until("up ")
        lab.wait_until(lambda: settings(screen) != usual)
        os.kill(screen.pid, signal.SIGKILL)
        os.waitpid(screen.pid, 0)
        lab.wait_until(lambda: settings(screen) == usual)
        lab.wait_until(lambda: not lab.processes())
    assert lab.show("r")["error"]["message"] == "the terminal it was attached to is gone"


def test_closing_the_window_ends_the_run(lab: Lab) -> None:
    lab.write("p.py", "input('up ')")
    flags = ("--name", "r", "--grace", ENDLESS, "--interactive", "0")
    with terminal(lab, "run", *flags, "--", "python", "p.py") as screen:
        screen.read_until("up ")
        os.close(screen.master)
        os.waitpid(screen.pid, 0)
    lab.wait_until(lambda: not lab.processes())
    assert lab.show("r")["status"] == "Canceled"


def test_a_killed_coordinator_gives_the_terminal_back(lab: Lab) -> None:
    with session(lab, "input('up ')") as screen:
        screen.read_until("up ")
        os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
        screen.read_until("coordinator")
        assert screen.wait() == 3


def test_another_rank_that_fails_ends_the_session(lab: Lab) -> None:
    program = """\
import os, sys, time
if os.environ["RANK"] == "1":
    while not os.path.exists("now"): time.sleep(0.05)
    print("boom", flush=True); sys.exit(7)
input("up ")
"""
    with session(lab, program, "--nproc", "2", "--type", "pytorch", "--start-method", "spawn") as screen:
        screen.read_until("up ")
        lab.write("now", "")
        screen.read_until("result   Failed")
        assert screen.wait() == 1
    assert "rank 1 failed: exit code 7" in screen.text
    assert lab.status("r")[0]["status"] == "Stopped"


def test_a_shell_has_its_jobs(lab: Lab) -> None:
    """The rank leads a session that the terminal controls, so job control works as in any window."""
    with terminal(lab, "run", "--name", "r", "--interactive", "0", "--", "sh", "-i") as screen:
        screen.type("stty -echo; PS1='> '\n")
        screen.type("sleep 77\n")
        lab.wait_until(lambda: lab.that_run(b"sleep\x0077"))
        screen.type("\x1a")
        screen.type("jobs; exit 3\n")
        screen.read_until("Stopped")
        screen.type("exit 3\n")
        assert screen.wait() == 1
    assert lab.status("r")[0]["exitCode"] == 3


def test_others_can_follow_the_session(lab: Lab) -> None:
    with session(lab, "print('one', flush=True); input('up ')") as screen:
        screen.read_until("up ")
        follower = lab.start("logs", "-f", "r")
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        screen.type("and two\n")
        assert screen.wait() == 0
        assert follower.communicate(timeout=GUARD)[0] == "up and two\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--interactive", "0"), "--interactive needs a terminal, and standard input is none"),
        (("--interactive", "0", "--detach"), "--interactive needs this terminal until the run ends"),
        (("--interactive", "2", "--nodes", "2"), "--interactive: there is no rank 2; this job has ranks 0 to 1"),
        (("--interactive", "1"), "--interactive: there is no rank 1; this job has rank 0 only"),
        (("--interactive", "0", "--nodes", "1:2", "--nproc", "1", "--type", "pytorch"), "elastic"),
        (("--interactive", "first"), "expected a whole number, 0 or more, found 'first'"),
    ],
)
def test_a_session_that_cannot_be_is_refused_before_anything_is_made(
    lab: Lab, flags: tuple[str, ...], message: str
) -> None:
    result = lab.run("run", *flags, "--", "python", "-c", "")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (lab.folder / ".regiment" / "runs").exists()
