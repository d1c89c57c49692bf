"""How a process of a job reaches the record: by its node's agent, one question a connection.

Nothing is kept open, so forked processes and many threads may ask at once.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from regiment.jobs.errors import ExitStatus, NodeError, RegimentError, UserError
from regiment.jobs.plain import to_plain

from ..node import messages
from ..node.asking import ASK
from ..node.channel import MAX_MESSAGE, encode

_ERRORS: dict[int, type[RegimentError]] = {
    int(ExitStatus.USER_ERROR): UserError,
    int(ExitStatus.NODE_ERROR): NodeError,
}
"""What a refusal is raised as, by its exit status."""


def ask_agent(path: str, request: object) -> Any:
    """Ask one question, one of `launcher/operations.py`, and wait for its answer.

    Raises:
        RegimentError: The coordinator refused it, in its own words, or cannot be reached.
    """
    question = encode({"type": ASK, "protocol": messages.PROTOCOL, "request": to_plain(request)})
    if len(question) > MAX_MESSAGE:
        raise UserError(f"that is more than the {MAX_MESSAGE >> 20} MB that can be asked at once; ask for it in parts")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            connection.sendall(question)
            line = _read_line(connection)
        except OSError as error:
            raise NodeError(f"the node's agent cannot be reached ({error.strerror}); the run is ending") from None
    if not line:
        raise NodeError("the node's agent hung up; the run is ending")
    answer: messages.JobAnswer = messages.unpack(messages.JobAnswer, json.loads(line))
    if answer.refusal is not None:
        raise _ERRORS.get(answer.exit_status, RegimentError)(answer.refusal)
    return answer.answer


def _read_line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            return b""
        data += part
    return bytes(data)
