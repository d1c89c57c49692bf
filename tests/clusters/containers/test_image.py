"""The image itself, and containers of it: who they are, what they can write, whether they are well."""

from __future__ import annotations

import pytest

from .engine import Engine
from .image import NAME
from .site import ENDLESS, Site

pytestmark = [pytest.mark.container, pytest.mark.slow]

_NO_HOME = ("--entrypoint", '["env", "-u", "HOME", "regiment", "agent"]')
_LOOK = """\
id -u; tty; echo ${HOME-no home}; touch /opt/regiment/x /job/x /x
grep CapEff /proc/self/status
"""


def test_the_image_names_no_root_user_and_its_entrypoint_is_the_agent(engine: Engine) -> None:
    image = engine.inspect("image", NAME)
    assert image["Config"]["User"] == "1000:1000"
    assert image["Config"]["Entrypoint"] == ["regiment", "agent"]
    assert image["Healthcheck"]["Test"][0] == "CMD"


def test_it_takes_no_root_no_terminal_no_home_and_nothing_to_write_to_but_a_small_folder(site: Site) -> None:
    nodes = site.start_nodes(3, "--", "sh", "-c", _LOOK, options=_NO_HOME)
    assert site.ends(*nodes) == [0, 0, 0], site.words()
    for rank in range(3):
        log = (site.run_folder / f"azureml-logs/node-{rank}/70_driver_log_{rank}.txt").read_text("utf-8")
        user, terminal, home, *refused, capabilities = log.splitlines()
        assert (user, terminal, home) == ("1000", "not a tty", "no home"), log
        assert len(refused) == 3 and all("Read-only file system" in line for line in refused), log
        assert int(capabilities.split()[1], 16) == 0


def test_of_two_containers_with_one_rank_the_second_is_refused_with_both_addresses_named(site: Site) -> None:
    arguments = ("--", "true")
    first, second = (site.start_node(rank, 3, *arguments) for rank in (0, 1))
    site.wait_until(lambda: any(event["nodeId"] == "node-1" for event in site.events("node")))
    assert first.health().returncode == 0  # It waits for others, and is well.
    twin = site.start_node(1, 3, *arguments, name="twin")
    addresses = (second.address, twin.address)
    assert site.ends(twin) == [2]
    assert "node rank 1 is taken: " in twin.words()
    assert all(f"({address})" in twin.words() for address in addresses), twin.words()
    third = site.start_node(2, 3, *arguments)
    assert site.ends(first, second, third) == [0, 0, 0], site.words()


def test_the_health_check_tells_a_container_that_hangs_from_one_that_works(site: Site) -> None:
    node = site.start_node(0, 1, "--", "sh", "-c", f"touch /site/came-0; exec sleep {ENDLESS}")
    site.wait_until_all_came(1)
    assert node.health().returncode == 0
    node.freeze()
    unwell = node.health()
    assert unwell.returncode == 1
