"""Whole runs on a Slurm cluster, submitted and watched from its login node."""

from __future__ import annotations

import pytest

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
