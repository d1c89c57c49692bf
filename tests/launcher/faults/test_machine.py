"""A machine that is not as it should be: low limits, a clock that jumps, workers that linger, noise on our sockets."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import GUARD, Lab

CLOCK = """\
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    const char *jump = getenv("THE_CLOCK_HAS_JUMPED");
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && jump && access(jump, F_OK) == 0) now->tv_sec -= 3600;
    return result;
}
"""
"""A clock that is set back by an hour, for the processes that are started with it, when a file appears."""


def test_a_low_limit_on_open_files_is_raised_for_the_ranks_as_far_as_the_user_may(lab: Lab) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    script = f"ulimit -Sn 256; exec {sys.executable} -m regiment run --name r -- sh -c 'ulimit -Sn; ulimit -Hn'"
    result = subprocess.run(
        ["sh", "-c", script],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    soft, still_hard = result.stdout.split()
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    assert int(soft) == wanted
    assert still_hard == ("unlimited" if hard == resource.RLIM_INFINITY else str(hard))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None and os.environ.get("CI") != "true", reason="no compiler")
def test_a_clock_that_jumps_back_changes_no_duration_and_no_order(lab: Lab) -> None:
    lab.write("clock.c", CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "clock.so", "clock.c"], cwd=lab.folder, check=True)
    environ = {"LD_PRELOAD": str(lab.folder / "clock.so"), "THE_CLOCK_HAS_JUMPED": str(lab.folder / "jumped")}
    lab.write("rank.sh", "touch up-$RANK; until [ -e jumped ]; do sleep 0.05; done; sleep 0.2; date +%s")
    process = lab.start("run", "--name", "r", "--nodes", "2", "--", "sh", "rank.sh", **environ)
    lab.wait_until(lambda: (lab.folder / "up-0").exists() and (lab.folder / "up-1").exists())
    lab.write("jumped", "")
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    record = json.loads((lab.run_folder("r") / "run.json").read_text())
    assert 0.2 < record["elapsedSeconds"] < GUARD
    assert record["createdUtc"] <= record["startTimeUtc"] < record["endTimeUtc"]
    # The clock did jump for them: the ranks print a time before the run's own start.
    start = subprocess.run(["date", "-d", record["startTimeUtc"], "+%s"], capture_output=True, text=True, check=True)
    assert all(int(line.split()[-1]) < int(start.stdout) - 3000 for line in out.splitlines())
    lines = [json.loads(line) for line in (lab.run_folder("r") / "events.jsonl").read_text().splitlines()]
    for key in ("at", "timeUtc", "seq"):
        assert [line[key] for line in lines] == sorted(line[key] for line in lines)


@pytest.mark.parametrize("ignored", ["INT", "QUIT", "HUP", "PIPE"])
def test_a_signal_that_the_submitting_shell_ignored_still_ends_a_rank(lab: Lab, ignored: str) -> None:
    command = f"{sys.executable} -m regiment run --name r -- sh -c 'kill -{ignored} $$; sleep 3600'"
    result = subprocess.run(
        ["sh", "-c", f"trap '' {ignored}; exec {command}"],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert result.returncode == 1
    assert f"killed by SIG{ignored}" in result.stderr


def test_workers_that_hold_the_pipe_of_a_killed_rank_end_with_it(lab: Lab) -> None:
    lab.write(
        "rank.py",
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        os.setpgid(0, 0); time.sleep(3600)\n"
        "open('up-' + os.environ['RANK'], 'w').write(str(os.getpid()))\ntime.sleep(3600)\n",
    )
    process = lab.start("run", "--name", "r", "--nodes", "2", "--", "python", "rank.py")
    pids = [lab.folder / "up-0", lab.folder / "up-1"]
    lab.wait_until(lambda: all(path.exists() and path.read_text() for path in pids))
    os.kill(int(pids[1].read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert lab.that_run(b"rank.py") == []
    assert process.returncode == 1
    assert "rank 1 on node-1 failed first: killed by SIGKILL" in err


def test_noise_on_the_sockets_of_a_run_changes_nothing(lab: Lab) -> None:
    lab.write("rank.sh", f"{lab.everybody(2)}; until [ -e end ]; do sleep 0.05; done")
    process = lab.start("run", "--name", "r", "--nodes", "2", "--", "sh", "rank.sh")
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in (0, 1)))
    record = json.loads((lab.run_folder("r") / "run.json").read_text())
    random_of = random.Random(12)
    noise = [random_of.randbytes(random_of.randint(1, 5000)) + b"\n" for _ in range(10)]
    noise += [
        b"[]\n",
        b"{}\n",
        b'{"type": 1}\n',
        b'{"type": "wrapper"}\n',
        b'{"type": "standIn", "given": {"PMIX_RANK": "0"}, "cpus": ["x"]}\n',
        b'{"type": "remoteShell"}\n',
        b'{"type": "stopRun"}\n',
        b'{"type": "coordinatorHello", "protocol": 1}\n',
        b"[" * 100_000 + b"\n",
        b"x" * 20_000_000,
    ]
    for path in (record["coordinator"]["socket"], *(node["socket"] for node in record["nodes"])):
        for data in noise:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(GUARD)
                connection.connect(path)
                try:
                    connection.sendall(data)
                except ConnectionError:
                    pass  # It hung up on us in the midst of it, as it should.
    lab.write("end", "")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err + (lab.run_folder("r") / "logs/azureml/coordinator.log").read_text()
    assert Path(record["coordinator"]["socket"]).exists() is False
