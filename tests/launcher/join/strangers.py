"""Those who find a run's port and do not hold its key."""

from __future__ import annotations

import random
import secrets
import socket
import ssl
import struct
from collections.abc import Callable

from regiment.launcher.node.proof import MAX_LINE, AgentProof
from regiment.launcher.node.tls import fingerprint

_ALERT = 0x15
"""The first byte of a TLS record that only says what is wrong."""
Stranger = Callable[[int], None]


def plain(port: int) -> socket.socket:
    """Connect, and say nothing yet."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def client_context() -> ssl.SSLContext:
    """Give the settings of a client that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def secure(port: int) -> ssl.SSLSocket:
    """Connect and shake hands."""
    connection = plain(port)
    try:
        return client_context().wrap_socket(connection)
    except BaseException:
        connection.close()
        raise


def hello_of(connection: ssl.SSLSocket) -> bytes:
    """Read the coordinator's first line."""
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(MAX_LINE)
        assert part
        line += part
    return line


def proof_of(connection: ssl.SSLSocket, key: bytes, rank: int) -> AgentProof:
    """Give the proof of who holds that key."""
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return AgentProof(key, fingerprint(certificate), rank)


def say(connection: socket.socket, words: bytes) -> None:
    """Send that, unless the other side has had enough before."""
    try:
        connection.sendall(words)
    except OSError:
        pass


def answer_on(connection: socket.socket) -> bytes:
    """Give what comes next; nothing where the other side has hung up."""
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def is_dropped(connection: socket.socket) -> bool:
    """Say whether the other side hangs up; who speaks no TLS may be told so before."""
    while answer := answer_on(connection):
        assert isinstance(connection, ssl.SSLSocket) is False and answer[0] == _ALERT
    return True


def hangs_up(port: int) -> None:
    plain(port).close()


def resets(port: int, words: bytes = b"") -> None:
    """Send what may still lie unread when the connection is reset: the other side finds both at once, or neither."""
    with plain(port) as connection:
        say(connection, words)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def speaks_and_resets(port: int) -> None:
    resets(port, b"\x16\x03\x01")


def talks_rubbish(port: int) -> None:
    with plain(port) as connection:
        say(connection, random.Random(port).randbytes(600))
        assert is_dropped(connection)


def speaks_http(port: int) -> None:
    with plain(port) as connection:
        say(connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_dropped(connection)


def talks_rubbish_within(port: int) -> None:
    with secure(port) as connection:
        hello_of(connection)
        say(connection, secrets.token_bytes(100) + b"\n")
        assert is_dropped(connection)


def answers_before_it_was_asked(port: int) -> None:
    """The end of its handshake and its line come at once."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    with plain(port) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(1 << 16))
        tls.write(b"{}\n")
        say(connection, outgoing.read())
        while answer_on(connection):
            pass  # The coordinator's own first line, before it has read ours.


def never_ends_its_line(port: int) -> None:
    with secure(port) as connection:
        hello_of(connection)
        say(connection, b"[" * 10 * MAX_LINE)
        assert is_dropped(connection)


def has_another_key(port: int) -> None:
    with secure(port) as connection:
        proof = proof_of(connection, secrets.token_bytes(32), 1)
        say(connection, proof.answer(hello_of(connection)))
        assert is_dropped(connection)


def sends_back_what_it_got(port: int) -> None:
    with secure(port) as connection:
        say(connection, hello_of(connection))
        assert is_dropped(connection)


STRANGERS: tuple[tuple[Stranger, int], ...] = (
    (hangs_up, 100),
    (resets, 200),
    (speaks_and_resets, 200),
    (talks_rubbish, 200),
    (speaks_http, 100),
    (answers_before_it_was_asked, 20),
    (talks_rubbish_within, 30),
    (never_ends_its_line, 50),
    (has_another_key, 50),
    (sends_back_what_it_got, 50),
)
"""All of them, and how many of each there are in a thousand."""
