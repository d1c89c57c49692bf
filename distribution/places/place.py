"""A node's place among the nodes of its run, and what somebody said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from regiment.jobs.dataclass import dataclass

Environ = Mapping[str, str]
Read = Callable[[str], str | None]
"""Gives a file's text by its path; None where there is none that can be read."""


class What(Enum):
    """One of the things that make a place."""

    NODES = "nodes"
    """How many nodes the run has."""
    RANK = "node rank"
    """Which of them this one is, from 0."""
    HOST = "master's address"
    """Node 0's name or address."""
    PORT = "master's port"
    """Where node 0's agent listens."""
    KEY = "key file"
    """The file with the run's key."""


@dataclass(frozen=True)
class Said:
    """One thing that somebody said."""

    what: What
    value: str
    """Numbers in their plain form, so that equal ones are equal texts."""
    by: str
    """Where it stands: a variable, a flag, a file."""


@dataclass(frozen=True)
class Found:
    """What one system says of this node's place: all of it, a part, or why it can't be read."""

    system: str
    """What people call it."""
    said: tuple[Said, ...] = ()
    job: str | None = None
    """What the system calls the job, the same on all of its nodes and on no other job's."""
    advice: str | None = None
    """What to do where something is missing, as a sentence without its full stop."""
    fault: str | None = None
    """Why nothing of it can be used, and what to do."""
    is_person: bool = False
    """Whether it is no system, but somebody who said it for this agent; that wins over all else."""

    def of(self, what: What) -> Said | None:
        """Give what it says of this."""
        return next((said for said in self.said if said.what is what), None)


@dataclass(frozen=True)
class Taken:
    """One thing that makes the place, and why it was taken."""

    what: What
    value: str
    by: str
    why: str
    is_person: bool = False
    """Whether a person said it."""


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
    taken: tuple[Taken, ...] = ()
    notes: tuple[str, ...] = ()
    """What was found and not used."""

    @property
    def master(self) -> str:
        """Node 0's agent, as a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
