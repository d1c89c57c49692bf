"""Three containers that know nothing but their ranks, node 0's name and a key, and are one run."""

from __future__ import annotations

import json

import pytest

from .image import CHECKOUT
from .site import Site

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.xdist_group("containers")]

EXAMPLES = {
    "pytorch-ddp": ("--nproc", "1"),
    "tensorflow-multiworker": ("--workers", "3"),
    "mpi4py": ("--nproc", "2"),
}
"""Ready jobs, with what makes them small enough for three nodes on one machine."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_ready_job_completes_on_three_containers_through_the_entrypoint_alone(site: Site, name: str) -> None:
    options = ("--volume", f"{CHECKOUT}/jobs/examples/{name}:/job:ro")
    nodes = site.start_nodes(3, "job.yml", "--name", "r", *EXAMPLES[name], options=options)
    assert [node.wait() for node in nodes] == [0, 0, 0], "\n".join(node.words() for node in nodes)
    status = json.loads((site.folder / "workspace/runs/r/azureml-logs/process_status.json").read_text("utf-8"))
    rows = [(row["nodeId"], row["status"]) for row in status["processes"]]
    each = 2 if name == "mpi4py" else 1
    assert rows == [(f"node-{rank // each}", "Completed") for rank in range(3 * each)]
    print(nodes[0].words())
    print(nodes[1].words())
