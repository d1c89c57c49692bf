"""The script that `sbatch` gets: what is asked for and why, then one `srun` that starts an agent on each node."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.spec import JobSpec, Options, SbatchOptions
from regiment.jobs.words import counted

from ..tasks import node_slots
from .container import contained

_PROCESSORS = frozenset({"cpus-per-task", "cpus-per-gpu", "exclusive"})
"""Options that say how many processors a node gives."""
_NOTICE = 60.0
"""Seconds that processes have from the notice to their end, where the job doesn't say."""
_MARGIN = 30.0
"""Seconds in which the agents collect and tidy up after the processes' end."""
SRUN = (
    "--cpu-bind=none",
    "--export=ALL",
    "--input=none",
    "--kill-on-bad-exit=0",
    "--mpi=none",
    "--wait=0",
)
_ABOUT_SRUN = """\
# One agent a node. Each may use all processors of its node's share and starts the processes itself, so Slurm neither
# binds them, nor ends the others when one ends: the coordinator, which is node 0's, decides that."""


@dataclass(frozen=True)
class Target:
    """The compute target that a script is for, and what is told apart from the job."""

    name: str
    sbatch: SbatchOptions
    run_id: str
    folder: str
    """Where the job starts, which has nothing of the user's in it."""
    log: str
    """The file for what srun and the agents print."""
    agent: tuple[str, ...]
    """The command that is an agent."""
    mounts: tuple[str, ...] = ()
    """The folders that a container has to show at their own places."""


@dataclass(frozen=True)
class _Option:
    name: str
    value: str | bool
    why: str

    @property
    def line(self) -> str:
        """The option as sbatch reads it."""
        if self.value is True:
            return f"#SBATCH --{self.name}"
        return f"#SBATCH --{self.name}={shlex.quote(str(self.value))}"


def sbatch_script(spec: JobSpec, target: Target) -> str:
    """Give the script; it holds no secret, for the queue shows it to others."""
    return "\n".join(_lines(spec, target)) + "\n"


def _lines(spec: JobSpec, target: Target) -> Iterator[str]:
    yield "#!/bin/bash"
    yield f"# Run {target.run_id} of Regiment. 'regiment plan' shows what this is without submitting it."
    given = given_options(target.sbatch, spec.options.slurm)
    for option in _wanted(spec, target):
        yield from ("#", f"# {option.why}", option.line)
    job = {name: value for name, value in spec.options.slurm.items() if value is not False}
    targets = {name: value for name, value in given.items() if name not in spec.options.slurm}
    for title, options in ((f"Of the compute target {target.name}:", targets), ("Of the job's regiment.slurm:", job)):
        if options:
            yield from ("#", f"# {title}")
            yield from (_Option(name, value, "").line for name, value in sorted(options.items()))
    yield from ("", _ABOUT_SRUN)
    no_kill = ("--no-kill",) if spec.options.min_nodes is not None else ()
    has_gpus = any(name.startswith("gpus") or name == "gres" for name in given)
    flags, agent = contained(spec.options.container, target.mounts, has_gpus, target.agent)
    yield shlex.join(("exec", "srun", *SRUN, *no_kill, *flags, *agent))


def given_options(target: SbatchOptions, job: SbatchOptions) -> dict[str, str | bool]:
    """Give the options of target and job together: the job's go before, and its false takes one away."""
    return {name: value for name, value in {**target, **job}.items() if value is not False}


def _wanted(spec: JobSpec, target: Target) -> Iterator[_Option]:
    """Give the options that are ours, but for those that the user gives, or takes away, himself."""
    said = {*target.sbatch, *spec.options.slurm}
    given = given_options(target.sbatch, spec.options.slurm)
    for option in _own_options(spec, target, given):
        if option.name not in said and f"no-{option.name}" not in given:
            yield option


def _own_options(spec: JobSpec, target: Target, given: Mapping[str, str | bool]) -> Iterator[_Option]:
    options, fewest = spec.options, spec.options.min_nodes
    yield _Option("job-name", target.run_id, "The queue calls it as Regiment does.")
    if fewest is None:
        yield _Option("nodes", str(spec.instance_count), "The job's resources.instance_count.")
    else:
        yield _Option("nodes", f"{fewest}-{spec.instance_count}", "The job's regiment.nodes, fewest and most.")
        yield _Option("no-kill", True, "An elastic run goes on when it loses a node.")
    yield _Option("ntasks-per-node", "1", "The one task of a node is its agent, which starts the processes.")
    if not _PROCESSORS & given.keys():
        slots = max(node_slots(spec))
        why = f"A processor for each of a node's {counted(slots, 'process', 'processes')}, as nothing else is said; "
        yield _Option("cpus-per-task", str(slots), f"{why}cpus-per-task asks for more.")
    if spec.timeout is not None:
        why = f"The job's limits.timeout of {spec.timeout:g} s, and the time to tell and end in."
        yield _Option("time", str(math.ceil((spec.timeout + notice_seconds(options)) / 60)), why)
    yield _Option("chdir", target.folder, "Nothing that lies there can be taken for a part of Regiment.")
    yield _Option(
        "output", target.log.replace("%", "%%"), "What srun and the agents say; the processes' logs are beside it."
    )
    yield _Option("open-mode", "append", "A job that is queued again goes on in that file.")
    yield _Option("requeue", True, "After the loss of a node or a preemption the run goes on as its next attempt.")
    yield _Option("signal", f"USR1@{notice_seconds(options)}", _about_notice(options))


def asked_share(spec: JobSpec, target: SbatchOptions) -> tuple[int, int]:
    """Give how many processors and GPUs are asked for on each node, where a number says it."""
    given = given_options(target, spec.options.slurm)
    cpus = _number(given.get("cpus-per-task")) or max(node_slots(spec))
    return cpus, _number(given.get("gpus-per-node")) or _number(given.get("gpus-per-task"))


def _number(value: str | bool | None) -> int:
    """Give the number that an option asks for, such as 8 of `a100:8`; 0 where there is none."""
    last = str(value).rpartition(":")[2]
    return int(last) if last.isascii() and last.isdecimal() else 0


def notice_seconds(options: Options) -> int:
    """Give how long before the end of its time a job is told: so that our grace is over before Slurm's begins."""
    notice = _NOTICE if options.preemption_grace is None else options.preemption_grace
    return math.ceil(notice + _ending(options))


def _ending(options: Options) -> float:
    return options.grace + _MARGIN


def _about_notice(options: Options) -> str:
    return f"So many seconds before its time is up the processes get a notice, and {options.grace:g} s of grace later."
