"""One node's part in spreading the snapshot: it gives to others what it has, and gets from one other what it lacks.

Both hold the run's key and have proven it to each other over TLS, as with node 0. A line asks for a file by its path;
the answer is the file in parts, or a line that says that it is not there. What comes is checked by its hash.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import NodeError
from regiment.jobs.plain import PlainError, from_plain, to_plain

from ..node.carrying import pieces_of
from ..node.channel import MAX_MESSAGE, encode
from ..node.parts import Form, Part
from ..node.passing import Credentials, GetFrom, Got
from ..node.proof import MAX_LINE, CoordinatorProof, Unproven
from ..node.receiving import Receiver
from ..node.tls import TlsStream, fingerprint, shows, tune
from .dialing import dial

_PATIENCE = 20.0
"""Seconds that the other side may say nothing."""
_DIAL_LIMIT, _NO_WAY_LIMIT = 10.0, 1.0
"""Seconds that a node may take to answer, and fewer where no way leads to it: the coordinator has it all as well."""
_MOST = 8
"""Nodes that are served at once; a tree has fewer."""
_RECORD = 16384
"""Bytes of the largest TLS record."""


class Stall:
    """Gives other nodes what this one has; threads do it, that agents' loops need not wait for."""

    def __init__(self, root: Path, address: str, credentials: Credentials) -> None:
        """Serve the files below `root` that are of the snapshot. May raise OSError: it cannot listen there."""
        self._root = root
        self._key = bytes.fromhex(credentials.key)
        self._context = shows(credentials.certificate, credentials.private_key)
        self._fingerprint = fingerprint(ssl.PEM_cert_to_DER_cert(credentials.certificate))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family, backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._room = threading.Semaphore(_MOST)
        threading.Thread(target=self._serve, name="stall", daemon=True).start()

    def close(self) -> None:
        """Take nobody any more."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It was closed before.
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._room.acquire()
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, plain: socket.socket) -> None:
        try:
            with plain:
                plain.settimeout(_PATIENCE)
                tune(plain)
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    lines = connection.makefile("rb")
                    proof = CoordinatorProof(self._key, self._fingerprint)
                    connection.sendall(proof.hello)
                    connection.sendall(proof.check(lines.readline(MAX_LINE + 1)).answer)
                    while line := lines.readline(MAX_LINE * 4):
                        for answer in self._answers(line):
                            connection.sendall(answer)
        except (OSError, Unproven, ValueError):
            pass  # Whoever it was gets it from the coordinator, or has no business here.
        finally:
            self._room.release()

    def _answers(self, line: bytes) -> Iterator[bytes]:
        path = json.loads(line)
        if not isinstance(path, str) or not path.startswith("code/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not of the snapshot")
        try:
            for part in pieces_of(path, str(self._root / path)):
                yield encode(to_plain(part))
        except FileNotFoundError:
            yield b"{}\n"


def get_from(way: GetFrom, wanted: Mapping[str, str], receiver: Receiver, is_wanted: Callable[[], bool]) -> Got:
    """Get files from another node, as many as can be had; `wanted` are their hashes by their paths."""
    try:
        connection = dial(_Way(way), bytes.fromhex(way.key), _DIAL_LIMIT, _quiet, _NO_WAY_LIMIT)
    except NodeError as error:
        return Got(tuple(wanted), str(error))
    left, reason = dict(wanted), ""
    connection.stream.settimeout(_PATIENCE)
    lines = _Lines(connection.stream)
    try:
        for path, digest in wanted.items():
            if not is_wanted():
                reason = "it is not wanted any more"
                break
            connection.stream.sendall(json.dumps(path).encode() + b"\n")
            _get(path, digest, lines, receiver)
            del left[path]
    except (OSError, ValueError, PlainError) as error:
        reason = str(error)
    finally:
        connection.stream.close()
    return Got(tuple(left), reason)


def _get(path: str, digest: str, lines: _Lines, receiver: Receiver) -> None:
    """Take one file; raises OSError and ValueError where it does not come as it should."""
    is_whole = False
    while not is_whole:
        words = json.loads(lines.next())
        if not words:
            raise ValueError(f"it does not have {path}")
        part = from_plain(Part, words)
        is_whole = part.digest is not None
        if part.path != path or part.form is not Form.WHOLE or (is_whole and part.digest != digest):
            raise ValueError(f"what it gives as {path} is something else")
        receiver.take(replace(part, number=receiver.taken + 1))
        problems = receiver.problems()
        if problems:
            raise ValueError(problems[0])


class _Lines:
    """Reads lines from a TLS connection."""

    def __init__(self, stream: TlsStream) -> None:
        self._stream = stream
        self._data = bytearray()
        self._looked_at = 0

    def next(self) -> bytes:
        """Give the next line; raises OSError."""
        while (end := self._data.find(b"\n", self._looked_at)) < 0:
            self._looked_at = len(self._data)
            if self._looked_at > MAX_MESSAGE:
                raise ValueError("it says too much")
            data = self._stream.recv(_RECORD)
            if not data:
                raise ConnectionError("it hung up")
            self._data += data
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._looked_at = 0
        return line


class _Way:
    """The other node, as one that is dialled."""

    def __init__(self, way: GetFrom) -> None:
        self.rank, self.host, self.port = way.rank, way.host, way.port
        self.master = f"{way.host}:{way.port}"


def _quiet(text: str) -> None:
    """Tell nobody: what comes of it is told at the end."""
