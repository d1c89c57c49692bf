"""A network with containers on it, each a node of a run, as some scheduler would have started them."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .engine import GUARD, Engine
from .image import NAME

MARK = "THE_TEST_THAT_STARTED_IT"
PORT = 29400
USER = 1000
"""Whose processes those of the image are."""
ENDLESS = 3600
_FREEZE = """\
import os, signal
for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
    if pid not in (1, os.getpid()):
        os.kill(pid, signal.SIGSTOP)
"""
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=2000:2000")
"""Higher ones cannot be had where the tests run in a container themselves."""
_STRICT = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:size=256m"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""As little as a container can be given; its user is the image's, who is not root."""
FRAMEWORKS = f"{sysconfig.get_path('purelib')}:/usr/local/lib/python3.11/dist-packages:ro"
"""The volume with what the tests have installed, where the image's Python looks for what its base came with."""


@dataclass(frozen=True)
class Container:
    """One container, known by its name on the network."""

    engine: Engine
    id: str
    name: str

    def stop(self) -> None:
        """Stop it as an engine does: SIGTERM, and after 10 s SIGKILL."""
        self.engine.podman("stop", "--time", "10", self.id)

    def kill(self) -> float:
        """Kill all that is in it; gives when, in seconds since 1970."""
        when = time.time()
        self.engine.podman("kill", "--signal", "KILL", self.id)
        return when

    def cut(self) -> float:
        """Pull its cable; gives when."""
        pid = str(self.inspect()["State"]["Pid"])
        when = time.time()
        self.engine.run("nsenter", "--target", pid, "--net", "ip", "link", "set", "eth0", "down")
        return when

    def freeze(self) -> None:
        """Stop every process in it where it is, but for the first, which no signal from within can stop."""
        self.engine.podman("exec", self.id, "python3", "-c", _FREEZE)

    @property
    def address(self) -> str:
        """Its address on the network."""
        (network,) = self.inspect()["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def words(self) -> str:
        """Give what it has said on standard output and standard error."""
        done = self.engine.try_podman("logs", self.id)
        return done.stdout + done.stderr

    def health(self) -> subprocess.CompletedProcess[str]:
        """Run the image's health check."""
        return self.engine.try_podman("healthcheck", "run", self.id)

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

    @property
    def workspace(self) -> Path:
        """The folder that is /runs on node 0, and on no other node: they share none with it."""
        return self.folder.with_name("runs")

    @property
    def run_folder(self) -> Path:
        """The folder of the run that is called r."""
        return self.workspace / "runs" / "r"

    def open(self) -> None:
        """Make the network and the folders."""
        for folder in (self.folder, self.workspace):
            folder.mkdir()
            os.chown(folder, USER, USER)
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
            *("--cgroup-parent", self.engine.cgroup, "--hostname", name, "--network-alias", name),
            *(*LIMITS, *_STRICT, "--volume", FRAMEWORKS, "--volume", f"{self.folder}:/site", *given, *options),
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

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait for something to come true; fails the test if it does not."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < GUARD, self.words()
            time.sleep(0.02)

    def ends(self, *containers: Container) -> list[int]:
        """Wait for the ends of some containers; gives their exit statuses."""
        try:
            said = self.engine.podman("wait", "--interval", "100ms", *(container.id for container in containers))
        except subprocess.TimeoutExpired:
            pytest.fail(f"it has not ended\n{self.words()}")
        return [int(status) for status in said.split()]

    def words(self) -> str:
        """Give what all containers have said."""
        return "\n".join(f"{container.name}:\n{container.words()}" for container in self.containers)

    def wait_until_all_came(self, processes: int) -> None:
        """Wait until each process of a job has made its file /site/came-RANK."""
        self.wait_until(lambda: all((self.folder / f"came-{rank}").exists() for rank in range(processes)))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Give the run's events of one kind."""
        path = self.run_folder / "events.jsonl"
        *lines, _ = path.read_text("utf-8").split("\n") if path.exists() else [""]  # The last may be half.
        return [event for event in map(json.loads, lines) if event["event"] == kind]

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
    ) -> Container:
        """Start the container of one node, with what a scheduler would tell it of its place."""
        place = {
            "REGIMENT_NODES": str(count),
            "REGIMENT_NODE_RANK": str(rank),
            "REGIMENT_MASTER": f"node-0:{PORT}",
            "REGIMENT_KEY_FILE": "/run/secrets/regiment-key",
        }
        volumes = [f"{self._key()}:/run/secrets/regiment-key:ro"]
        if rank == 0:
            place["REGIMENT_WORKSPACE"] = "/runs"
            volumes.append(f"{self.workspace}:/runs")
        given = [word for volume in volumes for word in ("--volume", volume)]
        return self.start(name or f"node-{rank}", "--name", "r", *arguments, options=(*given, *options), environ=place)

    def _key(self) -> Path:
        path = self.folder.with_name("key")
        if not path.exists():
            path.write_text(secrets.token_hex(32))
            path.chmod(0o400)
            os.chown(path, USER, USER)
        return path


def utc(event: Mapping[str, Any]) -> float:
    """Give when something happened, in seconds since 1970."""
    return datetime.datetime.fromisoformat(event["timeUtc"].replace("Z", "+00:00")).timestamp()
