"""What every program of the job on one node is started with: its real argv and its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regiment.distribution.environment import merged
from regiment.distribution.mpirun import is_scheduler_variable
from regiment.distribution.plan import (
    REMOTE_SHELL,
    SHARED_MEMORY,
    SLURM_TASKS,
    TEMPORARY,
    WRAPPER,
    LauncherKind,
    LauncherPlan,
    NodePlan,
    ProcessPlan,
)

from . import scratch
from .config import NodeConfig
from .python_start import GUARD, LEDGER
from .slurmranks import finding_stand_in, tell_ranks, write_tasks
from .spawn import shell
from .tag import TAG

LATE_PROGRAM = "regiment_late_program"
"""What `late_program.py` is called beside `preload.py`'s copy."""
_PYTHON = "REGIMENT_WRAPPER_PYTHON"
_WRAPPER_ANYWHERE = ("/bin/sh", "-c", f'exec "${_PYTHON}" -I -S "$REGIMENT_ZIP" wrapper')
"""mpirun starts the same words on all nodes, and each node has its Python and its zip at a place of its own."""


def marks_path(config: NodeConfig) -> str:
    """Give where the processes write what they tell of their start; the keeper removes it."""
    return f"{config.socket}.marks"


class Programs:
    """Puts the node's own into what was planned."""

    def __init__(self, config: NodeConfig, plan: NodePlan) -> None:
        self.plan = plan
        self.preemption_file = f"{config.socket}.preemption"
        """What the processes find written there once a notice has come; the keeper removes it."""
        self.own: Mapping[str, str] = {
            TAG: config.tag,
            "REGIMENT_SOCKET": config.socket,
            "REGIMENT_PREEMPTION_FILE": self.preemption_file,
            "REGIMENT_METRICS": config.metrics,
            "REGIMENT_MARKS": marks_path(config),
            "REGIMENT_ZIP": config.zip,
        }
        """What every process of the run has, whoever starts it: how to find it, how it finds us, and what is ours."""
        self.remote_shell = f"{config.socket}.rsh"
        """Path of the program by which a launcher reaches other nodes."""
        self.remote_shell_argv = (config.python, "-I", "-S", config.zip, "rsh")
        """What that program runs."""
        self.temporary = f"{config.socket}.tmp"
        """A folder for what launchers need only while they run; the keeper removes it."""
        self.shared_memory = scratch.shared_memory(config.socket)
        """Such a folder in shared memory."""
        self.host_name_argv = (config.python, "-I", "-S", config.zip, "hostname", config.node_id)
        """What starts a program that is to see the node's id as the host's name."""
        self._slurm_tasks = f"{self.temporary}/tasks"
        self._python = config.python
        self._wrapper = (config.python, "-I", "-S", config.zip, "wrapper")
        self._stand_in = (config.python, "-I", "-S", config.zip, "standin")

    def argv(self, process: ProcessPlan) -> list[str]:
        """Give the argv of a process: as planned, with the node's own shell."""
        words = list(process.argv)
        if process.shell_at is not None:
            words[process.shell_at] = shell()
        return words

    def launcher_argv(self, launcher: LauncherPlan, logs: Path) -> list[str]:
        """Give the argv of a launcher with the node's own paths in it."""
        wrapper: tuple[str, ...] = _WRAPPER_ANYWHERE if launcher.kind is LauncherKind.MPIRUN else self._wrapper
        if launcher.is_srun:
            wrapper = finding_stand_in(logs)
        own = {
            REMOTE_SHELL: self.remote_shell,
            TEMPORARY: self.temporary,
            SLURM_TASKS: self._slurm_tasks,
        }
        words = [real for word in launcher.argv for real in (wrapper if word == WRAPPER else (word,))]
        for name, value in own.items():
            words = [word.replace(name, value) for word in words]
        return words

    def tell_ranks(self, launcher: LauncherPlan, logs: Path) -> None:
        """Let the ranks that Slurm will start here find their way, and what they may share."""
        self._make_folders(launcher)
        tell_ranks(logs, self.own, self._stand_in)
        if launcher.argv:
            write_tasks(self._slurm_tasks, launcher.slurm_tasks)

    def environ(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Give a program's whole environment, `layers` over what all have."""
        plan = self.plan
        environ = merged(os.environ, plan.defaults, plan.path_first, plan.environ, self.own, *layers)
        environ["PYTHONPATH"] = ":".join(filter(None, (self._python_start(), environ.get("PYTHONPATH"))))
        return environ

    def _python_start(self) -> str:
        """Give the folder with what the job's Pythons start with; it is made for the first of them."""
        folder = f"{self.temporary}/python"
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
            copy_source("python_start.py", f"{folder}/sitecustomize.py")
            launcher = self.plan.launcher
            if launcher is not None and launcher.kind is LauncherKind.MPIRUN:
                copy_source("mpi_guard.py", f"{folder}/{GUARD}.py")
            if self.plan.ledger:
                copy_source("ledger_hook.py", f"{folder}/{LEDGER}.py")
        return folder

    def launcher_environ(self, launcher: LauncherPlan) -> dict[str, str]:
        """Give the whole environment of a launcher or its daemon, and make the folders it may have."""
        self._make_folders(launcher)
        places = {TEMPORARY: self.temporary, SHARED_MEMORY: self.shared_memory}
        environ = self.environ({name: places.get(value, value) for name, value in launcher.environ.items()})
        if launcher.kind is not LauncherKind.MPIRUN:
            return environ
        environ[_PYTHON] = self._python
        if launcher.argv:
            # Intel's mpirun runs the first of its own kind in PATH, whoever's that is.
            environ["PATH"] = f"{os.path.dirname(launcher.argv[0])}:{environ['PATH']}"
        is_srun = launcher.is_srun
        return {name: value for name, value in environ.items() if not is_scheduler_variable(name, is_srun=is_srun)}

    def _make_folders(self, launcher: LauncherPlan) -> None:
        os.makedirs(self.temporary, mode=0o700, exist_ok=True)
        if SHARED_MEMORY in launcher.environ.values():
            os.makedirs(self.shared_memory, mode=0o700, exist_ok=True)

    def shared_places(self, launcher: LauncherPlan) -> dict[str, str]:
        """Give what tells a launcher's process of this node's folder in shared memory: a launcher tells of its own."""
        return {name: self.shared_memory for name, value in launcher.environ.items() if value == SHARED_MEMORY}

    def preload_environ(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Give the whole environment of the Python that imports for the ranks and forks them."""
        # OpenBLAS starts its threads when it is loaded, and who has threads cannot be forked.
        environ = self.environ({"OPENBLAS_NUM_THREADS": "1"}, *layers)
        folder = f"{self.temporary}/preload"
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
            copy_source("preload.py", f"{folder}/sitecustomize.py")
        environ["PYTHONPATH"] = f"{folder}:{environ['PYTHONPATH']}"
        return environ


def copy_source(name: str, path: str) -> None:
    """Write a module of this package as a file; it is read as it is packed, out of the zip."""
    loader: Any = __spec__.loader  # That of files or that of zips; pkgutil takes longer to import.
    source = loader.get_data(os.path.join(os.path.dirname(__file__), name))
    with open(path, "xb") as file:
        file.write(source)
