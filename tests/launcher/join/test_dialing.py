"""How a node takes what node 0 says before it has proven anything, whatever pieces that comes in."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable

import pytest

from regiment.distribution.places.place import Place
from regiment.jobs.errors import NodeError
from regiment.launcher.join.certificate import make_certificate
from regiment.launcher.join.dialing import dial
from regiment.launcher.node.proof import CoordinatorProof, Unproven
from regiment.launcher.node.tls import TlsStream, fingerprint, shows

KEY = bytes(32)
Say = Callable[[TlsStream, bytes], None]


def at_once(stream: TlsStream, line: bytes) -> None:
    stream.sendall(line)


def in_pieces(stream: TlsStream, line: bytes) -> None:
    """Send each byte as a TLS record of its own."""
    for byte in line:
        stream.sendall(bytes([byte]))


def with_more(stream: TlsStream, line: bytes) -> None:
    """Send the line with another one in the same record, as no coordinator of ours does."""
    stream.sendall(line + b"{}\n")


def serve(listener: socket.socket, say: Say) -> None:
    """Be a node 0, until nobody may dial any more."""
    certificate, private_key = make_certificate()
    seen = fingerprint(ssl.PEM_cert_to_DER_cert(certificate))
    context = shows(certificate, private_key)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                stream, proof = TlsStream(secured), CoordinatorProof(KEY, seen)
                say(stream, proof.hello)
                say(stream, proof.check(secured.recv(4096)).answer)
                stream.sendall(b"what follows\n")
                secured.recv(1)
        except (OSError, Unproven):
            pass  # It has hung up, as it should.


def dialled(say: Say, limit: float) -> bytes:
    """Have a node dial who says its lines so; gives what comes after them."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve, args=(listener, say))
    server.start()
    try:
        port = listener.getsockname()[1]
        connection = dial(Place(2, 1, "127.0.0.1", port, key_file="", source=""), KEY, limit, lambda text: None)
        followed = connection.stream.recv(1 << 16)
        connection.stream.close()
        return followed
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()


@pytest.mark.parametrize("say", [at_once, in_pieces])
def test_the_two_lines_of_the_proof_are_read_and_what_follows_is_left(say: Say) -> None:
    assert dialled(say, 30.0) == b"what follows\n"


def test_who_says_more_than_the_one_line_is_not_believed() -> None:
    with pytest.raises(NodeError, match="it says more than the one line"):
        dialled(with_more, 3.0)  # For so long it tries again; one try may take a while on a busy machine.
