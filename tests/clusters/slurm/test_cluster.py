"""The cluster that the other tests use is a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .cluster import GUARD, NODES, Cluster

pytestmark = pytest.mark.slurm


def test_each_task_runs_on_a_node_with_an_address_a_name_and_processes_of_its_own(slurm: Cluster) -> None:
    words = "$SLURM_NODEID $SLURMD_NODENAME $(hostname) $(hostname -I) $(cat /proc/sys/kernel/random/boot_id)"
    lines = slurm.ask("srun", f"--nodes={NODES}", "bash", "-c", f"echo {words}").splitlines()
    found = sorted(line.split() for line in lines)
    assert [row[:4] for row in found] == [
        [str(index), f"n{index + 1}", f"n{index + 1}", f"{slurm.net}.{index + 1}"] for index in range(NODES)
    ]
    assert len({row[4] for row in found}) == NODES


def test_a_cluster_whose_tests_are_killed_leaves_no_process_and_no_network() -> None:
    text = "import time\nfrom tests.clusters.slurm.cluster import open_cluster\nwith open_cluster() as found:\n"
    text += "    print(found.link, found.folder, *(machine.pid for machine in found.machines), flush=True)\n"
    text += "    time.sleep(3600)\n"
    process = subprocess.Popen((sys.executable, "-c", text), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    link, folder, *pids = process.stdout.readline().split()
    process.kill()
    process.communicate()
    shutil.rmtree(folder)
    deadline = time.monotonic() + GUARD
    while link in os.listdir("/sys/class/net") or any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
