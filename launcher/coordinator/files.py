"""How many files a coordinator has open, which grows with its nodes."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from ..node.limits import most_files

_OF_A_NODE = 2
"""The connection to its agent, and the pipe of its keeper."""
_OTHERS = 64
"""The record, logs, viewers, and what is open for a moment."""


def check_files(node_count: int, most: int | None = None) -> None:
    """See that a coordinator of so many nodes may open as many files as it will; raises UserError."""
    needed = _OF_A_NODE * node_count + _OTHERS
    allowed = most_files() if most is None else most
    if allowed < needed:
        raise UserError(
            f"a run with {node_count:,} nodes needs {needed:,} open files in its coordinator, and {allowed:,} are the "
            f"limit here; raise the hard limit ('ulimit -Hn {needed}' as root, or nofile in limits.conf), "
            "or take fewer nodes"
        )
