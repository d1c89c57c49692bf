"""The torchrun of one node: its command line, from the same placement as everything else."""

from __future__ import annotations

from regiment.jobs.placement import Node, Placement

_TORCHRUN = "import sys; sys.argv[0] = sys.path.pop(0) or 'torchrun'; from torch.distributed.run import main; main()"
"""As `python -m torch.distributed.run`, but for the current folder in `sys.path`: a `queue.py` of the user's must
not be taken for Python's own. (`-P` would do the same from Python 3.11 on.)"""
WRAPPER = "{wrapper}"
"""Stands in a planned argv where the node's agent puts the command that starts its rank wrapper."""


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
        *extra,
        "--no-python",
        WRAPPER,
    )


def own_restarts(extra: tuple[str, ...]) -> int:
    """Read `--max-restarts` from torchrun's pass-through flags: how often torchrun may restart its ranks."""
    for index, flag in enumerate(extra):
        name, equals, value = flag.replace("_", "-").partition("=")
        if name == "--max-restarts":
            value = value if equals else "".join(extra[index + 1 : index + 2])
            return int(value) if value.isdigit() else 0
    return 0
