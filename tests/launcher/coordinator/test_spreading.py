"""Who is told to give and to get, and when: histories of nodes that come, have all, fail and are lost."""

from __future__ import annotations

from regiment.launcher.coordinator.spreading import Spreading
from regiment.launcher.node.passing import Credentials, GetFrom, Give, Giving

SIZE = 10_000_000
KEYS = Credentials("ab" * 32, "certificate", "private")


class Node:
    """A node that writes down what it is told."""

    def __init__(self, rank: int) -> None:
        self.rank, self.name, self.address = rank, f"node-{rank}", f"10.0.0.{rank}"
        self.told: list[str] = []

    def say(self, message: Give | GetFrom) -> None:
        self.told.append("give" if isinstance(message, Give) else f"get from {message.node} at port {message.port}")

    def get_from_here(self) -> None:
        self.told.append("from here")


class Crowd:
    """A run's nodes, in the order in which they come."""

    def __init__(self, count: int, credentials: Credentials | None = KEYS) -> None:
        self.notes: list[str] = []
        self.spreading = Spreading(credentials, count, self.notes.append)
        self.nodes = [Node(rank) for rank in range(count)]
        self.gets_from_others = [self.spreading.takes(node, SIZE) for node in self.nodes]

    def is_told(self, rank: int) -> list[str]:
        """Give what a node was told since this was asked last."""
        told, self.nodes[rank].told = self.nodes[rank].told, []
        return told


def test_a_node_gets_it_from_another_one_when_that_has_all_and_listens() -> None:
    crowd = Crowd(4)
    assert crowd.gets_from_others == [False, True, True, True]
    crowd.spreading.wants(crowd.nodes[1])
    assert crowd.is_told(0) == crowd.is_told(1) == []
    crowd.spreading.has_all(crowd.nodes[0])
    crowd.spreading.wants(crowd.nodes[2])
    assert (crowd.is_told(0), crowd.is_told(1)) == (["give"], [])
    crowd.spreading.gives(crowd.nodes[0], Giving(4000))
    assert crowd.is_told(1) == crowd.is_told(2) == ["get from node-0 at port 4000"]
    crowd.spreading.has_all(crowd.nodes[1])
    assert crowd.is_told(1) == []  # Nobody wants it from there yet.
    crowd.spreading.wants(crowd.nodes[3])
    crowd.spreading.gives(crowd.nodes[1], Giving(4001))
    assert crowd.is_told(3) == ["get from node-1 at port 4001"]
    assert crowd.notes == []


def test_who_waits_for_a_node_that_is_lost_gets_it_from_here() -> None:
    crowd = Crowd(4)
    crowd.spreading.wants(crowd.nodes[1])
    crowd.spreading.lost(crowd.nodes[0])
    crowd.spreading.wants(crowd.nodes[2])
    assert crowd.is_told(1) == crowd.is_told(2) == ["from here"]


def test_after_one_failure_all_get_it_from_here_and_it_is_said_once() -> None:
    crowd = Crowd(7)
    for rank in range(1, 7):
        crowd.spreading.wants(crowd.nodes[rank])
    crowd.spreading.has_all(crowd.nodes[0])
    crowd.spreading.gives(crowd.nodes[0], Giving(4000))
    crowd.spreading.failed(crowd.nodes[1], "no route to host", 12)
    crowd.spreading.failed(crowd.nodes[2], "no route to host", 12)
    assert [crowd.is_told(rank)[-1] for rank in (3, 4, 5, 6)] == ["from here"] * 4
    assert len(crowd.notes) == 1
    assert "node-1 could not get 12 files of the code from another node: no route to host" in crowd.notes[0]


def test_without_keys_all_get_it_from_here() -> None:
    assert Crowd(8, credentials=None).gets_from_others == [False] * 8
