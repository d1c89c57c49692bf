"""What a decision can ask the coordinator to do."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class PrepareNode:
    """Let a node copy the code."""

    node: int


@dataclass(frozen=True)
class StartProcesses:
    """Make the plan and let every node start its processes."""


@dataclass(frozen=True)
class LaunchNode:
    """Start a lost node's agent again."""

    node: int


@dataclass(frozen=True)
class StartNodeProcesses:
    """Let one node start its processes, which join those of the others."""

    node: int


@dataclass(frozen=True)
class StopNode:
    """End a node's processes: SIGTERM, `grace` seconds, SIGKILL; with no grace, SIGKILL at once."""

    node: int
    grace: float


@dataclass(frozen=True)
class FenceNode:
    """Make sure by other means than its agent that a lost node runs nothing of ours."""

    node: int


@dataclass(frozen=True)
class AwaitEnd:
    """Say that what a lost node ran is waited for: it ends by itself."""

    node: int
    until: float
    """When it has, by the clock that decisions are made with."""


@dataclass(frozen=True)
class AskNode:
    """Ask a node whether it is there."""

    node: int
    question: int


@dataclass(frozen=True)
class LetStart:
    """Let a node's elastic launcher start what it wants to."""

    node: int


@dataclass(frozen=True)
class MeetAgain:
    """Have a node's elastic launcher start its processes again, and so those of all others."""

    node: int


@dataclass(frozen=True)
class SignalNode:
    """Send a signal to each of a node's processes, once, and not to what those have started."""

    node: int
    signal: str


@dataclass(frozen=True)
class JudgeAttempt:
    """Read the logs of an attempt that failed, to know what kind of cause it was."""


@dataclass(frozen=True)
class EndAttempt:
    """Tell that an attempt has failed and that another one follows."""

    pause: float
    """Seconds until then."""
    left: int
    """How many more restarts for such a cause there may be after that one, for now."""


@dataclass(frozen=True)
class BeginAttempt:
    """Make the folders of the state's attempt and tell of it."""


@dataclass(frozen=True)
class Say:
    """Tell everybody something that a person should know."""

    text: str


@dataclass(frozen=True)
class CollectNode:
    """Bring in what the job wrote on a node."""

    node: int


@dataclass(frozen=True)
class ReleaseNode:
    """Tell a node's agent to go."""

    node: int


@dataclass(frozen=True)
class EndRun:
    """Write the verdict and end."""


Action = (
    PrepareNode
    | StartProcesses
    | LaunchNode
    | StartNodeProcesses
    | StopNode
    | FenceNode
    | AwaitEnd
    | AskNode
    | LetStart
    | MeetAgain
    | SignalNode
    | JudgeAttempt
    | EndAttempt
    | BeginAttempt
    | Say
    | CollectNode
    | ReleaseNode
    | EndRun
)
