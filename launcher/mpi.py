"""Finds the mpirun that a job starts through, and asks it what it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from regiment.distribution.mpirun import EXECUTABLES, Mpirun, mpi_flavour
from regiment.jobs.errors import UserError
from regiment.jobs.spec import JobSpec, Mpi

from .programs import find_program

_ANSWER_LIMIT = 20.0
"""Seconds an mpirun may take to say its version; one that needs more is stuck."""


def find_mpirun(spec: JobSpec) -> Mpirun | None:
    """Find the mpirun of a job of type mpi: the one it names, else the first in the job's PATH."""
    if not isinstance(spec.distribution, Mpi):
        return None
    import subprocess  # It takes longer to import than most runs have time for.

    path = _path(spec.options.mpirun)
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_LIMIT,
            env=environ,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{path} cannot be asked for its version: {error}; name another with --mpirun") from None
    return mpi_flavour(path, answer.stdout + answer.stderr)


def _path(wanted: str | None) -> str:
    for name in (wanted,) if wanted else EXECUTABLES:
        found = find_program(name)
        if found:
            return str(Path(found).absolute())
    if wanted:
        raise UserError(f"mpirun {wanted!r} is neither a program's path nor one in PATH; correct it, or leave it out")
    raise UserError(
        "distribution type mpi starts through mpirun, and there is none in PATH; "
        f"pip install 'regiment[mpi]' for {sys.executable} brings one, or name one with --mpirun"
    )
