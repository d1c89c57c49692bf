"""How long a node that is cut off runs on. What happens before what is compared on one loop, and not in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from regiment.launcher.node.lease import BEAT, KILLING, LAST_GRACE, LEASE, OVER, SILENCE, Lease
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.patience import INTERVAL
from regiment.launcher.ssh.reach import BROKEN_LIMIT

SECONDS = 0.5


class Node:
    """A node with a short lease, on whose loop things happen at their times."""

    def __init__(self, loop: Loop) -> None:
        self.happened: list[str] = []
        self._loop = loop
        self.lease = Lease(loop, lambda: self.happened.append("spoke"), self._over, SECONDS)

    def _over(self) -> None:
        self.happened.append("over")

    def at(self, seconds: float, what: str | Callable[[], None]) -> None:
        """Do something, or take down that it is that late."""
        act = what if callable(what) else lambda: self.happened.append(what)
        self._loop.call_later(seconds, act)

    def until(self, seconds: float) -> list[str]:
        """Give what has happened until then."""
        self._loop.call_later(seconds, self._loop.stop)
        self._loop.run()
        self.lease.end()
        return self.happened


@pytest.fixture
def node() -> Iterator[Node]:
    loop = Loop()
    yield Node(loop)
    loop.close()


def test_a_node_runs_on_as_long_as_its_lines_are_known_to_arrive(node: Node) -> None:
    for number in range(1, 5):
        node.at(0.2 * number, node.lease.sends)
        node.at(0.2 * number + 0.1, lambda count=number: node.lease.heard(count))  # type: ignore[misc]
    node.at(0.8 + SECONDS / 2, "late")
    assert node.until(0.9 + SECONDS * 2) == ["late", "over"]


def test_a_beat_that_was_long_under_way_lengthens_nothing(node: Node) -> None:
    node.lease.sends()
    node.at(SECONDS * 0.8, lambda: node.lease.heard(1))  # It says that a line has arrived that was sent long before.
    node.at(SECONDS * 1.5, "late")
    assert node.until(SECONDS * 2) == ["over", "late"]


def test_a_beat_that_knows_no_new_line_lengthens_nothing(node: Node) -> None:
    node.at(SECONDS * 0.8, lambda: node.lease.heard(0))
    node.at(SECONDS * 1.5, "late")
    assert node.until(SECONDS * 2) == ["over", "late"]


def test_the_coordinator_waits_longer_than_the_node_runs_on_and_notices_a_loss_sooner() -> None:
    assert OVER >= LEASE + LAST_GRACE + KILLING
    assert OVER > SILENCE + INTERVAL + LAST_GRACE  # An agent whose relay is stopped; it looks now and then.
    assert BROKEN_LIMIT < 10.0 < LEASE
    # A coordinator that stalls just before it would have said what it has heard.
    assert LEASE - 2 * BEAT > 7.0
