"""What the agents are told to start: each node what is its own, and what is the same for all encoded once."""

from __future__ import annotations

import json

from regiment.distribution.plan import NodePlan, Plan
from regiment.distribution.planner import shared_environ, without

from ..node import messages
from ..node.channel import encode


class Starts:
    """The `Start` messages of a plan, as lines."""

    def __init__(self, plan: Plan, terminal: messages.Terminal | None) -> None:
        self._terminal = terminal
        self._shared = shared_environ(plan)
        self._tail = b',"environ":' + json.dumps(self._shared, separators=(",", ":")).encode() + b"}\n"

    def line(self, node: NodePlan) -> bytes:
        """Give the message to a node."""
        message = messages.pack(messages.Start(without(node, self._shared), self._terminal))
        del message["environ"]
        return encode(message)[: -len(b"}\n")] + self._tail
