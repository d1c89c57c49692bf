"""Hosts on this one machine that share nothing: each has a real sshd, an address, processes and a disk of its own.

They are the machines that the Slurm cluster is made of, without Slurm. What tests write is hidden from them, and what
Regiment keeps on a host lies in a folder of that host alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clusters.slurm.cluster import DIES_WITH_US, Machine

HOSTS = 6
_WIRE = Path(__file__).with_name("wire.py")
_OF_SHELL = tuple(path for path in (Path.home() / ".bashrc",) if path.exists())
"""What a shell reads that is started by sshd. It is this machine's user's: on a host of its own is none."""
_PROGRAMS = ("sshd", "ssh", "ssh-keygen", "setpriv", "unshare", "nsenter", "ip")
_SSHD = """
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized-{name}
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv XDG_CACHE_HOME={own}/cache XDG_RUNTIME_DIR={own} REGIMENT_NODE_FOLDER={own}/node
{more}
"""
_SSH = """
Host *
  User root
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


def missing_programs() -> list[str]:
    """Give what this machine lacks for such hosts."""
    return [program for program in _PROGRAMS if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]


class Bed:
    """The hosts `h1`, `h2` and so on, as ssh knows them with this bed's own configuration."""

    def __init__(self, folder: Path, hidden: Path, count: int = HOSTS) -> None:
        self.folder = folder
        self.count = count
        self.hidden = hidden
        """What hosts don't see."""
        self.own = folder / "own"
        """Where each host has what is its own."""
        self.own.mkdir(mode=0o700)
        pid = os.getpid()
        self.net = f"10.{192 + (pid >> 8) % 60}.{pid & 255}"
        self.link = f"rgs{pid}"
        """This machine's way to them."""
        self.machines: list[Machine] = []
        """What connects them, then the hosts."""
        self._sshds: dict[str, subprocess.Popen[bytes]] = {}
        self._wire: subprocess.Popen[str] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What tells Regiment about them."""
        return {"REGIMENT_SSH": f"ssh -F {self.folder}/config"}

    @property
    def hosts(self) -> dict[str, Machine]:
        """The hosts by their names."""
        return {machine.name: machine for machine in self.machines[1:]}

    def start(self) -> None:
        """Start all, and wait until each lets us in."""
        names = [f"h{index}" for index in range(1, self.count + 1)]
        self._write_files(names)
        for name in ("switch", *names):
            self.machines.append(Machine(name, self.folder, self.own))
        self._connect()
        for name in names:
            machine = self.hosts[name]
            machine.run("mount", "-t", "tmpfs", "none", "/run")
            machine.run("mkdir", "/run/sshd")
            machine.run("mount", "-t", "tmpfs", "none", str(self.hidden))
            machine.run("mkdir", str(self.own / "node"))
            for path in _OF_SHELL:
                machine.run("mount", "--bind", os.devnull, str(path))
            self.start_sshd(name)

    def start_sshd(self, name: str, more: str = "") -> None:
        """Start a host's sshd, also again and with more in its configuration."""
        old = self._sshds.pop(name, None)
        if old is not None:
            self.kill_ssh(name)
            old.wait()
        config = self.folder / f"sshd-{name}"
        config.write_text(_SSHD.format(folder=self.folder, own=self.own, name=name, more=more))
        self._sshds[name] = self.hosts[name].start("/usr/sbin/sshd", "-D", "-f", str(config))
        while b"SSH" not in self._banner(name):
            assert self._sshds[name].poll() is None, f"{name} has no sshd"

    def kill_ssh(self, name: str, *, all_of_it: bool = True) -> None:
        """Kill a host's sshd, or those processes of it alone that carry connections."""
        for pid in self.hosts[name].processes():
            line = _command_line(pid)
            if line.startswith(b"sshd:") and (all_of_it or b"[listener]" not in line):
                _kill(pid)

    def left(self, name: str) -> list[bytes]:
        """Give the command lines of what runs on a host that is neither sshd nor its own first process."""
        lines = [_command_line(pid) for pid in self.hosts[name].processes()]
        kept = (b"sshd", b"/usr/sbin/sshd", b"bash\0-c\0mount", b"sleep\0infinity")
        return [line for line in lines if line and not line.startswith(kept)]

    def is_clean(self, name: str) -> bool:
        """Say whether nothing but sshd runs on a host."""
        return not self.left(name)

    def path(self, name: str, relative: str = ".") -> Path:
        """Give where something of a host's own is, as seen from here."""
        return Path(f"/proc/{self.hosts[name].pid}/root{self.own}", relative)

    def remove_kept(self, name: str) -> None:
        """Remove what a node has kept that was lost before all it wrote could be brought."""
        for path in self.path(name, f"node/regiment-{os.getuid()}").iterdir():
            if path.name != "cache":
                shutil.rmtree(path)

    def entries(self, name: str) -> set[str]:
        """Give what Regiment has on a host beside its cache."""
        own, node = self.path(name), self.path(name, "node")
        found = {str(path.relative_to(own)) for path in (*own.iterdir(), *node.iterdir(), *node.glob("regiment-*/*"))}
        return found - {"cache", "node", f"node/regiment-{os.getuid()}", f"node/regiment-{os.getuid()}/cache"}

    def _banner(self, name: str) -> bytes:
        argv = ("ssh-keyscan", "-T", "1", "-t", "ed25519", f"{self.net}.{name[1:]}")
        return subprocess.run(argv, capture_output=True, check=False).stdout.upper()

    def _write_files(self, names: list[str]) -> None:
        for key in ("host_key", "key"):
            argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
            subprocess.run(argv, check=True)
        host_key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        addresses = {name: f"{self.net}.{name[1:]}" for name in names}
        (self.folder / "hosts").write_text(
            "".join(f"{address} {name}\n" for name, address in {"localhost": "127.0.0.1", **addresses}.items())
        )
        (self.folder / "known_hosts").write_text(
            "".join(f"{name},{address} {host_key}\n" for name, address in addresses.items())
        )
        blocks = "".join(f"Host {name}\n  HostName {address}\n" for name, address in addresses.items())
        (self.folder / "config").write_text(blocks + _SSH.format(folder=self.folder))
        for name in names:
            shutil.copy(self.folder / "key.pub", self.folder / f"authorized-{name}")

    def _connect(self) -> None:
        switch, *hosts = self.machines
        wires = [
            f"link add p{index} type veth peer name eth0 netns {host.pid}\nlink set p{index} master br0 up"
            for index, host in enumerate(hosts, 1)
        ]
        wires.append(f"link add ours type veth peer name {self.link} netns {os.getpid()}\nlink set ours master br0 up")
        switch.network("\n".join(("link add br0 type bridge", "link set br0 up", *wires)))
        for index, host in enumerate(hosts, 1):
            host.network(f"addr add {self.net}.{index}/24 dev eth0\nlink set eth0 up")
        self._address_ours()

    def _address_ours(self) -> None:
        ours = f"addr add {self.net}.253/24 dev {self.link}\nlink set {self.link} up"
        subprocess.run(("ip", "-batch", "-"), input=ours, text=True, check=True)

    def slow_down(self, round_trip: float) -> None:
        """Have that many seconds more from this machine to a host and back, by another cable."""
        switch = self.machines[0]
        subprocess.run(("ip", "link", "del", self.link), check=True)
        inside = ("nsenter", "--target", str(switch.pid), "--net", sys.executable, str(_WIRE))
        self._wire = subprocess.Popen(
            (*DIES_WITH_US, *inside, "far", self.link, str(round_trip / 2)), stdout=subprocess.PIPE, text=True
        )
        assert self._wire.stdout is not None
        assert self._wire.stdout.readline() == "ready\n"
        switch.network(f"link set far master br0 up\nlink set {self.link} netns {os.getpid()}")
        self._address_ours()

    def cut(self, name: str) -> None:
        """Take a host's cable out: no packet reaches it any more, and nobody is told."""
        self.hosts[name].network("link set eth0 down")

    def mend(self, name: str) -> None:
        """Put it in again."""
        self.hosts[name].network("link set eth0 up")

    @property
    def bytes_sent(self) -> int:
        """How much the machine that submits has sent to all hosts together."""
        return int(Path(f"/sys/class/net/{self.link}/statistics/tx_bytes").read_text())

    def unplug(self) -> None:
        """Take out the cable of the machine that submits."""
        subprocess.run(("ip", "link", "set", self.link, "down"), check=True)

    def plug_in(self) -> None:
        """Put it in again."""
        subprocess.run(("ip", "link", "set", self.link, "up"), check=True)

    def end(self) -> None:
        """End all and take away what was made for them."""
        for machine in reversed(self.machines):
            machine.end()
        for sshd in self._sshds.values():
            sshd.wait()
        if self._wire is not None:
            self._wire.kill()
            self._wire.communicate()
        subprocess.run(("ip", "link", "del", self.link), check=False, stderr=subprocess.DEVNULL)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass  # Its parent has taken it along.


@contextmanager
def open_bed(hidden: Path, count: int = HOSTS) -> Iterator[Bed]:
    """Give so many running hosts."""
    folder = Path(tempfile.mkdtemp(prefix="ssh-", dir="/tmp"))
    bed = Bed(folder, hidden, count)
    try:
        bed.start()
        yield bed
    finally:
        bed.end()
        shutil.rmtree(folder)
