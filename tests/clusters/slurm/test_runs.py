"""Whole runs on a Slurm cluster, submitted and watched from its login node."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest

from tests.launcher.conftest import GUARD

from .conftest import SlurmLab

pytestmark = pytest.mark.slurm

JOB = """
command: {command}
compute: gpu
resources: {{instance_count: {nodes}}}
distribution: {{type: pytorch, process_count_per_instance: 2}}
regiment: {{start_method: spawn, grace: 2}}
"""


def prepared(lab: SlurmLab, command: str, nodes: int = 2) -> SlurmLab:
    lab.write("job.yml", JOB.format(command=command, nodes=nodes))
    added = lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main")
    assert added.returncode == 0, added.stderr
    return lab


def test_a_run_on_two_nodes_is_queued_started_and_shown_to_its_end(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo rank $RANK of $WORLD_SIZE on $(hostname) at $MASTER_ADDR")
    done = lab.run("run", "job.yml", "--name", "r")
    assert done.returncode == 0, done.stderr + (lab.run_folder("r") / "logs/azureml/slurm.log").read_text()
    net = lab.cluster.net
    assert sorted(done.stdout.splitlines()) == [
        f"[node-{rank // 2} rank {rank}] rank {rank} of 4 on n{rank // 2 + 1} at {net}.1" for rank in range(4)
    ]
    assert lab.show("r")["status"] == "Completed"
    secrets = [lab.run_folder("r") / name for name in ("run.key", "order.json")]
    lab.wait_until(lambda: not any(path.exists() for path in secrets))
    question = ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={lab.show('r')['scheduler']['jobId']}")
    lab.wait_until(lambda: lab.cluster.ask(*question).strip() not in ("RUNNING", "COMPLETING"))
    assert lab.cluster.ask(*question) == "COMPLETED\n"


def started(lab: SlurmLab, *flags: str, **environ: str) -> None:
    """Submit the job and wait until all its processes have said that they are ready."""
    done = lab.run("run", "job.yml", "--detach", "--name", "r", *flags, **environ)
    assert done.returncode == 0, done.stderr
    lab.wait_until_running("r", 4)
    lab.wait_until(lambda: all("ready" in log_of(lab, rank) for rank in range(4)))


def log_of(lab: SlurmLab, rank: int) -> str:
    path = lab.run_folder("r") / "azureml-logs" / f"node-{rank // 2}" / f"70_driver_log_{rank}.txt"
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""  # Not there yet, or the link to the attempt's logs is just being set anew.


def test_a_running_run_is_cancelled_from_the_login_node(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "trap 'echo told; exit 3' TERM; echo ready; sleep 3600 & wait")
    started(lab)
    follower = lab.start("logs", "-f", "r")
    assert lab.show("r")["status"] == "Running"
    assert lab.run("cancel", "r").returncode == 0
    waited = lab.run("wait", "r")
    assert waited.returncode == 4
    assert "cancelled by 'regiment cancel'" in waited.stderr
    out, err = follower.communicate()
    assert follower.returncode == 0, err
    assert sorted(out.splitlines()) == sorted(
        f"[node-{rank // 2} rank {rank}] {word}" for rank in range(4) for word in ("ready", "told")
    )
    assert lab.show("r")["status"] == "Canceled"


def with_python(lab: SlurmLab, line: str, *flags: str) -> None:
    """Have the nodes' Python begin with a line of shell."""
    path = lab.write("python.sh", f'#!/bin/sh\n{line}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main", "--python", str(path), *flags)


def test_a_run_is_cancelled_while_it_waits_for_a_node_that_hangs(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "sleep 3600")
    with_python(lab, "[ $SLURMD_NODENAME = n1 ] || exec sleep 3600")
    assert lab.run("run", "job.yml", "--detach", "--name", "r").returncode == 0
    lab.wait_until(lambda: lab.show("r")["coordinator"] is not None)
    assert lab.show("r")["status"] == "Starting"
    assert lab.run("cancel", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 4
    lab.wait_until(lambda: not lab.cluster.jobs())


def test_a_run_whose_node_0_dies_before_the_others_know_it_ends_at_the_start_deadline(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "sleep 3600")
    with_python(lab, "[ $SLURMD_NODENAME = n2 ] || exit 9", "--start-timeout", "1")
    assert lab.run("run", "job.yml", "--detach", "--name", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 3
    assert lab.show("r")["status"] == "Failed"
    assert "node 0 has not come within 1 s" in (lab.run_folder("r") / "logs/azureml/slurm.log").read_text()


def test_what_keeps_node_0_from_beginning_is_told_by_the_others_at_once(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "sleep 3600")
    with_python(lab, f"[ $SLURMD_NODENAME = n2 ] || rm '{lab.run_folder('r')}/order.json'")
    assert lab.run("run", "job.yml", "--detach", "--name", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 3
    assert "node 0 could not begin: " in (lab.run_folder("r") / "logs/azureml/slurm.log").read_text()


def test_scancel_ends_a_run_politely(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "trap 'echo told; exit 3' TERM; echo ready; sleep 3600 & wait")
    started(lab)
    lab.cluster.ask("scancel", lab.show("r")["scheduler"]["jobId"])
    assert lab.run("wait", "r").returncode == 4
    assert lab.show("r")["status"] == "Canceled"
    assert {log_of(lab, rank) for rank in range(4)} == {"ready\ntold\n"}


def test_two_runs_on_the_same_nodes_at_once_do_not_meet(slurm_lab: SlurmLab) -> None:
    come = slurm_lab.everybody(8).replace("$RANK", "$(( $RANK + $OFFSET ))")
    lab = prepared(slurm_lab, f"{come}; echo $REGIMENT_RUN_ID")
    first, second = (
        lab.start("run", "job.yml", "--name", name, "--env", f"OFFSET={offset}")
        for name, offset in (("r", 0), ("s", 4))
    )
    for process, name in ((first, "r"), (second, "s")):
        out, err = process.communicate(timeout=GUARD)
        assert process.returncode == 0, err
        assert {line.partition("] ")[2] for line in out.splitlines()} == {name}
    assert [node["host"] for node in lab.show("r")["nodes"]] == [node["host"] for node in lab.show("s")["nodes"]]


def test_all_processors_of_the_allocation_are_every_processes(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "python -c 'import os; print(len(os.sched_getaffinity(0)))'")
    done = lab.run("run", "job.yml")
    assert done.returncode == 0, done.stderr
    assert {line.partition("] ")[2] for line in done.stdout.splitlines()} == {str(len(os.sched_getaffinity(0)))}


def test_the_notice_of_the_end_of_its_time_reaches_each_process_once(slurm_lab: SlurmLab) -> None:
    lab = prepared(
        slurm_lab,
        "trap 'echo told; exit 0' TERM; trap 'echo noticed' USR1; echo ready; while :; do sleep 3600 & wait; done",
    )
    started(lab)
    lab.cluster.ask("scancel", "--signal=USR1", lab.show("r")["scheduler"]["jobId"])
    lab.wait_until(lambda: all("noticed" in log_of(lab, rank) for rank in range(4)))
    assert lab.show("r")["preempting"] is not None
    assert lab.run("cancel", "r").returncode == 0
    lab.run("wait", "r")
    assert {log_of(lab, rank) for rank in range(4)} == {"ready\nnoticed\ntold\n"}


def test_a_node_that_is_powered_off_ends_the_run_and_is_named(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo ready; sleep 3600")
    started(lab)
    node = lab.cluster.nodes["n2"]
    node.network("link set eth0 down")
    try:
        waited = lab.run("wait", "r")
        assert waited.returncode == 3
        assert "node-1" in waited.stderr
    finally:
        node.network("link set eth0 up")


def test_a_killed_slurmd_does_not_disturb_the_run(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, f"echo ready; until [ -e '{slurm_lab.folder}/go' ]; do sleep 0.1; done; echo done")
    started(lab)
    os.kill(lab.cluster.slurmd_pid("n2"), signal.SIGKILL)
    lab.write("go", "")
    try:
        assert lab.run("wait", "r").returncode == 0
    finally:
        lab.cluster.start_slurmd("n2")


TRAIN = """
import os, pathlib, signal, sys, time
attempt, rank = int(os.environ["REGIMENT_ATTEMPT"]), os.environ["RANK"]
saved = pathlib.Path(os.environ["SAVED"]) / rank
step = int(saved.read_text()) if saved.exists() else 0
print("attempt", attempt, "from", step, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
while step < 3 or attempt == 0:
    time.sleep(0.05)
    step += 1
    if step <= 2:
        saved.write_text(str(step))
print("done at", step, flush=True)
"""


@pytest.mark.parametrize("how", ["requeue", "down"])
def test_a_job_that_is_queued_again_goes_on_as_the_runs_next_attempt(slurm_lab: SlurmLab, how: str) -> None:
    lab = prepared(slurm_lab, f"python '{slurm_lab.folder}/train.py'")
    lab.write("train.py", TRAIN)
    saved = lab.folder / "saved"
    saved.mkdir()
    process = lab.start("run", "job.yml", "--name", "r", "--env", f"SAVED={saved}")
    lab.wait_until(
        lambda: [(saved / str(rank)).exists() and (saved / str(rank)).read_text() for rank in range(4)] == ["2"] * 4
    )
    job_id = lab.show("r")["scheduler"]["jobId"]
    if how == "requeue":
        lab.cluster.ask("scontrol", "requeue", job_id)
    else:
        lab.cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    lab.wait_until(lambda: lab.show("r")["attempt"] == 1)
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    lines = sorted(line.partition("] ")[2] for line in out.splitlines())
    assert lines == ["attempt 0 from 0"] * 4 + ["attempt 1 from 2"] * 4 + ["done at 3"] * 4
    record = lab.show("r")
    assert (record["status"], record["attempt"], record["scheduler"]["jobId"]) == ("Completed", 1, job_id)
    first = lab.run_folder("r") / "attempts" / "0" / "azureml-logs" / "node-1" / "70_driver_log_3.txt"
    assert first.read_text() == "attempt 0 from 0\n"


@pytest.mark.slow
def test_a_run_whose_time_is_up_is_told_before_and_ends_within_its_own_grace(slurm_lab: SlurmLab) -> None:
    lab = prepared(
        slurm_lab,
        "trap 'echo told; exit 3' TERM; trap 'echo noticed' USR1; echo ready; while :; do sleep 3600 & wait; done",
    )
    started(lab, "--set", "regiment.slurm.signal=USR1@55", "--set", "regiment.preemption_grace=1")
    # A minute is the least that Slurm gives. It looks twice a minute, and tells who might be over at its next look.
    lab.cluster.ask("scontrol", "update", f"jobid={lab.show('r')['scheduler']['jobId']}", "timelimit=1")
    waited = lab.run("wait", "r")
    assert waited.returncode == 5, waited.stderr
    assert {log_of(lab, rank) for rank in range(4)} == {"ready\nnoticed\ntold\n"}
    record = lab.show("r")
    assert record["status"] == "Canceled"
    assert "SIGUSR1" in record["error"]["message"]


def test_a_run_that_is_to_be_queued_again_goes_on_without_the_node_that_failed(slurm_lab: SlurmLab) -> None:
    lab = prepared(
        slurm_lab,
        "echo attempt $REGIMENT_ATTEMPT ready on $(hostname); [ $REGIMENT_ATTEMPT = 1 ] || exec sleep 3600",
    )
    started(lab, "--set", "regiment.requeue=1")
    agent = next(pid for pid in lab.cluster.nodes["n2"].processes() if b"agent\0--run-folder" in lab.command_line(pid))
    os.kill(agent, signal.SIGKILL)
    waited = lab.run("wait", "r")
    assert waited.returncode == 0, waited.stderr
    record = lab.show("r")
    hosts = [record["nodes"][rank // 2]["host"] for rank in range(4)]
    assert "n2" not in hosts
    assert [log_of(lab, rank) for rank in range(4)] == [f"attempt 1 ready on {host}\n" for host in hosts]
    assert record["scheduler"]["requeues"] == 1
    assert record["scheduler"]["excluded"] == ["n2"]
    assert any("the run is queued again without n2: " in note["text"] for note in lab.events("r", "note"))


def test_a_preempted_run_is_queued_again_as_often_as_it_may(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "trap 'exit 0' USR1; echo attempt $REGIMENT_ATTEMPT ready; sleep 3600 & wait")
    started(lab, "--set", "regiment.requeue=1")
    job_id = lab.show("r")["scheduler"]["jobId"]
    lab.cluster.ask("scancel", "--signal=USR1", job_id)
    lab.wait_until(lambda: all("attempt 1 ready" in log_of(lab, rank) for rank in range(4)))
    lab.cluster.ask("scancel", "--signal=USR1", job_id)
    waited = lab.run("wait", "r")
    assert waited.returncode == 5, waited.stderr
    assert lab.show("r")["attempt"] == 1


SLOW_SCONTROL = """#!/bin/sh
[ "$1" != requeue ] || {{ touch {folder}/asked; until [ -e {folder}/answer ]; do sleep 0.05; done; }}
exec {scontrol} "$@"
"""


def test_a_run_that_is_cancelled_while_slurm_is_asked_to_queue_it_again_ends(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "trap 'exit 0' USR1; echo ready; sleep 3600 & wait")
    scontrol = lab.write("bin/scontrol", SLOW_SCONTROL.format(folder=lab.folder, scontrol=shutil.which("scontrol")))
    scontrol.chmod(0o755)
    started(lab, "--set", "regiment.requeue=1", PATH=f"{scontrol.parent}:{lab.environ['PATH']}")
    lab.cluster.ask("scancel", "--signal=USR1", lab.show("r")["scheduler"]["jobId"])
    lab.wait_until((lab.folder / "asked").exists)
    assert lab.run("cancel", "r").returncode == 0
    lab.write("answer", "")
    waited = lab.run("wait", "r")
    assert waited.returncode == 4, waited.stderr
    lab.wait_until(lambda: not lab.cluster.jobs())
    record = lab.show("r")
    assert (record["status"], record["attempt"]) == ("Canceled", 0)
    question = ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={record['scheduler']['jobId']}")
    assert lab.cluster.ask(*question) == "CANCELLED\n"


def test_a_program_that_fails_is_not_queued_again(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "exit 7")
    assert lab.run("run", "job.yml", "--name", "r", "--set", "regiment.requeue=1").returncode == 1
    assert lab.show("r")["attempt"] == 0
