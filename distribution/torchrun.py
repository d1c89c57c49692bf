"""The torchrun of one node: its command line, from the same placement as everything else."""

from __future__ import annotations

from collections.abc import Mapping

from regiment.jobs.placement import Node, Placement

from .plan import TEMPORARY, WRAPPER

_TORCHRUN = "import sys; sys.argv[0] = sys.path.pop(0) or 'torchrun'; from torch.distributed.run import main; main()"
"""As `python -m torch.distributed.run`, but for the current folder in `sys.path`: a `queue.py` of the user's must
not be taken for Python's own. (`-P` would do the same from Python 3.11 on.)"""
_ELASTIC_RESTARTS = 3
"""How often an elastic torchrun restarts its ranks unless told otherwise: with torchrun's own default of 0 the first
lost node would end the job on all others too."""
_RENDEZVOUS_TIMES = "last_call_timeout=2,keep_alive_interval=1,keep_alive_max_attempt=5,close_timeout=5"
"""Seconds: how long nodes wait for more once enough are there (torchrun's own 30 is a long pause after each loss),
and how often each says that it is alive."""


def torchrun_argv(node: Node, placement: Placement, extra: tuple[str, ...]) -> tuple[str, ...]:
    """Give the argv of a node's torchrun: static rendezvous, our wrapper as the program of each rank."""
    return (
        node.python,
        "-c",
        _TORCHRUN,
        f"--nnodes={len(placement.nodes)}",
        f"--node-rank={node.index}",
        f"--nproc-per-node={node.slots}",
        f"--master-addr={placement.master_address}",
        f"--master-port={placement.master_port}",
        # It makes a folder for logs in any case, by default one in /tmp that stays there.
        f"--log-dir={TEMPORARY}",
        *extra,
        "--no-python",
        WRAPPER,
    )


def elastic_argv(node: Node, placement: Placement, min_nodes: int, extra: tuple[str, ...]) -> tuple[str, ...]:
    """Give the argv of a node's torchrun where nodes may go and come: they meet in a store on node 0."""
    is_host = "1" if node.index == 0 else "0"
    restarts = () if _restarts_given(extra) is not None else (f"--max-restarts={_ELASTIC_RESTARTS}",)
    return (
        node.python,
        "-c",
        _TORCHRUN,
        f"--nnodes={min_nodes}:{len(placement.nodes)}",
        f"--nproc-per-node={node.slots}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={placement.master_address}:{placement.master_port}",
        "--rdzv-id=regiment",
        # By itself it takes every node for the store's host whose name or address is the endpoint's, emulated ones too.
        f"--rdzv-conf=is_host={is_host},{_RENDEZVOUS_TIMES}",
        f"--local-addr={node.address}",
        f"--log-dir={TEMPORARY}",
        *restarts,
        *extra,
        "--no-python",
        WRAPPER,
    )


def elastic_environ() -> Mapping[str, str]:
    """Give the variables an elastic torchrun needs.

    A restarted attempt must not read the first one's keys from a store that both share, or it fails
    ("Gloo connectFullMesh failed", pytorch#135712): each attempt gets a store of its own.
    """
    return {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def elastic_restarts(extra: tuple[str, ...]) -> int:
    """Say how often an elastic torchrun may restart its ranks."""
    given = _restarts_given(extra)
    return _ELASTIC_RESTARTS if given is None else given


def own_restarts(extra: tuple[str, ...]) -> int:
    """Say how often a torchrun with a fixed number of nodes may restart its ranks."""
    return _restarts_given(extra) or 0


def _restarts_given(extra: tuple[str, ...]) -> int | None:
    """Read `--max-restarts` from torchrun's pass-through flags."""
    for index, flag in enumerate(extra):
        name, equals, value = flag.replace("_", "-").partition("=")
        if name == "--max-restarts":
            value = value if equals else "".join(extra[index + 1 : index + 2])
            return int(value) if value.isdigit() else 0
    return None
