"""Starting one program the way every process of a job is started."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from .which import which

_AS_USUAL = tuple(getattr(signal, f"SIG{name}") for name in "PIPE XFSZ INT QUIT HUP TERM CHLD".split())
"""Signals that Python or we treat specially, or that shells let what they start in the background ignore, and that a
started program must find as usual."""


class CannotStart(Exception):
    """A program cannot be started; the message is for its log, the exit code is what a shell would give."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


PASSED = 3
"""The number under which a started program finds the file that it is passed."""


def spawn(
    argv: Sequence[str],
    environ: Mapping[str, str],
    output: int,
    terminal: str | None = None,
    passed: int | None = None,
) -> int:
    """Start a program in a session of its own, with nothing to read and one pipe for all it prints.

    With a `terminal`, the path of one, it reads and prints there, and is controlled by it. With `passed`, an open file,
    it has that as well. It runs in the caller's current folder and on the caller's processors. posix_spawn does not
    copy the caller's memory. Gives the pid.
    """
    program = find_program(argv[0], environ)
    standard_input = (os.POSIX_SPAWN_OPEN, 0, terminal or os.devnull, os.O_RDWR if terminal else os.O_RDONLY, 0)
    source = 0 if terminal else output
    copies = [(source, 1), (source, 2)] + ([] if passed is None else [(passed, PASSED)])
    try:
        return os.posix_spawn(
            program,
            list(argv),
            dict(environ),
            file_actions=[standard_input, *((os.POSIX_SPAWN_DUP2, *copy) for copy in copies)],
            setsid=True,
            setsigmask=[],
            setsigdef=_AS_USUAL,
        )
    except OSError as error:
        raise CannotStart(f"regiment: cannot run {argv[0]!r}: {error.strerror}", 126) from None


def find_program(name: str, environ: Mapping[str, str]) -> str:
    """Find a program the way a shell does, with the PATH it will run with."""
    program = which(name, environ.get("PATH", os.defpath))
    if program is None:
        there = "/" in name and os.path.exists(name)
        missing = "no such file" if "/" in name else "no such program in PATH"
        reason = "it is not an executable file" if there else missing
        raise CannotStart(f"regiment: cannot run {name!r}: {reason}", 126 if there else 127)
    return program


def shell() -> str:
    """Give this node's shell for job files' commands: bash, for that is what they are written for, else sh."""
    return which("bash", os.environ.get("PATH", os.defpath)) or "/bin/sh"
