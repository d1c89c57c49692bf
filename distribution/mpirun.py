"""The mpirun of a run: which kind it is, its command line, and the variables it needs and sets.

One mpirun, on node 0, starts all ranks. What it takes for ssh is our own script, so nodes need no sshd and
their names need not resolve. Every flag here was tried with the versions that the tests' samples are from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError
from regiment.jobs.placement import Node, Placement

from .plan import REMOTE_SHELL, SHARED_MEMORY, SLURM_TASKS, TEMPORARY, WRAPPER

SHARED_MEMORY_NAMES = ("/dev/shm/mpich_shm_", "/dev/shm/mpich_shar_tmp")
"""Beginnings of files that ranks share and that stay when they are killed; MPICH's cannot be put elsewhere."""
EXECUTABLES = ("mpirun", "mpiexec", "mpiexec.hydra")
"""Names to look for in PATH, in this order. Intel's `mpirun` is a script that runs the first `mpiexec.hydra` of
PATH, whoever's that is: its own folder has to come first there."""


class Flavour(Enum):
    """The kinds of mpirun that differ in how they are called."""

    OPEN_MPI_5 = "Open MPI 5"
    """Open MPI from 5.0 on: PRRTE starts the processes, settings are `PRTE_MCA_*` and `OMPI_MCA_*`."""
    OPEN_MPI_4 = "Open MPI 4"
    """Open MPI 4: ORTE starts the processes, all settings are `OMPI_MCA_*`."""
    MPICH = "MPICH"
    """MPICH and what is made from it and keeps its process manager, Hydra."""
    INTEL = "Intel MPI"
    """Intel MPI: a Hydra of its own, with a daemon for each node that starts the one that starts the ranks."""
    SRUN = "Slurm's srun"
    """No mpirun at all: Slurm starts the ranks as a step of its job, and they find each other by its PMIx."""


@dataclass(frozen=True)
class Mpirun:
    """One mpirun that was found on node 0."""

    path: str
    """Absolute, for Open MPI and Hydra find their daemons beside it."""
    flavour: Flavour
    version: str


@dataclass(frozen=True)
class RankVariables:
    """What a rank finds of its launcher in the environment it is started with."""

    rank: str
    prefixes: tuple[str, ...]
    """How the names begin of all that the launcher sets for a rank, and that its process must keep."""


_VERSIONS = (
    # Intel MPI is asked for first: it is a Hydra too.
    (r"(?s)Intel\(R\) MPI Library.*?Version (?P<version>\d[\w.]*)", Flavour.INTEL),
    (r"\((?:Open MPI|OpenRTE)\) (?P<version>4\.[\w.]*)", Flavour.OPEN_MPI_4),
    (r"\(Open MPI\) (?P<version>(?:[5-9]|\d\d+)\.[\w.]*)", Flavour.OPEN_MPI_5),
    (r"(?m)^slurm(?:-wlm)? (?P<version>\d[\w.]*)", Flavour.SRUN),
    (r"HYDRA build details:\s+Version:\s+(?P<version>\d[\w.]*)", Flavour.MPICH),
)


def mpi_flavour(path: str, version_output: str) -> Mpirun:
    """Tell from what `mpirun --version` printed which kind it is; raises UserError where it is none we know."""
    for pattern, flavour in _VERSIONS:
        if found := re.search(pattern, version_output):
            return Mpirun(path, flavour, found["version"])
    said = next((line.strip() for line in version_output.splitlines() if line.strip()), "nothing")
    known = ", ".join(flavour.value for flavour in Flavour)
    raise UserError(
        f"{path}: `--version` says {said[:80]!r}, and that is none of {known}; "
        "put one of them first in PATH, name one with --mpirun, or pip install 'regiment[mpi]'"
    )


def mpirun_argv(mpirun: Mpirun, nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    """Give the argv of the one mpirun, started on node 0: node-major ranks, our wrapper as each rank's program."""
    return (mpirun.path, *_RULES[mpirun.flavour].flags(nodes, extra), WRAPPER)


def check_pmix(mpirun: Mpirun, types: str) -> None:
    """Check in what `srun --mpi=list` printed that Slurm can start MPI's ranks; raises UserError where it cannot."""
    known = types.split()
    if not any(word == "pmix" or word.startswith("pmix_v") for word in known):
        raise UserError(
            f"{mpirun.path}: this Slurm has no PMIx plugin, `srun --mpi=list` does not name it; "
            "ask the site for it, or leave `mpirun: srun` out: an mpirun needs nothing of Slurm"
        )


def is_started_by_slurm(flavour: Flavour) -> bool:
    """Say whether Slurm's daemons start the ranks, and not those of an mpirun."""
    return flavour is Flavour.SRUN


def rank_variables(flavour: Flavour) -> RankVariables:
    """Say where a rank finds its numbers."""
    return _RULES[flavour].variables


def launcher_environ(flavour: Flavour, placement: Placement) -> Mapping[str, str]:
    """Give what a node's mpirun and daemons need on top of the node's environment, with placeholders in it."""
    rule = _RULES[flavour]
    if _are_one_machine(placement.nodes):
        return {**rule.environ, **rule.emulated}
    network = placement.network
    return {**rule.environ, **({} if network is None else dict.fromkeys(rule.networks, network))}


def needs_own_host_name(flavour: Flavour, nodes: tuple[Node, ...]) -> bool:
    """Say whether each node's daemon needs a UTS namespace in which the host name is the node's id.

    Open MPI takes ranks whose daemons report one host name for ranks of one machine, looks for the others'
    shared memory and crashes or waits for ever.
    """
    return len(nodes) > 1 and _are_one_machine(nodes) and _RULES[flavour].trusts_host_names


def is_scheduler_variable(name: str, *, is_srun: bool = False) -> bool:
    """Say whether a variable would make mpirun ask an outer scheduler for nodes; take these from its environment.

    Of srun these are the options of the step that it is called in; it keeps what says which job is meant, and where.
    """
    if is_srun and name in ("SLURM_JOB_ID", "SLURM_CONF"):
        return False
    return name.startswith(("SLURM_", "SLURMD_", "PBS_", "LSB_", "LS_", "PE_HOSTFILE", "COBALT_", "FLUX_"))


def _are_one_machine(nodes: tuple[Node, ...]) -> bool:
    return len({node.address for node in nodes}) == 1


def _slots(nodes: tuple[Node, ...]) -> str:
    return ",".join(f"{node.node_id}:{node.slots}" for node in nodes)


def _world_size(nodes: tuple[Node, ...]) -> str:
    return str(sum(node.slots for node in nodes))


def _unless_given(extra: tuple[str, ...], flag: str, value: str) -> tuple[str, ...]:
    # The user's flag takes our place: Open MPI 5 and Hydra refuse one that is given twice.
    names = {word.partition("=")[0].lstrip("-") for word in extra}
    return () if flag.lstrip("-") in names else (flag, value)


def _open_mpi_5(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (
        "--allow-run-as-root",
        *("--prtemca", "plm", "ssh"),
        *("--prtemca", "plm_ssh_agent", REMOTE_SHELL),
        # Node 0 calls our script for every node; with a tree the daemons would call it for each other.
        *("--prtemca", "plm_ssh_no_tree_spawn", "1"),
        # Else the daemons go into the background, and our script would end before they do.
        "--leave-session-attached",
        *("--host", _slots(nodes)),
        *("-np", _world_size(nodes)),
        *_unless_given(extra, "--map-by", "slot"),
        *_unless_given(extra, "--bind-to", "none"),
        *("--stdin", "none"),
        *("--wdir", "/"),
        *extra,
    )


def _open_mpi_4(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (
        "--allow-run-as-root",
        *("--mca", "plm", "rsh"),
        *("--mca", "plm_rsh_agent", REMOTE_SHELL),
        *("--mca", "plm_rsh_no_tree_spawn", "1"),
        "--leave-session-attached",
        *("--host", _slots(nodes)),
        *("-np", _world_size(nodes)),
        *_unless_given(extra, "--map-by", "slot"),
        *_unless_given(extra, "--bind-to", "none"),
        *("--stdin", "none"),
        *("--wdir", "/"),
        *extra,
    )


def _hydra(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *("-launcher", "rsh"),
        *("-launcher-exec", REMOTE_SHELL),
        *("-rmk", "user"),
        # Daemons call back the machine's own name otherwise, and that may not resolve.
        *(_unless_given(extra, "-iface", "lo") if _are_one_machine(nodes) else ()),
        # With a single host Intel MPI takes `node-0:2` for its name; without slots all ranks go to it anyway.
        *("-hosts", nodes[0].node_id if len(nodes) == 1 else _slots(nodes)),
        *("-n", _world_size(nodes)),
        # Else every rank gets node 0's environment over its own node's, REGIMENT_SOCKET too.
        "-genvnone",
        *("-wdir", "/"),
    )


def _mpich(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    # What daemons call back; Intel MPI has the flag too, and calls the machine's name nevertheless.
    address = () if _are_one_machine(nodes) else _unless_given(extra, "-localhost", nodes[0].address)
    return (*_hydra(nodes, extra), *address, *_unless_given(extra, "-bind-to", "none"), *extra)


def _srun(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (
        "--mpi=pmix",
        # The agents' own step has all that the job has.
        "--overlap",
        *(() if _is_given(extra, "--cpu-bind") else ("--cpu-bind=none",)),
        "--kill-on-bad-exit=1",
        "--export=ALL",
        "--input=none",
        "--chdir=/",
        *extra,
        # Its other distributions go by the processors that Slurm has counted out for each node.
        f"--nodelist={SLURM_TASKS}",
        f"--nodes={len(nodes)}",
        f"--ntasks={_world_size(nodes)}",
        "--distribution=arbitrary",
        "--overcommit",
    )


def _is_given(extra: tuple[str, ...], *names: str) -> bool:
    return any(word.partition("=")[0] in names for word in extra)


def _intel(nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (*_hydra(nodes, extra), *extra)


@dataclass(frozen=True)
class _Rule:
    """How one kind of mpirun is used."""

    flags: Callable[[tuple[Node, ...], tuple[str, ...]], tuple[str, ...]]
    environ: Mapping[str, str]
    emulated: Mapping[str, str]
    """What it needs besides where all nodes are one machine, which then often has more ranks than processors."""
    variables: RankVariables
    networks: tuple[str, ...] = ()
    """Variables with the network to use: by its number, for the interfaces' names may differ from node to node. Left to
    itself Open MPI takes every network that a node has, a docker's bridge too."""
    trusts_host_names: bool = False
    """Whether two nodes with one host name are one machine to it."""


_LIBRARIES = "LD_LIBRARY_PATH"
"""Where programs that were linked with it find its libraries; mpirun sets it on every node."""
_OPEN_MPI_VARIABLES = RankVariables(
    rank="OMPI_COMM_WORLD_RANK",
    prefixes=("OMPI_", "OPAL_", "PMIX_", "PRTE_", _LIBRARIES),
)
_HYDRA_VARIABLES = RankVariables(
    rank="PMI_RANK",
    prefixes=("PMI_", "MPI_LOCAL", "MPIR_CVAR_", "HYDRA_", "I_MPI_", "FI_", _LIBRARIES),
)
_OPEN_MPI_SEGMENTS = ("OMPI_MCA_btl_sm_backing_directory", "OMPI_MCA_btl_vader_backing_directory")
# UCX and libfabric take a second to look for a network that one machine does not have; TCP does not use
# loopback unless told. Ranks that spin while they wait take the processor from the one they wait for.
_OPEN_MPI_EMULATED = {
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}

_RULES: Mapping[Flavour, _Rule] = {
    Flavour.OPEN_MPI_5: _Rule(
        _open_mpi_5,
        # Segments are named by host name and local rank: emulated nodes would write into each other's.
        {"TMPDIR": TEMPORARY, "OMPI_MCA_btl_sm_backing_directory": SHARED_MEMORY},
        {**_OPEN_MPI_EMULATED, "OMPI_MCA_btl": "self,sm,tcp"},
        _OPEN_MPI_VARIABLES,
        networks=("PRTE_MCA_prte_if_include", "OMPI_MCA_btl_tcp_if_include"),
        trusts_host_names=True,
    ),
    Flavour.OPEN_MPI_4: _Rule(
        _open_mpi_4,
        {"TMPDIR": TEMPORARY, "OMPI_MCA_btl_vader_backing_directory": SHARED_MEMORY},
        {**_OPEN_MPI_EMULATED, "OMPI_MCA_btl": "self,vader,tcp"},  # Its `sm` is a stub that only fails.
        _OPEN_MPI_VARIABLES,
        networks=("OMPI_MCA_oob_tcp_if_include", "OMPI_MCA_btl_tcp_if_include"),
        trusts_host_names=True,
    ),
    Flavour.MPICH: _Rule(_mpich, {"TMPDIR": TEMPORARY}, {}, _HYDRA_VARIABLES),
    Flavour.SRUN: _Rule(
        _srun,
        dict.fromkeys(_OPEN_MPI_SEGMENTS, SHARED_MEMORY),
        {},
        RankVariables(rank="PMIX_RANK", prefixes=("OMPI_", "OPAL_", "PMIX_", _LIBRARIES)),
        networks=("OMPI_MCA_btl_tcp_if_include",),
    ),
    Flavour.INTEL: _Rule(
        _intel,
        {"TMPDIR": TEMPORARY, "I_MPI_PIN": "off"},
        {"FI_PROVIDER": "tcp", "I_MPI_THREAD_YIELD": "3"},
        _HYDRA_VARIABLES,
    ),
}
