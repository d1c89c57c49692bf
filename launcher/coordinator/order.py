"""What `regiment run` hands to the coordinator it starts."""

from __future__ import annotations

from regiment.distribution.mpirun import Mpirun
from regiment.jobs.data import DataInput, DataMode
from regiment.jobs.dataclass import dataclass
from regiment.jobs.spec import JobSpec, preloaded_modules

from ..node.messages import Terminal
from .hosts import Hosts
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
    """Where nodes come over a network."""
    hosts: Hosts | None = None
    """Where nodes are reached over ssh; without these and a network, all of them are emulated on this machine."""
    requeues_left: int = 0
    """How often whoever started the coordinator can have the run queued again."""
    notes: tuple[str, ...] = ()
    """What a person should know before it runs."""

    @property
    def warm_modules(self) -> tuple[str, ...] | None:
        """Give what a warm pool may have imported for it; None where it can have no use for one."""
        if self.has_views:
            return None  # Views need a mount namespace, which nothing must have been started before.
        return preloaded_modules(self.spec.distribution, self.spec.options)

    @property
    def has_lives(self) -> bool:
        """Say whether a node that was lost may come back, and then has to know what is left of it from before."""
        options = self.spec.options
        return options.restarts.any or options.min_nodes is not None

    @property
    def has_views(self) -> bool:
        """Say whether there are inputs that the job must not be able to write."""
        inputs = self.spec.inputs.values()
        return any(isinstance(item, DataInput) and item.mode is DataMode.READ_ONLY_MOUNT for item in inputs)
