"""Which packages a Python has: what `pip list` would say, read from the names of files alone."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

_SUFFIXES = (".dist-info", ".egg-info")


def installed_packages(path: Iterable[str]) -> dict[str, str]:
    """Give the versions of all packages on a module search path; of one that is there twice the first counts.

    Nothing is imported and no file is read: names of folders have it all, and a machine may have hundreds of them.
    """
    found: dict[str, str] = {}
    for folder in path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # A zip, or a folder that is not there.
        for entry in sorted(names):
            if not entry.endswith(_SUFFIXES):
                continue
            name, _, version = entry.rpartition(".")[0].partition("-")
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version.partition("-py")[0] or "unknown")
    return dict(sorted(found.items()))


def this_python() -> dict[str, Any]:
    """Describe the Python that runs this, which is the job's too."""
    return {
        "schema": 1,
        "executable": sys.executable,
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": installed_packages(sys.path),
    }
