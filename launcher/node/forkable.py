"""Which processes can be forked and still be what their commands would have started, and with which environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from regiment.distribution.plan import ProcessPlan
from regiment.distribution.pythonline import NotPlain, PythonCall, python_call, shell_words
from regiment.jobs.dataclass import dataclass

from .programs import Programs
from .spawn import CannotStart, find_program, shell

_CHANGES_BASH = frozenset("BASH_ENV SHELLOPTS BASHOPTS POSIXLY_CORRECT IFS OPTIND".split())
"""Variables that make bash read a line in another way, or change what it runs."""
_TOO_DEEP = 999
"""From this level on bash begins to count its shells anew."""


@dataclass(frozen=True)
class Forkable:
    """A process that can be forked."""

    call: PythonCall
    environ: Mapping[str, str]


def forkable(programs: Programs, process: ProcessPlan) -> Forkable:
    """Give the start of Python that a process's command is, as it would be in the current folder; or raise NotPlain."""
    environ = programs.environ(process.environ)
    words = process.argv
    if process.shell_at is not None:
        if process.shell_at > 0:
            raise NotPlain("its command has a prefix")
        _check_shell(environ)
        words = shell_words(words[-1], environ)
    program = _check_python(words[0], environ, programs.plan.node.python)
    call = python_call(words)
    if process.shell_at is not None:
        if f"BASH_FUNC_{words[0]}%%" in environ:
            raise NotPlain(f"{words[0]} is a function of the shell's")
        environ = _environ_from_bash(environ, os.getcwd(), program)
    if process.cpus and not environ.get("OMP_NUM_THREADS", "").isdecimal():
        # Then each library counts the processors that it finds itself on when it is loaded.
        raise NotPlain("it is bound to processors, and OMP_NUM_THREADS gives no number")
    return Forkable(call, environ)


def _check_shell(environ: Mapping[str, str]) -> None:
    if os.path.basename(shell()) != "bash":
        raise NotPlain("its command is a line for a shell, and the node has no bash")
    for name in sorted(_CHANGES_BASH & environ.keys()):
        raise NotPlain(f"its command is a line for bash, which {name} may change")


def _check_python(name: str, environ: Mapping[str, str], python: str) -> str:
    """See that a program is the job's Python, by whichever of its names; gives its path."""
    try:
        program = find_program(name, environ)
    except CannotStart:
        raise NotPlain(f"its command starts {name}") from None
    # A virtual environment's Python is a link: the folder says which environment it is of.
    is_same = os.path.realpath(program) == os.path.realpath(python)
    if not is_same or os.path.realpath(os.path.dirname(program)) != os.path.realpath(os.path.dirname(python)):
        raise NotPlain(f"its command starts {name}, which is not the job's Python ({python})")
    return program


def _environ_from_bash(environ: Mapping[str, str], folder: str, program: str) -> dict[str, str]:
    """Give the environment in which `bash -c` would have started a program as its only command."""
    changed = {**environ, "_": program}
    here = environ.get("PWD", "")
    changed["PWD"] = here if here.startswith("/") and _is_same(here, folder) else folder
    if not os.path.isdir(environ.get("OLDPWD", "")):
        changed.pop("OLDPWD", None)
    level = environ.get("SHLVL", "")
    changed["SHLVL"] = str(int(level)) if level.isdecimal() and int(level) < _TOO_DEEP else "0"
    return changed


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
