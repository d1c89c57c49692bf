"""A node's place in the run, as whoever started its container tells it."""

from __future__ import annotations

from collections.abc import Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where this node stands, and how it reaches node 0."""

    nodes: int
    rank: int
    host: str
    """Node 0's name or address."""
    port: int
    key_file: str
    source: str
    """What told it, for the person."""

    @property
    def master(self) -> str:
        """Node 0's agent, as a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def find_place(environ: Mapping[str, str]) -> Place:
    """Read the four REGIMENT_* variables.

    Raises:
        UserError: they are not all there, or make no sense.
    """
    nodes = _number(environ, "REGIMENT_NODES", 1)
    rank = _number(environ, "REGIMENT_NODE_RANK", 0)
    if rank >= nodes:
        raise UserError(f"REGIMENT_NODE_RANK is {rank}, but ranks of {nodes} nodes end at {nodes - 1}")
    host, colon, port = _text(environ, "REGIMENT_MASTER").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError("REGIMENT_MASTER must be ADDRESS:PORT, where node 0's agent listens, such as 10.0.0.1:29400")
    key_file = _text(environ, "REGIMENT_KEY_FILE")
    return Place(nodes, rank, host.strip("[]"), int(port), key_file, "REGIMENT_* variables")


def _text(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise UserError(f"{name} is not set; 'regiment agent' needs it to find its place among the nodes")
    return value


def _number(environ: Mapping[str, str], name: str, least: int) -> int:
    text = _text(environ, name)
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name} must be a whole number, {least} or more; it is {text[:60]!r}")
    return int(text)
