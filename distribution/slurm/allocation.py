"""Nodes that somebody has got from Slurm already (salloc, or an sbatch script), and the command that takes them."""

from __future__ import annotations

from collections.abc import Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError
from regiment.jobs.spec import JobSpec, Mpi, PyTorch

from .hosts import host_names
from .script import SRUN

_NO_STEPS = frozenset({"4294967290", "4294967291"})
"""What Slurm numbers the shell that salloc starts on a node, and a batch script: nothing that srun has started."""


@dataclass(frozen=True)
class Allocation:
    """The nodes of a job that is somebody else's."""

    job_id: str
    nodes: tuple[str, ...]
    is_here: bool
    """Whether this process is on one of them."""


def allocation_of(environ: Mapping[str, str], starter: str = "srun") -> Allocation | None:
    """Give the allocation that a shell with these variables is in.

    A task that srun has started is in none: it is one of many, each of which would take all nodes. But Flux itself may
    have been started so, and what it runs once is such a task.
    """
    job_id, nodes = environ.get("SLURM_JOB_ID"), environ.get("SLURM_JOB_NODELIST")
    is_step = environ.get("SLURM_STEP_ID", "4294967291") not in _NO_STEPS
    if not job_id or not nodes or (is_step and starter == "srun"):
        return None
    return Allocation(job_id, host_names(nodes), bool(environ.get("SLURMD_NODENAME")))


def nodes_taken(spec: JobSpec, allocation: Allocation, is_said: bool) -> int:
    """Give on how many of its nodes a job runs: on all of them where neither file nor flag says a number.

    Raises:
        UserError: There are not so many.
    """
    available = len(allocation.nodes)
    if spec.instance_count > available:
        raise UserError(
            f"the job asks for {spec.instance_count} nodes, and Slurm's job {allocation.job_id}, in which this runs, "
            f"has {available}; give --nodes {available}, or --compute local for nodes emulated here"
        )
    # Of a job whose processes are counted one by one, more nodes would make another one.
    grows = isinstance(spec.distribution, (PyTorch, Mpi)) and spec.instance_count == 1 and not is_said
    return available if grows else spec.instance_count


def starting_command(
    starter: str, nodes: int, is_elastic: bool, agent: tuple[str, ...], flags: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Give the command that starts one agent on each of so many nodes of the allocation it is started in.

    Node 0's reads from it: when there is nothing more to read, whoever looks on has gone.
    """
    if starter == "flux":
        return ("flux", "run", f"--nodes={nodes}", f"--ntasks={nodes}", "--input=0", *agent)
    # Other steps of the same job may run on the same nodes; none is to wait for the other.
    size = (f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap")
    usual = (flag for flag in SRUN if not flag.startswith("--input"))
    return ("srun", *size, *usual, "--input=0", *(("--no-kill",) if is_elastic else ()), *flags, *agent)
