"""What `regiment run` hands to the coordinator it starts."""

from __future__ import annotations

from regiment.distribution.mpirun import Mpirun
from regiment.jobs.dataclass import dataclass
from regiment.jobs.spec import JobSpec

from ..node.messages import Terminal
from .network import Network


@dataclass(frozen=True)
class Order:
    """One run to be made; secrets are in it, so it travels through a socket and never lies in a file.

    With it come two open files: the lock on the run's record, held since the run was made, and the coordinator's log;
    and the socket that nodes connect to, where there is a network.
    """

    spec: JobSpec
    workspace: str
    run_id: str
    attached: bool
    """Whether the run ends when the process that started the coordinator does."""
    zip: str
    """The packed agent."""
    python: str
    """The Python for the job's launcher and for `python` in its commands."""
    agent_python: str
    """The Python that runs coordinator, keepers and agents."""
    mpirun: Mpirun | None = None
    """The mpirun of node 0, for jobs that start through one."""
    terminal: Terminal | None = None
    """Where one rank reads and prints, if somebody wants it to himself."""
    network: Network | None = None
    """Where nodes come over a network; without one, all of them are emulated on this machine."""
