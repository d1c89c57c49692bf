"""Faults of ranks, most of them those of other launchers' own suites: each ends in the right words."""

from __future__ import annotations

import json
import signal

import pytest

from ..conftest import ENDLESS, GUARD, Lab

FROM_A_THREAD = """\
import ctypes, threading
main = ctypes.c_ulong(threading.main_thread().ident)
raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
threading.Thread(target=lambda: raise_in(main, ctypes.py_object(RuntimeError))).start()
while True: time.sleep(0.01)
"""
IN_A_HANDLER = """\
def handler(*_): raise OSError("in the handler")
signal.signal(signal.SIGUSR1, handler)
os.kill(os.getpid(), signal.SIGUSR1)
while True: time.sleep(0.01)
"""
FAULTS = {
    "exception": ("raise ValueError('bad batch')", (1, None), "ValueError: bad batch"),
    "exception from another thread": (FROM_A_THREAD, (1, None), "RuntimeError"),
    "exception in a signal's handler": (IN_A_HANDLER, (1, None), "OSError: in the handler"),
    "exception while its peers wait for it": (
        "try: raise KeyError('x')\nfinally: time.sleep(0.05)",
        (1, None),
        "KeyError: 'x'",
    ),
    "abort": ("os.abort()", (None, "SIGABRT"), "Fatal Python error: Aborted"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", (None, "SIGSEGV"), "Fatal Python error: Segmentation"),
    "interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", (None, "SIGINT"), "KeyboardInterrupt"),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", (None, "SIGKILL"), "killed by SIGKILL from outside"),
    "SIGTERM from outside": ("os.kill(os.getpid(), signal.SIGTERM)", (None, "SIGTERM"), ""),
    "a real-time signal": ("os.kill(os.getpid(), 35)", (None, "signal 35"), ""),
    "a fault no signal of Python's": ("os.kill(os.getpid(), signal.SIGSYS)", (None, "SIGSYS"), ""),
}


@pytest.mark.slow
def test_every_fault_of_a_rank_is_told_by_its_name(lab: Lab) -> None:
    for number, (name, (program, ended, said)) in enumerate(FAULTS.items()):
        run = f"r{number}"
        first = f"import os, signal, sys, time\nif os.environ['RANK'] == '0': time.sleep({ENDLESS})\n"
        lab.write(f"{run}.py", first + program)
        script = f"ulimit -c 0; exec python {run}.py"
        assert lab.run("run", "--name", run, "--nodes", "2", "--quiet", "--", "sh", "-c", script).returncode == 1
        found = json.loads((lab.run_folder(run) / "report.json").read_text("utf-8"))
        cause = found["cause"]
        assert (cause["rank"], cause["exitCode"], cause["signal"]) == (1, *ended), name
        assert "".join(cause["details"][:1]).startswith(said), name
        assert [row["status"] for row in found["followed"]] == ["Stopped"], name


def test_a_rank_that_holds_the_interpreters_lock_is_killed_after_the_grace(lab: Lab) -> None:
    """As NVIDIA's suite injects it: an expression that is matched for longer than anybody waits."""
    lab.write(
        "program.py",
        "import re, signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\nprint('up', flush=True)\n"
        "re.match('(a+)+$', 'a' * 60 + 'b')\n",
    )
    process = lab.start("run", "--name", "r", "--grace", "0.3", "--", "python", "program.py")
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: log.exists() and "up\n" in log.read_text())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert lab.status("r")[0]["signal"] == "SIGKILL"


def test_where_even_ranks_end_well_and_odd_ones_fail_the_earliest_odd_one_is_the_cause(lab: Lab) -> None:
    lab.write(
        "program.py", "import os, sys, time\nrank = int(os.environ['RANK'])\ntime.sleep(rank % 2)\nsys.exit(rank % 2)"
    )
    flags = ("--nodes", "2", "--nproc", "2", "--type", "pytorch", "--start-method", "spawn")
    assert lab.run("run", "--name", "r", *flags, "--", "python", "program.py").returncode == 1
    statuses = lab.statuses()
    assert statuses["rank_0"] == statuses["rank_2"] == "Completed"
    assert lab.show("r")["error"]["rank"] in (1, 3)


def test_ranks_that_end_well_at_different_times_are_waited_for(lab: Lab) -> None:
    script = "[ $RANK = 0 ] || sleep 1"
    assert lab.run("run", "--name", "r", "--nodes", "3", "--", "sh", "-c", script).returncode == 0
    assert set(lab.statuses().values()) == {"Completed"}


GREEDY = """\
import os, time
children = []
try:
    while len(children) < 300:
        pid = os.fork()
        if pid == 0:
            time.sleep(3600)
        children.append(pid)
    files = []
    while True:
        files.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    print("up", flush=True)
time.sleep(3600)
"""
"""Takes all the files it can have, and 300 processes that do nothing."""


def test_a_rank_that_takes_all_files_and_many_processes_does_not_take_its_agent_along(lab: Lab) -> None:
    lab.write("program.py", GREEDY)
    process = lab.start("run", "--name", "r", "--grace", "0.2", "--", "python", "program.py")
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: log.exists() and "up\n" in log.read_text())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert lab.processes() == []


@pytest.mark.parametrize("flags", [(), ("--type", "pytorch", "--nproc", "1", "--start-method", "spawn")])
def test_a_process_starts_with_a_clean_signal_mask_and_three_open_files(lab: Lab, flags: tuple[str, ...]) -> None:
    # No pipe in it: its ends would be open files of the shell for a moment.
    script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/$$/fd"
    result = lab.run("run", "--name", "r", *flags, "--", "sh", "-c", script)
    assert result.returncode == 0
    _, blocked, _, ignored, *files = lab.log("r", "70_driver_log.txt").split()
    # The C library's posix_spawn lets its own two signals, 32 and 33, be ignored.
    assert (int(blocked, 16), int(ignored, 16) & ~0x180000000) == (0, 0)
    assert files == ["0", "1", "2"]
