"""What coordinator and `regiment agent` say to each other about a node that joins over the network.

Once a node has proven the run's key, its connection carries two kinds of lines: these, each in an envelope of its
own, and those between coordinator and agent, which `regiment agent` passes on between them as they are.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import ProtocolError
from regiment.jobs.plain import PlainError, from_plain, to_plain

from .channel import decode, encode
from .config import NodeConfig

PROTOCOL = 1
"""Version of these messages."""
_ENVELOPE = b'{"relay":'

# --- from a node ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Join:
    """A node is there and can be used; its rank has been proven already."""

    protocol: int
    version: str
    """Of Regiment, which has to be one on all nodes."""
    host: str
    address: str
    """The node's own address on the interface that faces the coordinator."""
    python: str
    """The Python for the job's processes on this node."""
    cpus: tuple[int, ...]
    gpus: tuple[str, ...] | None
    type: Literal["join"] = "join"


@dataclass(frozen=True)
class AgentReady:
    """The node's agent listens."""

    pid: int
    keeper_pid: int
    socket: str
    type: Literal["agentReady"] = "agentReady"


@dataclass(frozen=True)
class AgentHungUp:
    """The node's agent is there no more."""

    type: Literal["agentHungUp"] = "agentHungUp"


@dataclass(frozen=True)
class NodeClean:
    """Keeper and agent have ended, and all that they ever started."""

    type: Literal["nodeClean"] = "nodeClean"


@dataclass(frozen=True)
class Alive:
    """The node is there; said where it has nothing else to say."""

    type: Literal["alive"] = "alive"


FromNode = Join | AgentReady | AgentHungUp | NodeClean | Alive

# --- to a node --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """The node cannot join; trying again will not help."""

    reason: str
    type: Literal["refused"] = "refused"


@dataclass(frozen=True)
class Keep:
    """Start keeper and agent; what of it only the node knows, the node fills in."""

    config: NodeConfig
    type: Literal["keep"] = "keep"


@dataclass(frozen=True)
class Beat:
    """The coordinator is there, and may have something to tell whoever watches the node."""

    text: str | None = None
    filling: str = ""
    """Of no meaning, but of a length."""
    heard: int = 0
    """How many lines of the node's have come, of either kind."""
    type: Literal["beat"] = "beat"


@dataclass(frozen=True)
class Fence:
    """Kill what the node runs: the run goes on or ends without it."""

    type: Literal["fence"] = "fence"


@dataclass(frozen=True)
class RunEnded:
    """The run is over."""

    exit_status: int
    text: str
    """How it ended, for whoever watches the node."""
    type: Literal["runEnded"] = "runEnded"


ToNode = Refused | Keep | Beat | Fence | RunEnded


def enveloped(message: FromNode | ToNode) -> bytes:
    """Give such a message's line."""
    return encode({"relay": to_plain(message)})


def opened(line: bytes) -> dict[str, Any] | None:
    """Give what is in the envelope; None for a line that is between coordinator and agent."""
    if not line.startswith(_ENVELOPE):
        return None
    data = decode(line)
    if data is None or not isinstance(data["relay"], dict):
        raise ProtocolError(f"a peer sent a line that is no message: {json.dumps(repr(line[:80]))}")
    message: dict[str, Any] = data["relay"]
    return message


def understood(kind: Any, data: dict[str, Any]) -> Any:
    """Turn what was in an envelope into a message of that kind (a union of message types)."""
    try:
        return from_plain(kind, data)
    except PlainError as error:
        raise ProtocolError(f"a peer sent a message this version does not know: {error}") from None
