"""What the agents are told to start: each node what is its own, and what is the same for all encoded once."""

from __future__ import annotations

import json

from regiment.distribution.plan import NodePlan, Plan
from regiment.distribution.planner import shared_environ, without

from ..node import messages
from ..node.channel import encode

_LONG = 8192
"""Bytes of JSON from which on what is the same for all is compressed: one machine sends it to all nodes at once."""


class Starts:
    """The `Start` messages of a plan, as lines."""

    def __init__(self, plan: Plan, terminal: messages.Terminal | None) -> None:
        self._terminal = terminal
        self._shared = shared_environ(plan)
        self._tail = _tail(json.dumps(self._shared, separators=(",", ":")).encode())

    def line(self, node: NodePlan) -> bytes:
        """Give the message to a node."""
        message = messages.pack(messages.Start(without(node, self._shared), self._terminal))
        del message["environ"], message["packedEnviron"]
        return encode(message)[: -len(b"}\n")] + self._tail


def _tail(environ: bytes) -> bytes:
    """Give the end of all these messages."""
    if len(environ) < _LONG:
        return b',"environ":' + environ + b"}\n"
    import zlib  # Most runs are small.
    from binascii import b2a_base64

    return b',"packedEnviron":"' + b2a_base64(zlib.compress(environ), newline=False) + b'"}\n'
