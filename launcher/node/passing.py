"""What nodes are told, and answer, about passing the snapshot on to each other."""

from __future__ import annotations

from typing import Literal

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class Credentials:
    """By what the nodes of one run know each other."""

    key: str
    """The run's, in hexadecimal digits."""
    certificate: str
    """Made for this run alone, as PEM."""
    private_key: str


@dataclass(frozen=True)
class Give:
    """Let other nodes have what this one has of the snapshot."""

    credentials: Credentials
    type: Literal["give"] = "give"


@dataclass(frozen=True)
class Giving:
    """They can have it at this port of the node's address."""

    port: int
    """0 where they cannot."""
    problem: str = ""
    """Why not."""
    type: Literal["giving"] = "giving"


@dataclass(frozen=True)
class GetFrom:
    """Get from another node what was found missing here."""

    node: str
    """Its name, for people."""
    host: str
    port: int
    rank: int
    """This node's own."""
    key: str
    type: Literal["getFrom"] = "getFrom"


@dataclass(frozen=True)
class Got:
    """It has come, but for this."""

    missing: tuple[str, ...] = ()
    reason: str = ""
    """Why something is missing."""
    type: Literal["got"] = "got"
