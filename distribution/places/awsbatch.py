"""AWS Batch's multi-node parallel jobs; the main node may be any of them, and is the only one without its address."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import machine, values
from .place import Environ, Found, Read, Said

_INDEX = "AWS_BATCH_JOB_NODE_INDEX"
_MAIN = "AWS_BATCH_JOB_MAIN_NODE_INDEX"
_NODES = "AWS_BATCH_JOB_NUM_NODES"
_ADDRESS = "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"


def aws_batch(environ: Environ, read: Read) -> Found | None:
    """Read the node's place; the main node is node 0, the others follow in their order."""
    if _INDEX not in environ:
        return None
    nodes, index, main = (values.whole(environ, name) for name in (_NODES, _INDEX, _MAIN))
    if not (index < nodes and main < nodes):
        raise UserError(f"{_INDEX} is {index} and {_MAIN} {main}, but {_NODES} is {nodes}")
    rank = 0 if index == main else index + (index < main)
    said = [values.count(str(nodes), _NODES), values.rank(str(rank), f"{_INDEX} and {_MAIN}")]
    said += _address(environ, read, is_main=index == main)
    # A node's own job has the node's number behind the job's id.
    job = environ.get("AWS_BATCH_JOB_ID", "").partition("#")[0] or None
    return Found("AWS Batch", tuple(said), job, "set REGIMENT_MASTER to the main node's address")


def _address(environ: Environ, read: Read, *, is_main: bool) -> list[Said]:
    if _ADDRESS in environ:
        return [values.host(environ[_ADDRESS], _ADDRESS)]
    own = machine.own_addresses(read) if is_main else ()
    return [values.host(own[0], "the main node's own address")] if own else []
