"""A real Slurm on this one machine: a controller and several nodes, each with an address and processes of its own.

The controller and each node have namespaces of their own for network, processes, host name and mounts, and a boot id of
their own, so that nothing works by accident that would not on machines. All share the disk, as on most clusters, but
each has an own folder for sockets. The namespaces have no names and live as long as their first process, which dies
with this one, even if that is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NODES = 4
CPUS = 8
"""That each node claims to have."""
GUARD = 60.0
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "setpriv", "unshare", "nsenter", "ip")
_CONF = """
ClusterName=regiment
SlurmctldHost=head({net}.254)
AuthType=auth/munge
AuthInfo=socket={folder}/munge,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SlurmdTimeout=10
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
KillWait=4
CompleteWait=0
ReturnToService=2
NodeName=n[1-{nodes}] NodeAddr={net}.[1-{nodes}] CPUs={cpus} RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
"""


def missing_programs() -> list[str]:
    """Give what this machine lacks for a cluster."""
    return [program for program in _PROGRAMS if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]


class Machine:
    """Namespaces that are like a machine of their own, as long as this lives."""

    def __init__(self, name: str, folder: Path, sockets: Path) -> None:
        self.name = name
        boot_id = folder / f"boot-{name}"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        steps = (
            "mount --make-rprivate /",
            "mount -t proc proc /proc",
            f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id",
            f"mount --bind {folder}/hosts /etc/hosts",  # As most clusters do, gloo's nodes look up their own names.
            f"mount -t tmpfs none {sockets}",
            f"hostname {name}",
            "ip link set lo up",
            "echo ready",
        )
        # The first process waits for whatever loses its parent there.
        script = f"{' && '.join(steps)} && sleep infinity & wait; wait"
        unshare = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "bash", "-c", script)
        self._process = subprocess.Popen(
            (*DIES_WITH_US, *unshare), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        pid = self._process.pid
        self.pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        """The first process in it, by its number here."""

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program in it."""
        inside = ("nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid")
        return subprocess.Popen((*inside, *argv), stdin=subprocess.DEVNULL, start_new_session=True)

    def run(self, *argv: str) -> None:
        """Run a program in it to its end."""
        assert self.start(*argv).wait(GUARD) == 0, argv

    def network(self, lines: str) -> None:
        """Change its network, a command of `ip` a line."""
        argv = ("nsenter", "--target", str(self.pid), "--net", "ip", "-batch", "-")
        subprocess.run(argv, input=lines, text=True, check=True)

    def processes(self) -> list[int]:
        """Give the processes in it, by their numbers here, without the first and the one that keeps that company."""
        group = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                if Path(f"/proc/{pid}/ns/pid").readlink() == group:
                    found.append(pid)
            except OSError:
                continue
        return found

    def end(self) -> None:
        """End it, with all that runs in it."""
        self._process.kill()
        self._process.communicate()


class Cluster:
    """A Slurm cluster; its partition is called `main`, its nodes `n1` and so on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = folder / "sockets"
        """Where each machine, and the login node, has its own sockets."""
        self.sockets.mkdir(mode=0o700)
        pid = os.getpid()
        self.net = f"10.{128 + (pid >> 8) % 64}.{pid & 255}"
        self.link = f"rgm{pid}"
        """The login node's way to it."""
        self._munged: subprocess.Popen[bytes] | None = None
        self.machines: list[Machine] = []
        """The controller, then the nodes."""

    @property
    def environ(self) -> dict[str, str]:
        """What tells Slurm's commands about this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    @property
    def nodes(self) -> dict[str, Machine]:
        """The nodes by their names."""
        return {machine.name: machine for machine in self.machines[1:]}

    def start(self) -> None:
        """Start it, and wait until all its nodes can be used."""
        self._write_files()
        munge = {name: self.folder / f"munge.{name}" for name in ("key", "pid", "log", "seed")}
        flags = (f"--{name}-file={path}" for name, path in munge.items())
        argv = (*DIES_WITH_US, "/usr/sbin/munged", "--foreground", "--force", f"--socket={self.folder}/munge", *flags)
        self._munged = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("head", *(f"n{index}" for index in range(1, NODES + 1))):
            self.machines.append(Machine(name, self.folder, self.sockets))
        self._connect()
        self.machines[0].run("/usr/sbin/slurmctld", "-f", self.environ["SLURM_CONF"])
        for name in self.nodes:
            self.start_slurmd(name)
        self.wait_until_idle()

    def _write_files(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        for name in ("state", *(f"{use}-n{index}" for use in ("spool", "tmp") for index in range(1, NODES + 1))):
            (self.folder / name).mkdir()
        names = {"localhost": "127.0.0.1", "head": f"{self.net}.254"}
        names.update((f"n{index}", f"{self.net}.{index}") for index in range(1, NODES + 1))
        (self.folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        conf = _CONF.format(folder=self.folder, net=self.net, nodes=NODES, cpus=CPUS)
        (self.folder / "slurm.conf").write_text(conf)

    def _connect(self) -> None:
        """Give each machine an address, all on one bridge in the controller; this process is the login node."""
        head, *nodes = self.machines
        wires = [
            f"link add p{index} type veth peer name eth0 netns {node.pid}\nlink set p{index} master br0 up"
            for index, node in enumerate(nodes, 1)
        ]
        wires.append(
            f"link add login type veth peer name {self.link} netns {os.getpid()}\nlink set login master br0 up"
        )
        head.network(
            "\n".join(("link add br0 type bridge", "link set br0 up", f"addr add {self.net}.254/24 dev br0", *wires))
        )
        for index, node in enumerate(nodes, 1):
            node.network(f"addr add {self.net}.{index}/24 dev eth0\nlink set eth0 up")
        ours = f"addr add {self.net}.253/24 dev {self.link}\nlink set {self.link} up"
        subprocess.run(("ip", "-batch", "-"), input=ours, text=True, check=True)

    def start_slurmd(self, name: str) -> None:
        """Start a node's daemon, also again."""
        argv = ("/usr/sbin/slurmd", "-f", self.environ["SLURM_CONF"], "-N", name)
        self.nodes[name].start("env", f"SLURM_CONF={self.environ['SLURM_CONF']}", *argv).wait(GUARD)

    def slurmd_pid(self, name: str) -> int:
        """Give a node's daemon, by its number here."""
        inner = int((self.folder / f"slurmd-{name}.pid").read_text())
        for pid in self.nodes[name].processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue  # One of a job's own, which has ended since it was listed.
            if f"\t{inner}\n" in next(line + "\n" for line in status.splitlines() if line.startswith("NSpid:")):
                return pid
        raise AssertionError(f"{name} has no slurmd")

    def ask(self, *argv: str) -> str:
        """Run a command of Slurm's on the login node; gives what it prints."""
        done = subprocess.run(argv, env={**os.environ, **self.environ}, text=True, capture_output=True, timeout=GUARD)
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout

    def jobs(self) -> list[str]:
        """Give the states of the jobs that are queued or run, `ID STATE` each."""
        return self.ask("squeue", "--noheader", "--format", "%i %T").splitlines()

    def wait_until_idle(self) -> None:
        """Wait until all nodes are there and have nothing to do; sets back those that a test has set down."""
        deadline = time.monotonic() + GUARD
        while (states := set(self.ask("sinfo", "--noheader", "--Node", "--format", "%T").split())) != {"idle"}:
            assert time.monotonic() < deadline, f"{states}\n{(self.folder / 'slurmctld.log').read_text()[-4000:]}"
            time.sleep(0.05)

    def clear(self) -> None:
        """End all jobs, and see to it that all nodes can be used again."""
        self.ask("scancel", "--quiet", "--user", "root")
        down = self.ask("sinfo", "--noheader", "--Node", "--states", "down,drain,fail", "--format", "%N").split()
        for name in down:
            # One that its daemon has brought back meanwhile is no more to be resumed.
            argv = ("scontrol", "update", f"nodename={name}", "state=resume")
            subprocess.run(argv, env={**os.environ, **self.environ}, check=False, capture_output=True)
        self.wait_until_idle()

    def end(self) -> None:
        """End it and take away all that was made for it."""
        for machine in reversed(self.machines):
            machine.end()
        if self._munged is not None:
            self._munged.kill()
            self._munged.wait()
        # It goes with the controller's namespace, but only some time later.
        subprocess.run(("ip", "link", "del", self.link), check=False, stderr=subprocess.DEVNULL)


@contextmanager
def open_cluster() -> Iterator[Cluster]:
    """Give a running cluster."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o711)  # munged wants everybody to reach its socket.
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(folder)
