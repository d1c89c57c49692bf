"""How what all nodes need spreads among them: a tree, so that no link carries it more than a few times."""

from __future__ import annotations

FAN_OUT = 2
"""How many nodes each one passes it on to: with two, 64 nodes have it after six steps."""
FEWEST_NODES = 4
"""With fewer nodes nothing is won."""
FEWEST_BYTES = 1_000_000
"""Less than that is there before two nodes have found each other."""


def giver_of(position: int) -> int | None:
    """Give the position of the node that one gets it from; None for the first, which gets it from the source.

    Positions are the order in which nodes are ready for it, so that whoever comes late keeps nobody waiting.
    """
    return None if position == 0 else (position - 1) // FAN_OUT


def is_worth_it(nodes: int, size: int) -> bool:
    """Say whether so many bytes go to that many nodes through each other."""
    return nodes >= FEWEST_NODES and size >= FEWEST_BYTES
