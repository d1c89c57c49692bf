"""The coordinator's process, from its first moment on."""

from __future__ import annotations

import os
import sys

from ..backends.keepers import FirstKeeper


def main() -> None:
    """Start the first node's keeper, import what else it takes meanwhile, and see a run through."""
    # Whatever else the submitting shell had open is not ours to hold: a pipe's reader would wait for the run's end.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _open_standard_files()
    first = FirstKeeper(sys.executable, sys.argv[0])
    from .life import see_through

    see_through(first)


def _open_standard_files() -> None:
    """Open those that the submitting shell has closed: else something else of ours would get their numbers."""
    number = os.open(os.devnull, os.O_RDWR)
    while number < 3:
        os.set_inheritable(number, True)
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
