"""What every program of the job on one node is started with: its real argv and its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from regiment.distribution.environment import merged
from regiment.distribution.plan import REMOTE_SHELL, SHELL, TEMPORARY, WRAPPER, NodePlan

from . import processes
from .config import NodeConfig
from .spawn import shell


class Programs:
    """Puts the node's own into what was planned."""

    def __init__(self, config: NodeConfig, plan: NodePlan) -> None:
        self.plan = plan
        self.own: Mapping[str, str] = {processes.TAG: config.tag, "REGIMENT_SOCKET": config.socket}
        """What every process of the run has, whoever starts it: how to find it, and how it finds us."""
        self.remote_shell = f"{config.socket}.rsh"
        """Path of the program by which a launcher reaches other nodes."""
        self.remote_shell_argv = (config.python, "-I", "-S", config.zip, "rsh")
        """What that program runs."""
        self.temporary = f"{config.socket}.tmp"
        """A folder for what launchers need only while they run; the keeper removes it."""
        self._places = {
            WRAPPER: (config.python, "-I", "-S", config.zip, "wrapper"),
            SHELL: (shell(),),
        }

    def argv(self, planned: Sequence[str]) -> list[str]:
        """Give the argv that a planned one stands for here."""
        words = (real for word in planned for real in self._places.get(word, (word,)))
        return [word.replace(REMOTE_SHELL, self.remote_shell).replace(TEMPORARY, self.temporary) for word in words]

    def environ(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Give a program's whole environment, `layers` over what all have."""
        plan = self.plan
        return merged(os.environ, plan.defaults, plan.path_first, plan.environ, self.own, *layers)

    def launcher_environ(self, planned: Mapping[str, str]) -> dict[str, str]:
        """Give a launcher's whole environment, and make the folder it may have."""
        os.makedirs(self.temporary, mode=0o700, exist_ok=True)
        return self.environ({name: value.replace(TEMPORARY, self.temporary) for name, value in planned.items()})
