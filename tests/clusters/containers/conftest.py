"""One image for all tests of a session, and a network of its own for each of them."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import Engine, missing_programs, open_engine
from .image import build_image
from .site import Site


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Give podman with the image; all tests of this process have the same.

    These tests are neighbours, so one process has them all in a run of the whole suite. Several may: nothing is shared.
    """
    missing = missing_programs()
    if os.geteuid() != 0 or missing or not platform.python_version().startswith("3.11."):
        pytest.skip(f"containers take root, Debian 12 with its Python 3.11, and {', '.join(missing) or 'nothing else'}")
    with open_engine() as engine:
        build_image(engine, tmp_path_factory.mktemp("image"))
        yield engine


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """Give a network for one test, and fail if something of it is left."""
    site = Site(engine, tmp_path / "site", uuid.uuid4().hex[:12])
    site.open()
    try:
        yield site
    finally:
        site.close()
