"""Three containers that know nothing but their ranks, node 0's name and a key, and are one run."""

from __future__ import annotations

import json

import pytest

from .image import CHECKOUT
from .site import Site

pytestmark = [pytest.mark.container, pytest.mark.slow]

# Three nodes that each believe to have all processors of this machine would take them from each other.
EXAMPLES = {
    "pytorch-ddp": (
        *("--nproc", "1", "--env", "OMP_NUM_THREADS=1", "--start-method", "spawn"),
        *("--set", "command=python train.py --epochs 1 --images 1600 --check"),
    ),
    "tensorflow-multiworker": ("--workers", "3", "--env", "OMP_NUM_THREADS=1"),
}
"""Ready jobs, with what makes them small enough for three nodes on one machine."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_ready_job_completes_on_three_containers_through_the_entrypoint_alone(site: Site, name: str) -> None:
    job = ("--volume", f"{CHECKOUT}/jobs/examples/{name}:/job:ro")
    nodes = [site.start_node(0, 3, "job.yml", *EXAMPLES[name], options=job)]
    nodes += [site.start_node(rank, 3) for rank in (1, 2)]
    assert site.ends(*nodes) == [0, 0, 0], site.words()
    status = json.loads((site.run_folder / "azureml-logs/process_status.json").read_text("utf-8"))
    rows = [(row["nodeId"], row["status"]) for row in status["processes"]]
    assert rows == [(f"node-{rank}", "Completed") for rank in range(3)]
