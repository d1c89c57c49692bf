"""Finds the mpirun that a job starts through, and asks it what it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from regiment.distribution.mpirun import EXECUTABLES, Flavour, Mpirun, check_pmix, mpi_flavour
from regiment.jobs.errors import UserError
from regiment.jobs.spec import JobSpec, Mpi

from .programs import find_program

_ANSWER_LIMIT = 20.0
"""Seconds an mpirun may take to say its version; one that needs more is stuck."""


def find_mpirun(spec: JobSpec, *, has_srun: bool) -> Mpirun | None:
    """Find the mpirun of a job of type mpi: the one it names, else the first in the job's PATH.

    `has_srun` says whether the run's agents are tasks of Slurm's, so that its ranks may be.
    """
    if not isinstance(spec.distribution, Mpi):
        return None
    path = _path(spec.options.mpirun)
    mpirun = mpi_flavour(path, _answer(path, "--version"))
    if mpirun.flavour is Flavour.SRUN:
        if not has_srun:
            raise UserError(
                f"{mpirun.path} starts the ranks as a step of a job of Slurm's, and this run will be none; "
                "submit to a compute target of type slurm, or leave out regiment.mpirun"
            )
        check_pmix(mpirun, _answer(path, "--mpi=list"))
    return mpirun


def _answer(path: str, question: str) -> str:
    import subprocess  # It takes longer to import than most runs have time for.

    try:
        answer = subprocess.run(
            [path, question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_LIMIT,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{path} cannot be asked {question}: {error}; name another with --mpirun") from None
    return answer.stdout + answer.stderr


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
