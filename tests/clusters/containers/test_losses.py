"""Three containers of which one is stopped, killed, or cut from the network, and what the others make of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .site import ENDLESS, Container, Site, utc

pytestmark = [pytest.mark.container, pytest.mark.slow]

_COMMAND = ("--", "sh", "-c", f"touch /site/came-$RANK; exec sleep {ENDLESS}")


def running(site: Site) -> list[Container]:
    """Start three nodes, and wait until the processes of all of them run."""
    nodes = site.start_nodes(3, *_COMMAND)
    site.wait_until_all_came(3)
    return nodes


def test_a_container_that_is_stopped_ends_within_its_grace_and_the_run_is_preempted(site: Site) -> None:
    nodes = running(site)
    nodes[1].stop()
    # Not 137, which is how a container ends that is killed when its grace of 10 s is over.
    assert site.ends(*nodes) == [5, 5, 5], site.words()
    assert all("preempted: the agent of node-1 got SIGTERM" in node.words() for node in nodes)


@pytest.mark.parametrize(
    ("lose", "words"), [(Container.kill, "its connection is broken"), (Container.cut, "its agent does not answer")]
)
def test_a_container_that_is_killed_or_cut_from_the_network_is_lost_within_ten_seconds(
    site: Site, lose: Callable[[Container], float], words: str
) -> None:
    nodes = running(site)
    when = lose(nodes[2])
    assert site.ends(*nodes[:2]) == [3, 3], site.words()
    assert all(f"node-2 was lost: {words}" in node.words() for node in nodes[:2]), site.words()
    (lost,) = [event for event in site.events("node") if event["state"] == "lost"]
    assert (lost["nodeId"], utc(lost) - when < 10) == ("node-2", True)
    # One that hears nothing of the others ends what it runs, and itself.
    assert site.ends(nodes[2]) == [137 if lose is Container.kill else 3]
