"""The image itself, and one container of it: process 1, who it is, how it ends, and whether it is well."""

from __future__ import annotations

import pytest

from .engine import Engine
from .image import NAME

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.xdist_group("containers")]


def test_the_image_names_no_root_user_and_its_entrypoint_is_the_agent(engine: Engine) -> None:
    image = engine.inspect("image", NAME)
    assert image["Config"]["User"] == "1000:1000"
    assert image["Config"]["Entrypoint"] == ["regiment", "agent"]
    assert image["Healthcheck"]["Test"][0] == "CMD"
