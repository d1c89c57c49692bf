"""What there is of a run before a coordinator has it: submitted, queued, refused, cancelled, forgotten."""

from __future__ import annotations

import json
import random
import stat
import subprocess
from pathlib import Path

import pytest

from regiment.distribution.slurm.hosts import host_names

from .cluster import Cluster
from .conftest import SlurmLab

pytestmark = pytest.mark.slurm

JOB = """
command: "true"
environment_variables: {MY_TOKEN: hush-hush}
compute: gpu
resources: {instance_count: 2}
regiment:
  slurm: {%s}
"""
LATER = "begin: now+1hour"


def prepared(lab: SlurmLab, options: str, *target: str) -> SlurmLab:
    """Give the lab with a job file and a compute target."""
    lab.write("job.yml", JOB % options)
    added = lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main", *target)
    assert added.returncode == 0, added.stderr
    return lab


def detached(lab: SlurmLab, *flags: str) -> str:
    """Submit the job; gives the number that Slurm has for it."""
    done = lab.run("run", "job.yml", "--detach", "--name", "r", *flags)
    assert (done.returncode, done.stdout) == (0, "r\n"), done.stderr
    job_id = str(lab.show("r")["scheduler"]["jobId"])
    assert f"regiment: run r is Slurm's job {job_id}\n" in done.stderr
    return job_id


def test_a_run_waits_in_the_queue_with_the_reason_shown_until_it_is_cancelled(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, LATER)
    process = lab.start("run", "job.yml", "--name", "r")
    assert process.stderr is not None
    first = process.stderr.readline()
    job_id = lab.show("r")["scheduler"]["jobId"]
    assert first == f"regiment: run r is Slurm's job {job_id}\n"
    # Slurm may not have thought about it yet when it is asked first.
    words = f"regiment: Slurm's job {job_id} waits: "
    while (line := process.stderr.readline()) == f"{words}just submitted\n":
        pass
    assert line.startswith(f"{words}BeginTime")
    assert lab.run("cancel", "r").returncode == 0
    _, err = process.communicate()
    assert (process.returncode, err) == (4, "regiment: run r: cancelled by 'regiment cancel'\n")
    assert lab.show("r")["status"] == "Canceled"
    assert lab.run("wait", "r").returncode == 4


def test_a_queued_run_is_listed_tagged_and_waited_for_from_the_login_node(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "hold: true")
    job_id = detached(lab)
    assert lab.cluster.jobs() == [f"{job_id} PENDING"]
    assert json.loads(lab.run("list", "-o", "json").stdout)[0]["status"] == "Queued"
    assert lab.run("tag", "r", "mine").returncode == 0
    assert lab.run("wait", "r", "--timeout", "0.1").returncode == 3
    assert lab.show("r")["tags"] == {"mine": None}
    lab.cluster.ask("scancel", job_id)
    waited = lab.run("wait", "r")
    assert waited.returncode == 4
    assert f"Slurm's job {job_id} was cancelled" in waited.stderr


def test_what_slurm_refuses_leaves_no_run(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "partition: nowhere")
    done = lab.run("run", "job.yml", "--name", "r")
    assert done.returncode == 2
    assert "regiment: Slurm refuses the job: " in done.stderr
    assert "invalid partition specified: nowhere" in done.stderr
    assert not lab.run_folder("r").exists()


def test_a_job_that_ends_without_a_word_of_a_coordinator_is_no_success(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "requeue: false", "--python", "/bin/true")
    done = lab.run("run", "job.yml", "--name", "r")
    assert done.returncode == 3
    assert "the run's record does not say how" in done.stderr
    assert lab.show("r")["status"] == "Unknown"
    lab.run("compute", "add", "gpu", "--type", "slurm", "--python", "/bin/false")
    done = lab.run("run", "job.yml", "--name", "s")
    assert done.returncode == 3
    assert lab.show("s")["status"] == "Failed"


def test_a_job_that_slurm_has_forgotten_is_unknown(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "hold: true")
    job_id = detached(lab)
    record = lab.run_folder("r") / "run.json"
    record.write_text(record.read_text().replace(f'"jobId": "{job_id}"', '"jobId": "123456"'))
    assert lab.show("r")["status"] == "Unknown"
    waited = lab.run("wait", "r")
    assert waited.returncode == 3
    assert "Slurm's job 123456 is not known to Slurm (any more)" in waited.stderr
    lab.cluster.ask("scancel", job_id)


def test_the_key_and_secrets_are_where_only_their_owner_reads_them(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "hold: true")
    job_id = detached(lab)
    folder = lab.run_folder("r")
    key = (folder / "run.key").read_text().strip()
    assert len(key) == 64
    for secret in (key, "hush-hush"):  # grep minds no file that the living run replaces meanwhile (-s).
        found = subprocess.run(["grep", "-rlsF", "-e", secret, str(folder)], capture_output=True, text=True).stdout
        names = {Path(path).name for path in found.splitlines()}
        assert names and names <= {"run.key", "order.json", "job.yml"}, names
    for name in ("run.key", "order.json", "job.yml"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    shown = lab.cluster.ask("scontrol", "show", "job", "-dd", job_id)
    shown += lab.cluster.ask("scontrol", "write", "batch_script", job_id, "-")
    assert "exec srun" in shown
    assert key not in shown
    assert "hush-hush" not in shown
    assert lab.run("cancel", "r").returncode == 0


def test_an_option_arrives_at_slurm_as_it_was_written(slurm_lab: SlurmLab) -> None:
    comment = """it's a \\"test\\" of $HOME; `id` # no comment"""
    lab = prepared(slurm_lab, f'hold: true, time: 1:30:00, comment: "{comment}", cpus-per-task: 3')
    job_id = detached(lab)
    shown = lab.cluster.ask("scontrol", "show", "job", job_id)
    assert 'Comment=it\'s a "test" of $HOME; `id` # no comment ' in shown
    assert " TimeLimit=01:30:00 " in shown
    assert " CPUs/Task=3 " in shown
    assert " NumNodes=2" in shown.replace("\n", " ")
    assert lab.run("cancel", "r").returncode == 0


def test_lists_of_hosts_are_taken_apart_as_slurm_does_it(slurm: Cluster) -> None:
    dice = random.Random(10)
    for _ in range(12):
        names = [
            f"{dice.choice(['n', 'gpu-', 'r1c'])}{dice.randrange(120):0{dice.choice([1, 2, 4])}}" for _ in range(9)
        ]
        packed = slurm.ask("scontrol", "show", "hostlist", ",".join(names)).strip()
        assert list(host_names(packed)) == slurm.ask("scontrol", "show", "hostnames", packed).split()
