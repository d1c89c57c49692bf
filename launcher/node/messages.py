"""The messages between coordinator, agents and viewers, checked by type when they arrive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from regiment.distribution.circumstances import Circumstances
from regiment.distribution.plan import NodePlan
from regiment.jobs.dataclass import dataclass, field
from regiment.jobs.errors import ProtocolError
from regiment.jobs.ledger import LedgerRow
from regiment.jobs.placement import Interface
from regiment.jobs.plain import PlainError, from_plain, to_plain

PROTOCOL = 1
"""Version of the messages; both sides say theirs first."""

# --- coordinator to agent ---------------------------------------------------------------------------


@dataclass(frozen=True)
class CoordinatorHello:
    """The coordinator introduces itself."""

    protocol: int
    run_id: str
    type: Literal["coordinatorHello"] = "coordinatorHello"


@dataclass(frozen=True)
class ReservePorts:
    """Find and hold ports for the job's processes."""

    count: int
    type: Literal["reservePorts"] = "reservePorts"


@dataclass(frozen=True)
class Prepare:
    """Make the folder the processes run in, and the one for their logs."""

    working_folder: str
    logs: str
    """The attempt's `azureml-logs`."""
    code: str | None = None
    """The snapshot to copy into the working folder, or None to run in it as it stands."""
    log_prefix: str = ""
    """The node's subfolder of `logs`, with a slash at its end."""
    plan: NodePlan | None = None
    """What is planned for the node so far, where it has inputs or outputs."""
    is_again: bool = False
    """Whether the node was there before, in an earlier attempt or until it was lost: what it left in its folders is
    used again."""
    gpus: tuple[str, ...] = ()
    """GPUs whose memory an earlier attempt has to have given back before this one starts."""
    looks_at_outputs: bool = False
    """Whether it is asked at the attempt's end if that has written anything new."""
    type: Literal["prepare"] = "prepare"


@dataclass(frozen=True)
class Terminal:
    """A terminal for one rank, in place of its log."""

    rank: int
    path: str
    """The terminal's device."""


@dataclass(frozen=True)
class Start:
    """Start the processes."""

    plan: NodePlan
    terminal: Terminal | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    """What the processes of all nodes get besides, encoded once for all."""
    packed_environ: str = ""
    """The same where that is long, as it is with many nodes: its JSON, compressed by zlib and in base64."""
    type: Literal["start"] = "start"

    @property
    def shared_environ(self) -> Mapping[str, str]:
        """Give what the processes of all nodes get besides."""
        if not self.packed_environ:
            return self.environ
        import zlib  # Most runs are small.
        from binascii import a2b_base64

        environ: dict[str, str] = json.loads(zlib.decompress(a2b_base64(self.packed_environ)))
        return environ


@dataclass(frozen=True)
class StartDaemon:
    """Run what another node's launcher would have run here through ssh."""

    origin: int
    """The node whose launcher wants it."""
    call: int
    """Its number among that node's remote shells."""
    line: str
    """A line for the shell."""
    type: Literal["startDaemon"] = "startDaemon"


@dataclass(frozen=True)
class RemoteShellEnded:
    """What one of this node's remote shells ran on another node has ended."""

    call: int
    status: int
    """Exit code as a shell gives it; 255 as ssh does, where it could not be run."""
    type: Literal["remoteShellEnded"] = "remoteShellEnded"


@dataclass(frozen=True)
class Stop:
    """End the processes: SIGTERM, `grace` seconds, SIGKILL; with no grace, SIGKILL at once."""

    grace: float
    type: Literal["stop"] = "stop"


@dataclass(frozen=True)
class Notify:
    """Tell the processes that the scheduler will take the nodes away."""

    signal: str
    """The name of the signal that each of them gets once."""
    source: str
    remaining: float | None = None
    """Seconds they have, where that is known."""
    type: Literal["notify"] = "notify"


@dataclass(frozen=True)
class Collect:
    """Bring ./outputs and ./logs into the run folder and put the working folder away."""

    type: Literal["collect"] = "collect"


@dataclass(frozen=True)
class Ping:
    """Give a sign of life."""

    question: int = 0
    """To be given back; 0 where nobody counts on the answer's being new."""
    type: Literal["ping"] = "ping"


@dataclass(frozen=True)
class Door:
    """Where an agent listens so that others can try whether they reach it."""

    port: int
    key: str
    """What it proves with that it is that agent."""


@dataclass(frozen=True)
class Target:
    """A node that another one is to try to reach."""

    node: int
    door: Door
    addresses: tuple[str, ...]
    """The one first that will be taken if it can be reached."""


@dataclass(frozen=True)
class TryAddresses:
    """Try at which addresses these nodes can be reached."""

    targets: tuple[Target, ...]
    all: bool = False
    """Whether the others are of interest too where the first one answers."""
    type: Literal["tryAddresses"] = "tryAddresses"


@dataclass(frozen=True)
class LetStart:
    """Start what the node's elastic launcher has asked to."""

    type: Literal["letStart"] = "letStart"


@dataclass(frozen=True)
class MeetAgain:
    """End one of the processes of the node's elastic launcher, so that it meets the others again."""

    type: Literal["meetAgain"] = "meetAgain"


@dataclass(frozen=True)
class Release:
    """Go."""

    type: Literal["release"] = "release"


@dataclass(frozen=True)
class JobAnswer:
    """The answer to what a process of the job has asked, or why there is none."""

    call: int
    answer: Any = None
    refusal: str | None = None
    exit_status: int = 0
    """Tells which error a refusal is."""
    type: Literal["jobAnswer"] = "jobAnswer"


ToAgent = (
    CoordinatorHello
    | ReservePorts
    | Prepare
    | Start
    | StartDaemon
    | RemoteShellEnded
    | Stop
    | Notify
    | Collect
    | Ping
    | TryAddresses
    | LetStart
    | MeetAgain
    | Release
    | JobAnswer
)

# --- agent to coordinator ---------------------------------------------------------------------------


@dataclass(frozen=True)
class AgentHello:
    """A node's agent introduces itself and its machine."""

    protocol: int
    node: int
    pid: int
    keeper_pid: int
    host: str
    address: str
    cpus: tuple[int, ...]
    numa: tuple[tuple[int, ...], ...]
    """The processors of each of the machine's NUMA nodes."""
    boot_id: str
    """Two nodes with one boot id have one clock."""
    root: str = ""
    """The folder that it works in where it doesn't see the run folder."""
    door: Door | None = None
    """Where other nodes can try whether they reach it."""
    place: str = ""
    """Its boot and its processes' namespace: two lives of a node with one place see each other's processes."""
    interfaces: tuple[Interface, ...] = ()
    """The addresses of its machine, where it is one of several machines."""
    type: Literal["agentHello"] = "agentHello"


@dataclass(frozen=True)
class Answers:
    """Where a node that was to be tried has answered."""

    node: int
    addresses: tuple[str, ...]
    """None where it has nowhere; once the first that was given has answered, the others are not waited for."""


@dataclass(frozen=True)
class Reached:
    """What has come of the tries."""

    nodes: tuple[Answers, ...]
    type: Literal["reached"] = "reached"


@dataclass(frozen=True)
class PortsReserved:
    """The ports that are held."""

    ports: tuple[int, ...]
    type: Literal["portsReserved"] = "portsReserved"


@dataclass(frozen=True)
class Measured:
    """Something of the start that only the node sees: a row of the ledger."""

    row: LedgerRow
    type: Literal["measured"] = "measured"


@dataclass(frozen=True)
class Prepared:
    """The node is ready to start processes."""

    type: Literal["prepared"] = "prepared"


@dataclass(frozen=True)
class Failed:
    """The node could not do its part."""

    reason: str
    type: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Started:
    """A process runs."""

    rank: int
    pid: int
    given_rank: int | None = None
    """The rank that an elastic launcher gave it."""
    type: Literal["started"] = "started"


@dataclass(frozen=True)
class Exited:
    """A process has ended."""

    rank: int
    exit_code: int | None
    signal: str | None
    asked: bool
    """Whether we or its launcher had sent it a signal before."""
    at: float
    """The node's monotonic clock, in seconds."""
    circumstances: Circumstances | None = None
    """What the node saw besides, where the process ended otherwise than well and than it was asked to."""
    type: Literal["exited"] = "exited"


@dataclass(frozen=True)
class LauncherEnded:
    """The node's launcher has ended."""

    exit_code: int | None
    signal: str | None
    type: Literal["launcherEnded"] = "launcherEnded"


@dataclass(frozen=True)
class LauncherAsks:
    """The node's elastic launcher wants to start a process, and has to be let."""

    type: Literal["launcherAsks"] = "launcherAsks"


@dataclass(frozen=True)
class RemoteShell:
    """This node's launcher wants to run something on another node."""

    call: int
    """Its number among this node's remote shells."""
    host: str
    """The id of the other node."""
    line: str
    type: Literal["remoteShell"] = "remoteShell"


@dataclass(frozen=True)
class DaemonEnded:
    """What another node's launcher ran here has ended."""

    origin: int
    call: int
    status: int
    """As a shell gives it: 128 and the signal's number for one that was killed."""
    signal: str | None = None
    type: Literal["daemonEnded"] = "daemonEnded"


@dataclass(frozen=True)
class LogGrew:
    """A process's log has at least this many bytes."""

    rank: int
    size: int
    type: Literal["logGrew"] = "logGrew"


@dataclass(frozen=True)
class Stopped:
    """Nothing of the run is alive on the node but keeper and agent."""

    has_new_outputs: bool = False
    """Whether the attempt has left something new, where that was asked for."""
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class Collected:
    """What the job wrote there is in the run folder."""

    type: Literal["collected"] = "collected"


@dataclass(frozen=True)
class Pong:
    """The agent is there and works."""

    question: int = 0
    type: Literal["pong"] = "pong"


@dataclass(frozen=True)
class Note:
    """Something a person may want to know."""

    level: Literal["info", "warning"]
    text: str
    type: Literal["note"] = "note"


@dataclass(frozen=True)
class JobAsks:
    """A process of the job asks something of the record."""

    call: int
    """Its number among this node's questions."""
    request: Any
    type: Literal["jobAsks"] = "jobAsks"


@dataclass(frozen=True)
class Noticed:
    """Somebody (a scheduler, most likely) gave us notice by a signal that the nodes will be taken away."""

    signal: str
    grace: float | None = None
    """Seconds that the processes have, where the node is being taken away already."""
    type: Literal["noticed"] = "noticed"


FromAgent = (
    AgentHello
    | Reached
    | PortsReserved
    | Measured
    | Prepared
    | Failed
    | Started
    | Exited
    | LauncherEnded
    | LauncherAsks
    | RemoteShell
    | DaemonEnded
    | LogGrew
    | Stopped
    | Collected
    | Pong
    | JobAsks
    | Note
    | Noticed
)

# --- viewers to coordinator -------------------------------------------------------------------------


@dataclass(frozen=True)
class Watch:
    """Send all events from the first, then each new one."""

    protocol: int
    type: Literal["watch"] = "watch"


@dataclass(frozen=True)
class StopRun:
    """End the run; a second wish, or `force`, kills at once."""

    reason: str
    force: bool = False
    grace: float | None = None
    """At most this many seconds between SIGTERM and SIGKILL."""
    is_persons: bool = False
    """Whether a person wants it, and not just a signal."""
    type: Literal["stopRun"] = "stopRun"


@dataclass(frozen=True)
class QueuedAgain:
    """The scheduler ends this job to start it again later: end the attempt, which another one follows."""

    reason: str
    type: Literal["queuedAgain"] = "queuedAgain"


@dataclass(frozen=True)
class Requeued:
    """The answer to the event `requeue`: the scheduler has the job in its queue again, or says why not."""

    excluded: tuple[str, ...] = ()
    """The hosts that it does without from now on."""
    refusal: str | None = None
    type: Literal["requeued"] = "requeued"


@dataclass(frozen=True)
class LookAtRequests:
    """There is something new in the run's requests folder."""

    type: Literal["lookAtRequests"] = "lookAtRequests"


@dataclass(frozen=True)
class Rejoin:
    """Start the lost nodes of an elastic run again."""

    type: Literal["rejoin"] = "rejoin"


@dataclass(frozen=True)
class TerminalLog:
    """How much of what the terminal's rank printed is in its log, which the viewer writes."""

    size: int
    complete: bool
    """Whether that is all, for the rank has ended."""
    type: Literal["terminalLog"] = "terminalLog"


FromViewer = Watch | StopRun | QueuedAgain | Requeued | Noticed | LookAtRequests | Rejoin | TerminalLog


def pack(message: ToAgent | FromAgent | FromViewer) -> dict[str, Any]:
    """Turn a message into what a channel sends."""
    plain: dict[str, Any] = to_plain(message)
    return plain


def unpack(kind: Any, data: dict[str, Any]) -> Any:
    """Turn what a channel got into a message of that kind (a union of message types)."""
    try:
        return from_plain(kind, data)
    except PlainError as error:
        raise ProtocolError(f"a peer sent a message this version does not know: {error}") from None
