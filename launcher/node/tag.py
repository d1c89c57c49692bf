"""What every process of a run on one node carries in its environment, so that all of them can be found."""

from __future__ import annotations

TAG = "REGIMENT_TAG"
"""The variable; its value is the run's token, and the node's index and life."""


def tag_of(token: str, index: int, life: int) -> str:
    """Give the variable's value on one node."""
    return f"{token}.{index}-{life}"


def earlier_tags(tag: str) -> list[str]:
    """Give the values that the same node had when it was there before and was lost."""
    node, _, life = tag.rpartition("-")
    return [f"{node}-{earlier}" for earlier in range(int(life))]
