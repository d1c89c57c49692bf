"""The environment of every process: one contract for all kinds of job, and nothing left from an outer one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from regiment.jobs.placement import Node, Placement

from .tasks import Task

# What a launcher, a scheduler or MPI sets for one process. A job started from inside another job must
# not see these, or it takes the outer job's rank for its own. Job-level SLURM_* stay: users read them.
_LEFTOVER_NAMES = frozenset(
    """
    RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK GROUP_WORLD_SIZE
    ROLE_RANK ROLE_NAME ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT TF_CONFIG NODE_COUNT GPU_PER_NODE_COUNT
    TORCHELASTIC_RESTART_COUNT TORCHELASTIC_MAX_RESTARTS TORCHELASTIC_RUN_ID TORCHELASTIC_USE_AGENT_STORE
    TORCHELASTIC_ERROR_FILE TORCHELASTIC_AGENT_PID MLFLOW_RUN_ID PYTHON_EXEC NOTIFY_SOCKET
    PRTE_LAUNCHED HFI_NO_BACKTRACE IPATH_NO_BACKTRACE
    OMPI_UNIVERSE_SIZE OMPI_APP_CTX_NUM_PROCS OMPI_FIRST_RANKS OMPI_NUM_APP_CTX OMPI_COMMAND OMPI_ARGV
    OMPI_FILE_LOCATION OMPI_MCA_num_procs OMPI_MCA_initial_wdir MPI_LOCALRANKID MPI_LOCALNRANKS
    SLURM_PROCID SLURM_LOCALID SLURM_NODEID SLURM_TASK_PID SLURM_GTIDS SLURM_STEPID SLURM_STEP_ID
    SLURM_LAUNCH_NODE_IPADDR SLURM_DISTRIBUTION SLURM_MPI_TYPE SLURM_UMASK
    """.split()
)
_LEFTOVER_PREFIXES = (
    "REGIMENT_",
    "AZUREML_",
    "AZ_BATCH_",
    "AZ_BATCHAI_",
    "OMPI_COMM_WORLD_",
    "OMPI_MCA_ess",
    "OMPI_MCA_orte",
    "PMIX_",
    "PMI_",
    "PMI2_",
    "PRTE_",
    "HYDI_",
    "I_MPI_INFO_",
    "SLURM_STEP_",
    "SLURM_SRUN_",
    "SLURM_CPU_BIND",
)
_KEPT = frozenset({"REGIMENT_WORKSPACE"})
"""Settings of the user's that only look like leftovers."""

_SECRET_WORDS = (
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
)

TORCHRUN_SETS = frozenset("RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR MASTER_PORT".split())
"""Names of the contract that torchrun sets by itself, and knows best where it is elastic."""


def is_leftover(name: str) -> bool:
    """Say whether a variable belongs to an outer job's process and must not reach ours."""
    if name in _KEPT or name.startswith("PMIX_MCA_"):
        return False
    return name in _LEFTOVER_NAMES or name.startswith(_LEFTOVER_PREFIXES)


def without_leftovers(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment without what an outer job left in it."""
    return {name: value for name, value in environ.items() if not is_leftover(name)}


GLOO, NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
OF_ATTEMPT = frozenset(("REGIMENT_ATTEMPT", "MASTER_PORT", "AZ_BATCH_MASTER_NODE"))
"""Variables of all processes of a node that are other ones in each attempt."""


@cache
def is_secret(name: str) -> bool:
    """Say whether a variable's value is for the process only, not for plans and records."""
    return any(word in name.upper() for word in _SECRET_WORDS) or name.upper().endswith("_KEY")


def masked(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment with the values of secrets hidden."""
    return {name: "********" if is_secret(name) else value for name, value in environ.items()}


def run_variables(run_id: str, experiment: str, attempt: int, framework: str) -> dict[str, str]:
    """Give the variables that say which run this is."""
    return {
        "REGIMENT_RUN_ID": run_id,
        "REGIMENT_ATTEMPT": str(attempt),
        "AZUREML_RUN_ID": run_id,
        "AZUREML_ARM_PROJECT_NAME": experiment,
        "AZUREML_DATA_CONTAINER_ID": f"dcid.{run_id}",
        "AZUREML_FRAMEWORK": framework,
    }


def node_variables(node: Node, placement: Placement) -> dict[str, str]:
    """Give the variables that are the same for all processes of a node, and the cluster's."""
    is_master = "true" if node.index == 0 else "false"
    node_count = str(len(placement.nodes))
    variables = {
        "REGIMENT_NODE_COUNT": node_count,
        "NODE_RANK": str(node.index),
        "GROUP_RANK": str(node.index),
        "WORLD_SIZE": str(placement.world_size),
        "LOCAL_WORLD_SIZE": str(node.slots),
        "MASTER_ADDR": placement.master_address,
        "MASTER_PORT": placement.master_port,
        "AZUREML_NODE_COUNT": node_count,
        "AZUREML_CR_NODE_RANK": str(node.index),
        "NODE_COUNT": node_count,
        "AZ_BATCH_NODE_ID": node.node_id,
        "AZ_BATCH_HOST_LIST": placement.host_list,
        "AZ_BATCH_NODE_LIST": placement.node_list,
        "AZ_BATCH_MASTER_NODE": f"{placement.master_address}:{placement.master_port}",
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": is_master,
        "AZ_BATCHAI_IS_CURRENT_NODE_MASTER": is_master,
        "AZ_BATCHAI_JOB_MASTER_NODE_IP": placement.master_address,
        "AZ_BATCHAI_MPI_MASTER_NODE": placement.master_address,
        "AZ_BATCHAI_NODE_IP": node.address,
        "GPU_PER_NODE_COUNT": str(len(node.gpus or ())),
    }
    if node.gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(node.gpus)
    return variables


def process_variables(task: Task, rank: int, local_rank: int, world_size: int) -> dict[str, str]:
    """Give the variables of one process alone."""
    prefix = f"{task.type}_" if world_size > 1 else ""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(local_rank),
        "AZUREML_PROCESS_NAME": process_name(task, world_size),
        "AZ_BATCHAI_TASK_TYPE": prefix,
        "AZ_BATCHAI_TASK_INDEX": str(task.index),
    }


def elastic_variables(rank: str, node_rank: str, node_count: str) -> dict[str, str]:
    """Give what a process gets whose rank is only known once its launcher has counted the nodes that are there.

    The other names of the contract its launcher sets itself (`TORCHRUN_SETS`).
    """
    return {
        "NODE_RANK": node_rank,
        "AZUREML_CR_NODE_RANK": node_rank,
        "REGIMENT_NODE_COUNT": node_count,
        "AZUREML_NODE_COUNT": node_count,
        "NODE_COUNT": node_count,
        "AZUREML_PROCESS_NAME": f"rank_{rank}",
        "AZ_BATCHAI_TASK_INDEX": rank,
    }


def process_name(task: Task, world_size: int) -> str:
    """Give a process's name as Azure ML has it: `main` where it is alone, else `rank_<n>`, `worker_<n>` and so on."""
    return f"{task.type}_{task.index}" if world_size > 1 else "main"


def default_variables(node: Node) -> dict[str, str]:
    """Give settings that help and that the user's own values override.

    OMP_NUM_THREADS shares the node's processors among its processes: torchrun's 1 starves loaders, and
    leaving it out lets every process start a thread for every processor.

    The interface is told to those that would guess: gloo takes what the machine's own name leads to, which on many
    machines is 127.0.1.1, and NCCL its first that is no docker's. `=` has NCCL take no other whose name begins so.
    """
    interface = {} if node.interface is None else {GLOO: node.interface, NCCL: f"={node.interface}"}
    return {
        **interface,
        "OMP_NUM_THREADS": str(max(1, len(node.cpus) // node.slots)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }


def merged(
    base: Mapping[str, str],
    defaults: Mapping[str, str],
    path_first: str | None,
    *layers: Mapping[str, str],
) -> dict[str, str]:
    """Put an environment together: the node's own without leftovers, defaults under it, the layers over it."""
    environ = {**defaults, **without_leftovers(base)}
    for layer in layers:
        environ.update(layer)
    if path_first:
        environ["PATH"] = f"{path_first}:{environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    return environ
