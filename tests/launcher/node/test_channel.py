"""A channel delivers every line whole and in order, over a socket and over TLS, whatever the socket takes at once."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from regiment.launcher.join.certificate import make_certificate
from regiment.launcher.node.channel import MAX_MESSAGE, LineChannel, Stream
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.tls import TlsStream, shows

Pair = tuple[Stream, Stream]
LINES = [bytes([97 + number % 26]) * (number * 3001 % 70_000) for number in range(60)]
"""Of many lengths, some longer than a TLS record, and all together longer than what a socket takes at once."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def plain_pair() -> Pair:
    return socket.socketpair()


def secured_pair() -> Pair:
    """Give both ends of a TLS connection."""
    near, far = socket.socketpair()
    with_certificate = shows(*make_certificate()).wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    shaking = threading.Thread(target=with_certificate.do_handshake)
    shaking.start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    dialling = context.wrap_socket(far)
    shaking.join()
    return TlsStream(with_certificate), TlsStream(dialling)


both_carriers = pytest.mark.parametrize("make_pair", [plain_pair, secured_pair], ids=["plain", "secured"])


@both_carriers
def test_what_a_peer_reads_late_comes_whole_and_in_order(loop: Loop, make_pair: Callable[[], Pair]) -> None:
    near, far = make_pair()
    sender = LineChannel(loop, near, lambda line: None, lambda: None)
    for line in LINES:
        sender.send_line(line + b"\n")
    assert sender.waiting > 0  # The peer has read nothing yet.
    heard: list[bytes] = []

    def hear(line: bytes) -> None:
        heard.append(line)
        if len(heard) == len(LINES):
            loop.stop()

    receiver = LineChannel(loop, far, hear, loop.stop)
    loop.run()
    assert heard == LINES
    assert sender.waiting == 0
    sender.close()
    receiver.close()


def test_a_line_that_comes_in_pieces_is_delivered_once_it_is_whole(loop: Loop) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []

    def hear(line: bytes) -> None:
        heard.append(line)
        near.sendall({b"one": b"wo\nthr", b"two": b"ee\n"}.get(line, b""))
        if line == b"three":
            loop.stop()

    channel = LineChannel(loop, far, hear, loop.stop)
    near.sendall(b"one\nt")
    loop.run()
    assert heard == [b"one", b"two", b"three"]
    channel.close()
    near.close()


def test_nothing_is_delivered_after_a_channel_was_closed_from_within(loop: Loop) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []

    def hear(line: bytes) -> None:
        heard.append(line)
        channel.close()
        loop.stop()

    channel = LineChannel(loop, far, hear, lambda: heard.append(b"closed"))
    near.sendall(b"one\ntwo\n")
    loop.run()
    assert heard == [b"one"]
    near.close()


@both_carriers
def test_a_closed_channel_keeps_nothing_of_what_its_peer_did_not_read(
    loop: Loop, make_pair: Callable[[], Pair]
) -> None:
    near, far = make_pair()
    channel = LineChannel(loop, near, lambda line: None, lambda: None)
    channel.send_line(b"x" * MAX_MESSAGE + b"\n")
    assert channel.waiting > 0
    channel.close()
    assert channel.waiting == 0
    channel.send_line(b"more\n")
    assert channel.waiting == 0
    far.close()


def test_a_line_without_end_closes_the_channel(loop: Loop) -> None:
    near, far = socket.socketpair()
    ends: list[str] = []

    def end() -> None:
        ends.append("closed")
        loop.stop()

    channel = LineChannel(loop, far, lambda line: None, end)
    other = LineChannel(loop, near, lambda line: None, lambda: None)
    other.send_line(b"x" * (MAX_MESSAGE + 1))
    loop.run()
    assert ends == ["closed"] and channel.closed
    other.close()
