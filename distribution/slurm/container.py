"""The container that a node of Slurm's is in: what srun is told of it, and what starts the agent inside.

The agent itself is inside, so its Python has to be there, in the image or in a folder that is mounted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regiment.jobs.spec import Container, ContainerRuntime

_Parts = tuple[tuple[str, ...], tuple[str, ...]]
"""Flags for srun, and a command."""


def contained(container: Container, folders: tuple[str, ...], has_gpus: bool, agent: tuple[str, ...]) -> _Parts:
    """Give the flags that srun gets for it, and the command that is an agent inside.

    Args:
        container: What the job asks for.
        folders: What has to be seen inside at its own place.
        has_gpus: Whether the nodes have GPUs that it is to see.
        agent: The command that is an agent.
    """
    return _RUNTIMES[container.runtime](container, (*folders, *container.mounts), has_gpus, agent)


def _none(_container: Container, _mounts: tuple[str, ...], _has_gpus: bool, agent: tuple[str, ...]) -> _Parts:
    return (), agent


def _pyxis(container: Container, mounts: tuple[str, ...], _has_gpus: bool, agent: tuple[str, ...]) -> _Parts:
    # It takes no folder without a place inside; GPUs it shows as the image asks for.
    places = ",".join(mount if ":" in mount else f"{mount}:{mount}" for mount in mounts)
    return (f"--container-image={container.image}", f"--container-mounts={places}", *container.flags), agent


def _apptainer(container: Container, mounts: tuple[str, ...], has_gpus: bool, agent: tuple[str, ...]) -> _Parts:
    binds = (word for mount in mounts for word in ("--bind", mount))
    gpus = ("--nv",) if has_gpus and not {"--nv", "--rocm"} & set(container.flags) else ()
    return (), ("apptainer", "exec", *binds, *gpus, *container.flags, str(container.image), *agent)


_RUNTIMES: Mapping[ContainerRuntime, Callable[[Container, tuple[str, ...], bool, tuple[str, ...]], _Parts]] = {
    ContainerRuntime.NONE: _none,
    ContainerRuntime.PYXIS: _pyxis,
    ContainerRuntime.APPTAINER: _apptainer,
}
