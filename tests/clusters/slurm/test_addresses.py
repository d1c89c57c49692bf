"""The addresses that nodes have for each other, on machines with more interfaces than one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import SlurmLab

pytestmark = [pytest.mark.slurm]

BRIDGE = "link add docker0 type bridge\nlink set docker0 up\naddr add 172.17.0.1/16 dev docker0"
"""As a container engine makes it on every machine."""
SCRIPT = "echo $NODE_RANK: $MASTER_ADDR $AZ_BATCHAI_NODE_IP $GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME"


@pytest.fixture
def lab(slurm_lab: SlurmLab) -> Iterator[SlurmLab]:
    """Give a lab on nodes with a bridge that has the same address on each."""
    nodes = list(slurm_lab.cluster.nodes.values())
    for node in nodes:
        node.network(BRIDGE)
    try:
        yield slurm_lab
    finally:
        for node in nodes:
            node.network("link del docker0")


def test_all_libraries_are_told_one_address_and_its_interface_and_the_reason_is_kept(lab: SlurmLab) -> None:
    assert lab.run("compute", "add", "gpu", "--type", "slurm").returncode == 0
    done = lab.run("run", "--name", "r", "--compute", "gpu", "--nodes", "2", "--", "bash", "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    nodes, net = lab.show("r")["nodes"], lab.cluster.net
    addresses = [f"{net}.{node['host'][1:]}" for node in nodes]
    assert [node["ip"] for node in nodes] == addresses
    for rank, address in enumerate(addresses):
        said = lab.log("r", f"node-{rank}/70_driver_log_{rank}.txt")
        assert said == f"{rank}: {addresses[0]} {address} eth0 =eth0\n"
    rows = map(json.loads, (lab.run_folder("r") / "events.jsonl").read_text().splitlines())
    [reason] = [row["reason"] for row in rows if row["event"] == "addresses"]
    network, _, nodes_named = reason.partition(": ")
    assert network == f"all nodes have an address of their own in {net}.0/24, and reach each other there"
    assert nodes_named == f"node-0 {addresses[0]} on eth0, node-1 {addresses[1]} on eth0"
