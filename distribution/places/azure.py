"""Azure Batch's multi-instance tasks, and Azure ML's jobs, which run on Batch or set the same names."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import machine, values
from .place import Environ, Found, Read

_HOSTS = "AZ_BATCH_HOST_LIST"
_NODES = "AZ_BATCH_NODE_LIST"
_MASTER = "AZ_BATCH_MASTER_NODE"
_IS_MASTER = "AZ_BATCH_IS_CURRENT_NODE_MASTER"
_COUNTS = ("AZUREML_NODE_COUNT",)
_RANKS = ("NODE_RANK", "AZUREML_CR_NODE_RANK")
_MASTERS = ("AZ_BATCHAI_JOB_MASTER_NODE_IP", "AZ_BATCHAI_MPI_MASTER_NODE", "MASTER_ADDR")
_ONCE = "start the agent once on each node: leave the job's process count out"


def azure_batch(environ: Environ, read: Read) -> Found | None:
    """Read a multi-instance task's place: the primary is node 0, the others follow as they are listed."""
    if "AZUREML_RUN_ID" in environ or not environ.keys() & {_HOSTS, _NODES}:
        return None
    by = _HOSTS if environ.get(_HOSTS) else _NODES
    hosts = _listed(environ.get(by, ""))
    master = values.endpoint(environ[_MASTER], _MASTER) if environ.get(_MASTER) else (values.host(hosts[0], by),)
    primary = master[0].value
    ordered = [primary, *(host for host in hosts if host != primary)]
    said = [values.count(str(len(ordered)), by), *master]
    if environ.get(_IS_MASTER, "").lower() == "true":
        said.append(values.rank("0", _IS_MASTER))
    else:
        own = {*machine.own_addresses(read), environ.get("AZ_BATCH_NODE_ID", "")}
        said += [values.rank(str(n), f"its address in {by}") for n, host in enumerate(ordered) if n and host in own]
    if len(said) > len(master) + 2:
        raise UserError(f"this node has several of the addresses in {by}; set REGIMENT_NODE_RANK")
    advice = f"no address of this node stands in {by}: give its container the host's network, or set REGIMENT_NODE_RANK"
    return Found("Azure Batch", tuple(said), _job(environ), advice)


def azure_ml(environ: Environ, read: Read) -> Found | None:
    """Read the place of a node of a job whose command runs once on each node."""
    if "AZUREML_RUN_ID" not in environ:
        return None
    if environ.get("LOCAL_RANK", "0") != "0" or environ.get("OMPI_COMM_WORLD_LOCAL_RANK", "0") != "0":
        raise UserError(f"this is not the first process of its node in the Azure ML job; {_ONCE}")
    count = _first(environ, _COUNTS)
    if count is None:
        return None
    said = [values.count(environ[count], count)]
    rank = _first(environ, _RANKS)
    if rank is None and environ.get("OMPI_COMM_WORLD_SIZE") == environ[count]:
        rank = _first(environ, ("OMPI_COMM_WORLD_RANK",))
    if rank is not None:
        said.append(values.rank(environ[rank], rank))
    if environ.get(_MASTER):
        said += values.endpoint(environ[_MASTER], _MASTER)
    elif (master := _first(environ, _MASTERS)) is not None:
        said.append(values.host(environ[master], master))
    return Found("Azure ML", tuple(said), environ["AZUREML_RUN_ID"], _ONCE)


def _listed(text: str) -> list[str]:
    hosts = [host.strip() for host in text.replace(";", ",").split(",") if host.strip()]
    if not hosts:
        raise UserError(f"{_HOSTS} and {_NODES} name no node")
    return hosts


def _first(environ: Environ, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environ.get(name)), None)


def _job(environ: Environ) -> str | None:
    names = [environ.get(name, "") for name in ("AZ_BATCH_JOB_ID", "AZ_BATCH_TASK_ID")]
    return "/".join(names) if any(names) else None
