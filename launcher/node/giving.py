"""How a keeper, and through it its agent, is told what node it keeps: a line over a socket, with an open file."""

from __future__ import annotations

import os
import socket


def take_config(giver: socket.socket) -> bytes:
    """Wait for the node's configuration, with which comes our standard error; nothing where there is to be no node."""
    data = b""
    while not data.endswith(b"\n"):
        part, files, _, _ = socket.recv_fds(giver, 1 << 16, 1)
        if not part:
            return b""
        data += part
        for file in files:
            os.dup2(file, 2)
            os.close(file)
    return data


def pass_on(line: bytes, taker: socket.socket) -> None:
    """Hand on such a line, with our own standard error."""
    rest = line[socket.send_fds(taker, [line], [2]) :]
    if rest:  # Who has it all may have hung up by now, and then even nothing cannot be sent.
        taker.sendall(rest)
