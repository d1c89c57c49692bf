"""Finds programs on this machine as a job's processes do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .node.which import which


def find_program(name: str) -> str | None:
    """Give the path of a program that is named so, or has this path; None where there is none.

    In a job's PATH the folder of its Python comes first, where a wheel has put its programs.
    """
    search = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return which(name, search)
