"""docker/compose.yaml: three nodes on one machine with one command, which run the ready job for MPI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .image import CHECKOUT
from .site import FRAMEWORKS, LIMITS, MARK, Container, Site

pytestmark = [pytest.mark.container, pytest.mark.slow]

COMPOSE = "podman-compose==1.6.0"
"""Nothing of ours needs it but this test, which takes the place of a person with Docker."""
NODES = ("node-0", "node-1", "node-2")


@pytest.fixture
def compose(site: Site, tmp_path: Path) -> tuple[str, ...]:
    """Give how a command of podman-compose's begins."""
    packages = tmp_path / "packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages), COMPOSE)
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Compose has no word for what podman needs where the tests run, nor for what the tests have installed.
    podman = tmp_path / "podman"
    more = f'create|run) verb=$1; shift; set -- "$verb" --cgroup-parent {site.engine.cgroup} {" ".join(LIMITS)} "$@";;'
    podman.write_text(f'#!/bin/sh\ncase $1 in {more} esac\nexec {" ".join(site.engine.podman_argv)} "$@"\n')
    podman.chmod(0o755)
    beside = tmp_path / "beside.yaml"
    beside.write_text(json.dumps({"services": {name: {"volumes": [FRAMEWORKS]} for name in NODES}}))
    return (
        *("env", f"PYTHONPATH={packages}", sys.executable, "-m", "podman_compose"),
        *("--podman-path", str(podman), "--in-pod", "false", "--project-name", site.mark),
        *("--file", str(CHECKOUT / "docker" / "compose.yaml"), "--file", str(beside)),
    )


def test_one_command_makes_three_nodes_that_run_a_job_of_mpi(site: Site, compose: tuple[str, ...]) -> None:
    environ = {MARK: site.mark, "JOB": f"{CHECKOUT}/jobs/examples/mpi4py"}
    site.engine.run(*compose, "up", "--detach", "--no-build", environ=environ)
    site.containers += [Container(site.engine, f"{site.mark}_{name}_1", name) for name in NODES]
    assert site.ends(*site.containers) == [0, 0, 0], site.words()
    assert "check: 3 ranks agree" in site.words()
    site.engine.run(*compose, "down", "--volumes", environ=environ)
    site.containers.clear()
