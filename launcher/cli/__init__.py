"""The command line: `regiment`."""

from __future__ import annotations

import os
import sys


def entry_point() -> None:
    """Run the command line as the `regiment` script.

    Nothing is imported before this, so that Ctrl-C and closed descriptors are dealt with from the first moment.
    """
    try:
        _open_standard_files()
        from .main import main

        status = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # Whoever read our answer has enough. Python must not fail again while it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    sys.exit(status)


def _open_standard_files() -> None:
    """Put /dev/null where the caller has closed standard input, output or error.

    Else the next file that is opened, a log or a socket, would take its number and get what is printed.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number, which is this one.
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123  (open until the process ends)
