"""`--prefix`: another program starts a process, and what becomes of the process is still seen exactly."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess

import pytest

from .conftest import ENDLESS, GUARD, Lab

SPAWN = ("--type", "pytorch", "--start-method", "spawn")
TWO_BY_TWO = ("--nodes", "2", "--nproc", "2", *SPAWN)

JOB = """\
command: echo "$WHERE"
distribution: {type: pytorch, process_count_per_instance: 2}
regiment: {start_method: spawn, prefix: [env, "WHERE=here {rank}"], prefix_ranks: [RANK]}
"""


TRACER = "strace -f -o /dev/null"


def cannot_trace() -> bool:
    """Say whether this machine has no strace, or does not let it trace anything."""
    return not shutil.which("strace") or subprocess.run([*TRACER.split(), "true"], check=False).returncode != 0


# Programs that stay the parent of what they start. The condition is a string: it is looked into when a test begins.
FORKING = [
    f"timeout {ENDLESS}",
    pytest.param(TRACER, marks=pytest.mark.skipif("cannot_trace()", reason="strace is not here or may not trace")),
]


def test_every_rank_is_started_by_the_prefix_with_its_own_numbers(lab: Lab) -> None:
    prefix = "env 'WHERE=rank {rank}, {local_rank} of {node_rank}'"
    result = lab.run("run", "--name", "r", *TWO_BY_TWO, "--prefix", prefix, "--", "printenv", "WHERE")
    assert result.returncode == 0, result.stderr
    logs = [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(4)]
    assert logs == [f"rank {rank}, {rank % 2} of {rank // 2}\n" for rank in range(4)]


def test_only_chosen_ranks_get_it(lab: Lab) -> None:
    lab.write("job.yml", JOB.replace("RANK]", "1]"))
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert [lab.log("r", f"70_driver_log_{rank}.txt") for rank in range(2)] == ["\n", "here 1\n"]


@pytest.mark.mpi
@pytest.mark.slow
def test_ranks_of_an_mpirun_get_it_too(lab: Lab) -> None:
    prefix = "env 'WHERE=rank {rank}, {local_rank} of {node_rank}'"
    shape = ("--name", "r", "--nodes", "2", "--nproc", "2", "--type", "mpi")
    lab.write("p.py", "import os\nfrom mpi4py import MPI\nprint(MPI.COMM_WORLD.rank, os.environ.get('WHERE'))")
    result = lab.run("run", *shape, "--prefix", prefix, "--prefix-ranks", "1,2", "--", "python", "p.py")
    assert result.returncode == 0, result.stderr
    logs = [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(4)]
    assert logs == ["0 None\n", "1 rank 1, 1 of 0\n", "2 rank 2, 0 of 1\n", "3 None\n"]


@pytest.mark.torch
@pytest.mark.slow
def test_torchruns_ranks_get_it_too(lab: Lab) -> None:
    command = ("python", "-c", "import os; print(os.nice(0), os.environ['RANK'])")
    result = lab.run(
        *("run", "--name", "r", "--nproc", "2", "--type", "pytorch"),
        *("--prefix", "nice -n 5", "--prefix-ranks", "1", "--", *command),
    )
    assert result.returncode == 0, result.stderr
    assert [lab.log("r", f"70_driver_log_{rank}.txt") for rank in range(2)] == ["0 0\n", "5 1\n"]


def test_the_plan_shows_it(lab: Lab) -> None:
    flags = (*TWO_BY_TWO, "--prefix", "strace -f -o outputs/{rank}", "--prefix-ranks", "0,2")
    result = lab.run("plan", *flags, "-o", "json", "--", "python", "train.py")
    argvs = [process["argv"] for node in json.loads(result.stdout)["nodes"] for process in node["processes"]]
    plain = ["python", "train.py"]
    traced = [["strace", "-f", "-o", f"outputs/{rank}", *plain] for rank in range(4)]
    assert argvs == [traced[0], plain, traced[2], plain]


@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        ("no-such-tool -x", "'no-such-tool' is no program in PATH; install it, or give its path"),
        ("/no/such/tool -x", "'/no/such/tool' is no program; correct the path"),
    ],
)
def test_a_prefix_that_is_not_there_is_refused_before_anything_starts(lab: Lab, prefix: str, what: str) -> None:
    result = lab.run("run", "--prefix", prefix, "--", "true")
    assert (result.returncode, result.stderr) == (2, f"regiment: --prefix: {what}\n")
    lab.write("job.yml", f"command: echo\nregiment:\n  prefix: [{prefix.replace(' ', ', ')}]\n")
    result = lab.run("run", "job.yml")
    assert (result.returncode, result.stderr) == (2, f"job.yml:3: regiment.prefix: {what}\n")
    assert not (lab.folder / ".regiment").exists()


def test_a_prefix_may_be_where_only_the_processes_look(lab: Lab) -> None:
    lab.write("src/tools/twice", '#!/bin/sh\n"$@" && "$@"\n').chmod(0o755)
    flags = ("--code", "src", "--prefix", "tools/twice")
    assert lab.run("run", *flags, "--", "echo", "hi").stdout == "hi\nhi\n"


def test_a_prefix_that_is_not_in_the_jobs_own_path_is_named_in_log_and_verdict(lab: Lab) -> None:
    path = f"PATH={lab.environ['PATH']}"
    result = lab.run("run", "--name", "r", "--env", path, "--prefix", "no-such-tool -x", "--", "true")
    assert result.returncode == 1
    message = "regiment: cannot run 'no-such-tool': no such program in PATH"
    assert lab.log("r", "70_driver_log.txt") == f"{message}\n"
    assert message in result.stderr
    assert lab.status("r")[0]["exitCode"] == 127


@pytest.mark.parametrize("prefix", ["env A=1", "nice", *FORKING])
@pytest.mark.parametrize(
    ("command", "exit_code", "name"), [("exit 7", 7, None), ("kill -KILL $$", None, "SIGKILL"), ("exit 0", 0, None)]
)
def test_exit_codes_and_signals_are_the_programs_own(
    lab: Lab, prefix: str, command: str, exit_code: int | None, name: str | None
) -> None:
    lab.run("run", "--name", "r", "--prefix", prefix, "--", "sh", "-c", command)
    row = lab.status("r")[0]
    assert (row["exitCode"], row["signal"]) == (exit_code, name)


@pytest.mark.parametrize("prefix", FORKING)
def test_a_program_below_its_prefix_hears_the_signal_and_may_save(lab: Lab, prefix: str) -> None:
    program = """\
import pathlib, signal, sys, time
def end(number, frame):
    time.sleep(0.5); pathlib.Path("saved").touch(); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(3600)
"""
    lab.write("p.py", program)
    flags = ("--name", "r", "--grace", ENDLESS, "--prefix", prefix)
    process = lab.start("run", *flags, "--", "python", "p.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD) == 130
    assert (lab.folder / "saved").exists()


@pytest.mark.parametrize("prefix", FORKING)
def test_what_does_not_end_below_its_prefix_is_killed_after_the_grace(lab: Lab, prefix: str) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
    lab.write("p.py", program)
    flags = ("--name", "r", "--grace", "0.5", "--prefix", prefix)
    process = lab.start("run", *flags, "--", "python", "p.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD) == 130
    assert lab.status("r")[0]["signal"] == "SIGKILL"


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("job.yml",), "job.yml:3: regiment.prefix_ranks: there is no rank 4; this job has ranks 0 to 1"),
        (("job.yml", "--prefix-ranks", "1,5"), "--prefix-ranks: there is no rank 5; this job has ranks 0 to 1"),
        (("--prefix", "nice", "--prefix-ranks", "1", "--", "true"), "there is no rank 1; this job has rank 0 only"),
        (("--prefix-ranks", "0", "--", "true"), "--prefix-ranks: expected only together with prefix"),
        (("--prefix", "nice 'x", "--", "true"), '--prefix "nice \'x": no closing quotation'),
        (("--prefix", " ", "--", "true"), "--prefix: expected a program and its arguments"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused(lab: Lab, command: str, flags: tuple[str, ...], message: str) -> None:
    lab.write("job.yml", JOB.replace("RANK]", "4]"))
    result = lab.run(command, *flags)
    assert result.returncode == 2
    assert message in result.stderr


def test_a_rank_that_the_file_does_not_have_is_not_valid_either(lab: Lab) -> None:
    lab.write("job.yml", JOB.replace("RANK]", "4]"))
    result = lab.run("validate", "job.yml")
    message = "job.yml:3: regiment.prefix_ranks: there is no rank 4; this job has ranks 0 to 1\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message)


def test_more_processes_by_flag_may_make_the_files_ranks_right(lab: Lab) -> None:
    lab.write("job.yml", JOB.replace("RANK]", "4]"))
    assert lab.run("plan", "job.yml", "--nproc", "5").returncode == 0
