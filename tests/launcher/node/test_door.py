"""Whether nodes reach each other, tried on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from regiment.launcher.node.door import Listener, Trial
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.messages import Door, Reached, Target, TryAddresses


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def found(loop: Loop, *targets: Target, everywhere: bool = False) -> dict[int, tuple[str, ...]]:
    """Try to reach nodes; gives where each has answered."""
    heard: list[Reached] = []

    def done(reached: Reached) -> None:
        heard.append(reached)
        loop.stop()

    trial = Trial(loop, TryAddresses(targets, everywhere), done)
    loop.run()
    assert trial is not None
    return {one.node: one.addresses for one in heard[0].nodes}


def test_a_node_is_reached_where_it_listens_and_nowhere_else(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = Door(gone.getsockname()[1], "00")
    listener = Listener(loop)
    here, nobody = Target(1, listener.door, ("127.0.0.1",)), Target(2, closed, ("127.0.0.1", "::1"))
    try:
        assert found(loop, here, nobody) == {1: ("127.0.0.1",), 2: ()}
    finally:
        listener.close()


def test_only_whoever_proves_to_be_the_node_counts_as_it(loop: Loop) -> None:
    listener = Listener(loop)
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def echo() -> None:
            connection, _ = stranger.accept()
            connection.sendall(connection.recv(16) * 2)
            connection.close()

        thread = threading.Thread(target=echo)
        thread.start()
        other = Door(stranger.getsockname()[1], listener.door.key)
        wrong = Door(listener.door.port, "11" * 16)
        try:
            targets = (Target(1, other, ("127.0.0.1",)), Target(2, wrong, ("127.0.0.1",)))
            assert found(loop, *targets) == {1: (), 2: ()}
        finally:
            thread.join()
            listener.close()


def test_all_addresses_are_told_where_that_is_asked_for(loop: Loop) -> None:
    listener = Listener(loop)
    try:
        addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        (reached,) = found(loop, Target(1, listener.door, addresses), everywhere=True).values()
        assert set(reached) == set(addresses)
        (reached,) = found(loop, Target(1, listener.door, addresses)).values()
        assert "127.0.0.1" in reached
    finally:
        listener.close()


def test_hundreds_that_call_at_once_are_all_heard(loop: Loop) -> None:
    listener = Listener(loop)
    try:
        targets = [Target(number, listener.door, ("127.0.0.1", "127.0.0.2", "127.0.0.3")) for number in range(200)]
        reached = found(loop, *targets)
        assert len(reached) == 200 and all("127.0.0.1" in addresses for addresses in reached.values())
    finally:
        listener.close()
