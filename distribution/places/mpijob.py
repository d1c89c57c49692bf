"""Kubeflow's MPIJob: the hostfile that is meant for mpirun has every worker, in order."""

from __future__ import annotations

import re

from regiment.jobs.errors import UserError

from . import machine, values
from .place import Environ, Found, Read, Said

_HOSTFILES = ("OMPI_MCA_orte_default_hostfile", "I_MPI_HYDRA_HOST_FILE", "HYDRA_HOST_FILE")
_DEFAULT = "/etc/mpi/hostfile"
_ROLE = "K_MPI_JOB_ROLE"
_WORKER = re.compile(r"(.+-worker-)([0-9]{1,9})", re.ASCII)
_NO_HOSTFILE = (
    "only the launcher of an MPIJob has its hostfile; mount the ConfigMap JOB-config at /etc/mpi on the workers too, "
    "or set REGIMENT_NODES"
)


def mpijob(environ: Environ, read: Read) -> Found | None:
    """Read the own name's place in the hostfile, or where a worker has none, in its own name."""
    path = next((environ[name] for name in _HOSTFILES if environ.get(name)), _DEFAULT)
    text = read(path) if _ROLE in environ or path == _DEFAULT else None
    if text is None and _ROLE not in environ:
        return None
    name = machine.own_name(environ, read) or ""
    if text is None:
        return Found("Kubeflow MPIJob", _by_name(name, read), None, _NO_HOSTFILE)
    hosts = [re.split(r"[\s:]", line.strip(), maxsplit=1)[0] for line in text.splitlines()]
    hosts = [host for host in hosts if host and not host.startswith("#")]
    ranks = [index for index, host in enumerate(hosts) if host == name or host.startswith(f"{name}.")]
    if not hosts or not name or len(ranks) != 1:
        raise UserError(
            f"{path} has this Pod, {values.shown(name)}, {len(ranks)} times among {len(hosts)} hosts; start the agent "
            "in the MPIJob's workers, and its launcher with nothing to do"
        )
    said = (values.count(str(len(hosts)), path), values.rank(str(ranks[0]), path), values.host(hosts[0], path))
    return Found("Kubeflow MPIJob", said, hosts[0])


def _by_name(name: str, read: Read) -> tuple[Said, ...]:
    found = _WORKER.fullmatch(name)
    if found is None:
        return ()
    rank = values.rank(str(int(found[2])), "HOSTNAME")
    full = machine.full_name(name, read)
    if full is None:
        return (rank,)
    return (rank, values.host(f"{found[1]}0{full.removeprefix(name)}", "HOSTNAME and /etc/hosts"))
