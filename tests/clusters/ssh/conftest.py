"""Hosts for all tests of a session, and a lab whose commands reach them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.launcher.conftest import Lab, open_lab

from .bed import Bed, missing_programs, open_bed


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Give the hosts; all tests of this process have the same."""
    missing = missing_programs()
    if os.geteuid() != 0 or missing:
        pytest.skip(f"hosts of its own take root and {', '.join(missing) or 'nothing else'}")
    with open_bed(tmp_path_factory.getbasetemp()) as bed:
        yield bed


@dataclass
class SshLab(Lab):
    """A lab on the machine that submits."""

    bed: Bed = field(kw_only=True)

    @property
    def environ(self) -> dict[str, str]:
        """What a lab has, and how the hosts are reached."""
        return {**super().environ, **self.bed.environ}


@pytest.fixture
def ssh_lab(bed: Bed, tmp_path: Path) -> Iterator[SshLab]:
    """Give a lab, and fail if a process or a socket of it is left at the end, here or on a host."""
    with open_lab(tmp_path) as plain:
        lab = SshLab(tmp_path, plain.sockets, plain.mark, plain.started, bed=bed)
        yield lab
    for name in bed.hosts:
        lab.wait_until(partial(bed.is_clean, name))
        assert not bed.entries(name), f"left behind on {name}: {bed.entries(name)}"
