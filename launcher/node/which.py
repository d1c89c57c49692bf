"""Where a program is."""

from __future__ import annotations

import os


def which(name: str, path: str) -> str | None:
    """Give the first executable file of that name in a PATH; a name with a slash is looked for where it says.

    As `shutil.which`, which brings four libraries for archives into every process that imports it.
    """
    folders = [""] if "/" in name else path.split(":")
    for folder in folders:
        place = os.path.join(folder, name)
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    return None
