"""A network with containers on it, each a node of a run, as some scheduler would have started them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .engine import GUARD, Engine
from .image import NAME

MARK = "THE_TEST_THAT_STARTED_IT"
PORT = 29400
USER = 1000
"""Whose processes those of the image are."""
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=2000:2000")
"""Higher ones cannot be had where the tests run in a container themselves."""
_STRICT = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:size=256m"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""As little as a container can be given; its user is the image's, who is not root."""
_FRAMEWORKS = ("--volume", f"{sysconfig.get_path('purelib')}:/usr/local/lib/python3.11/dist-packages:ro")
"""What the tests have installed, where the image's Python looks for what its base came with."""


@dataclass(frozen=True)
class Container:
    """One container, known by its name on the network."""

    engine: Engine
    id: str
    name: str

    def wait(self) -> int:
        """Wait for its end; gives its exit status."""
        return int(self.engine.podman("wait", "--interval", "100ms", self.id))

    def words(self) -> str:
        """Give what it has said on standard output and standard error."""
        done = self.engine.try_podman("logs", self.id)
        return done.stdout + done.stderr

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run something in it."""
        return self.engine.try_podman("exec", self.id, *arguments)

    def inspect(self) -> dict[str, Any]:
        """Give what podman knows of it."""
        return self.engine.inspect("container", self.id)


@dataclass
class Site:
    """A network, a folder that all its containers see as /site, and the containers of one test."""

    engine: Engine
    folder: Path
    mark: str
    containers: list[Container] = field(default_factory=list)

    @property
    def network(self) -> str:
        """Its name."""
        return f"net-{self.mark}"

    def open(self) -> None:
        """Make the network and the folder."""
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.engine.podman("network", "create", self.network)

    def close(self) -> None:
        """Remove containers and network; fail if a process of theirs is left."""
        ids = [container.id for container in self.containers]
        if ids:
            self.engine.podman("rm", "--force", "--time", "0", *ids)
        self.engine.podman("network", "rm", self.network)
        self.wait_until(lambda: not self.processes())

    def start(
        self,
        name: str,
        *arguments: str,
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Container:
        """Start a container of the image; `arguments` are those of its entrypoint, `options` podman's."""
        variables = {MARK: self.mark, **(environ or {})}
        given = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
        made = self.engine.podman(
            *("run", "--detach", "--log-driver", "k8s-file", "--network", self.network),
            *("--name", f"{name}-{self.mark}", "--hostname", name, "--network-alias", name),
            *(*_LIMITS, *_STRICT, *_FRAMEWORKS, "--volume", f"{self.folder}:/site", *given, *options),
            *(NAME, *arguments),
            environ={MARK: self.mark},
        )
        container = Container(self.engine, made.split()[-1], name)
        self.containers.append(container)
        return container

    def processes(self) -> list[int]:
        """Give the living processes of its containers, and those of podman's that hold them."""
        needle = f"{MARK}={self.mark}".encode()
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
            except OSError:
                continue
        return found

    def wait_until(self, condition: Callable[[], Any], seconds: float = GUARD) -> float:
        """Wait for something to come true; gives how long it took, fails the test if it does not."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, "\n".join(container.words() for container in self.containers)
            time.sleep(0.02)
        return time.monotonic() - start

    def wait_until_all_came(self, processes: int) -> None:
        """Wait until each process of a job has made its file /site/came-RANK."""
        self.wait_until(lambda: all((self.folder / f"came-{rank}").exists() for rank in range(processes)))

    def start_nodes(self, count: int, *arguments: str, **more: Any) -> list[Container]:
        """Start that many containers, which are to find each other: node-0, node-1 and so on."""
        return [self.start_node(rank, count, *arguments, **more) for rank in range(count)]

    def start_node(
        self,
        rank: int,
        count: int,
        *arguments: str,
        name: str | None = None,
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Container:
        """Start the container of one node, with what a scheduler would tell it of its place."""
        place = {
            "REGIMENT_NODES": str(count),
            "REGIMENT_NODE_RANK": str(rank),
            "REGIMENT_MASTER": f"node-0:{PORT}",
            "REGIMENT_KEY_FILE": "/run/secrets/regiment-key",
            "REGIMENT_WORKSPACE": "/site/workspace",
        }
        secret = ("--volume", f"{self._key()}:/run/secrets/regiment-key:ro")
        name = name or f"node-{rank}"
        return self.start(name, *arguments, options=(*secret, *options), environ={**place, **(environ or {})})

    def _key(self) -> Path:
        path = self.folder.with_name("key")
        if not path.exists():
            path.write_text(secrets.token_hex(32))
            path.chmod(0o400)
            os.chown(path, USER, USER)
        return path
