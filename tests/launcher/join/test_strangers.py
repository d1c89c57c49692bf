"""Whoever reaches the port of a run without its key gets nowhere, and the run does not notice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from regiment.launcher.coordinator.entrance import MOST_OF_ONE, PATIENCE
from regiment.launcher.node.runkey import make_key, read_key

from ..conftest import Lab
from .nodes import Joined, ended
from .strangers import STRANGERS, has_another_key, hello_of, is_dropped, plain, proof_of, secure


def waiting(lab: Lab, nodes: Joined) -> str:
    """Give a command that ends when there is a file `end`, and waits for all nodes first."""
    return f"{lab.everybody(nodes.count)}; until [ -e '{lab.folder}/end' ]; do sleep 0.05; done"


def listening(port: int) -> bool:
    try:
        plain(port).close()
    except OSError:
        return False
    return True


def test_a_thousand_strangers_do_not_harm_a_run(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    started = [nodes.start(rank, "--", "sh", "-c", waiting(lab, nodes)) for rank in (0, 1)]
    lab.wait_until(lambda: (lab.folder / "came-1").exists())
    for stranger, count in STRANGERS:
        for _ in range(count):
            stranger(nodes.port)
    lab.write("end", "")
    first, second = (ended(process) for process in started)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    notes = [note["text"] for note in lab.events("r", "note")]
    assert any("a wrong key" in text for text in notes), notes
    assert len(notes) < 14  # However many there were of each.


@pytest.mark.slow
def test_the_slow_are_dropped_and_do_not_keep_the_run_from_its_nodes(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--", "true")
    lab.wait_until(lambda: listening(nodes.port))
    began = time.monotonic()
    slow = [plain(nodes.port) for _ in range(MOST_OF_ONE)]
    slow[0].sendall(b"\x16")
    too_many = plain(nodes.port)
    assert is_dropped(too_many)  # At once, for there are too many of this address already.
    assert time.monotonic() - began < PATIENCE
    assert all(is_dropped(connection) for connection in slow)
    for connection in (*slow, too_many):
        connection.close()
    second = nodes.start(1, "--", "true")
    assert [ended(first).returncode, ended(second).returncode] == [0, 0]


def test_a_proof_that_was_overheard_is_worth_nothing(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--", "true")
    lab.wait_until(lambda: listening(nodes.port))
    key = read_key(str(nodes.key))
    with secure(nodes.port) as connection:
        answer = proof_of(connection, key, 1).answer(hello_of(connection))
    with secure(nodes.port) as connection:
        hello_of(connection)
        connection.sendall(answer)
        assert is_dropped(connection)
    second = nodes.start(1, "--", "true")
    assert [ended(first).returncode, ended(second).returncode] == [0, 0]


@pytest.mark.slow
def test_a_node_with_another_key_says_so_and_the_run_too(lab: Lab, tmp_path: Path) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--", "true")
    lab.wait_until(lambda: listening(nodes.port))
    has_another_key(nodes.port)
    make_key(str(tmp_path / "other.key"))
    second = nodes.start(1, "--start-timeout", "4", "--", "true", REGIMENT_KEY_FILE=str(tmp_path / "other.key"))
    other = ended(second)
    assert other.returncode == 3 and "its key may be another one" in other.stderr
    assert lab.run("cancel", "r").returncode == 0
    own = ended(first)
    assert own.returncode == 4 and "a wrong key" in own.stderr
