"""The grammar of the command line, and nothing that a command needs to run."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from functools import cache

from .output import add_output_flags

COMPUTES = ("local", "slurm", "ssh")
"""Types of compute targets that jobs can run on."""
LATER_COMPUTES = ("kubernetes",)
"""Types of compute targets that are known by name only."""
DATA_KINDS = ("uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model")

_FLAGS_FOR_FLAGS = ("--torchrun-arg", "--mpirun-arg")
"""Flags whose values are flags of another program."""

Add = Callable[[argparse.ArgumentParser], None]


def split_command(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """Split at the first `--`: what follows is the user's command and never read as flags of ours.

    With `-c NAME`, as in `run -c sklearn train.py --lr 0.1`, it begins at the first word that names a Python file.
    """
    if "--" in arguments:
        place = arguments.index("--")
        return arguments[:place], arguments[place + 1 :]
    if not any(word in ("-c", "--runconfig") or word.startswith("--runconfig=") for word in arguments):
        return arguments, None
    for place, word in enumerate(arguments):
        if word.endswith(".py") and not word.startswith("-") and "=" not in word:
            return arguments[:place], arguments[place:]
    return arguments, None


def join_flags(words: list[str]) -> list[str]:
    """Write `--mpirun-arg --bind-to` as one word: argparse takes every word with a dash for a flag of ours."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _FLAGS_FOR_FLAGS:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


class _Formatter(argparse.HelpFormatter):
    """One that knows how wide the terminal is: left to itself it imports `shutil` to ask, for each flag that is added.

    The name of each flag's value is checked with one of these, help or no help.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width())


@cache
def _terminal_width() -> int:
    """Give the width that help is written in, by the rules of `shutil.get_terminal_size` and argparse."""
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdigit() and int(columns) else os.get_terminal_size(1).columns
    except OSError:
        width = 80
    return (width or 80) - 2


def make_parser(command: str | None) -> argparse.ArgumentParser:
    """Make the parser; the flags of other commands than `command` are left out, for speed."""
    parser = argparse.ArgumentParser(
        prog="regiment",
        description="Launch distributed training: one job file, any machines, every run on record.",
        epilog="'regiment COMMAND --help' tells more about a command.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"regiment {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, text, add_flags) in _COMMANDS.items():
        sub = commands.add_parser(
            name, help=text, description=_sentence(text), allow_abbrev=False, formatter_class=_Formatter
        )
        sub.set_defaults(run=run)
        if command == name:
            add_flags(sub)
            if name not in _GROUPS:
                _add_workspace(sub)
    return parser


def _version() -> str:
    from regiment import __version__

    return __version__


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        help="the folder with all runs (default: REGIMENT_WORKSPACE, or the nearest .regiment/ upward, or ./.regiment)",
    )


def _job_flags(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [flags] JOB.yml | {parser.prog} [flags] -- COMMAND ..."
    parser.set_defaults(emulated=True)
    parser.add_argument("job_file", metavar="JOB.yml", nargs="?", help="the job file; without one, -- COMMAND ...")
    add = parser.add_argument
    add("-c", "--runconfig", metavar="NAME", help="run a script, -c NAME train.py ..., as NAME.runconfig says")
    add("--lenient", action="store_true", help="of a key given twice in the job file take the last, as Azure ML does")
    add("--nodes", "--nnodes", type=_nodes, metavar="N", help="number of nodes; MIN:MAX for an elastic PyTorch job")
    add("--nproc", "--nproc-per-node", metavar="M", type=_nproc, help="processes on each node: a number, auto or gpu")
    add("--type", choices=("pytorch", "tensorflow", "mpi"), help="the framework, as 'distribution: type' in a job file")
    add("--start-method", choices=("torchrun", "spawn", "fork"), help="how processes are started (default: torchrun)")
    add("--preload", action="append", metavar="M", help="a module to import once a node for fork; may be repeated")
    add("--torchrun-arg", action="append", default=[], metavar="FLAG", help="a flag for torchrun; may be repeated")
    add("--workers", type=_positive, metavar="N", help="workers of a TensorFlow job (default: one a node)")
    add("--parameter-servers", type=_not_negative, metavar="N", help="parameter servers of a TensorFlow job")
    add("--chief", action="store_true", default=None, help="a TensorFlow job has a chief besides its workers")
    add("--evaluator", action="store_true", default=None, help="a TensorFlow job has an evaluator besides its workers")
    add("--stop-when", choices=("workers", "chief", "all"), help="which tasks of a TensorFlow job have to complete")
    add("--mpirun", metavar="PATH", help="the mpirun to use (default: the first found)")
    add("--mpirun-arg", action="append", default=[], metavar="FLAG", help="a flag for mpirun; may be repeated")
    add("--prefix", metavar="PROGRAM", help="start each process with this before its command, such as 'strace -f'")
    add("--prefix-ranks", type=_ranks, metavar="R,...", help="only these ranks (default: all)")
    add(
        "--bind", choices=("none", "cpus", "numa"), help="bind each process to processors of its own, or to a NUMA node"
    )
    add("--env", action="append", default=[], metavar="K[=V]", help="set a variable, or pass on the caller's")
    add("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="change a key of the job file")
    add("--input", action="append", default=[], metavar="NAME=PATH", dest="inputs", help="use this for an input")
    add("--code", metavar="DIR", help="snapshot this folder and run in a copy of it")
    add("--compute", metavar="NAME", help="where to run (default: local)")
    add("--name", metavar="ID", help="the run's id")
    add("--experiment", metavar="NAME", help="the experiment it belongs to (default: the current folder's name)")
    add("--timeout", type=_time_limit, metavar="SECONDS", help="cancel the run when it has taken that long")
    add("--grace", type=_seconds, metavar="SECONDS", help="between SIGTERM and SIGKILL (default: 30)")
    add(
        "--ledger", action="store_true", default=None, help="record imports, rendezvous and first step: show --timeline"
    )
    add("--max-restarts", type=_not_negative, metavar="R", help="start again after a failure, so often (default: 0)")


def _agent_flags(parser: argparse.ArgumentParser) -> None:
    _job_flags(parser)
    parser.set_defaults(emulated=False)
    add = parser.add_argument
    add("--node-rank", metavar="R", help="which of the nodes this one is, from 0 (default: as its system says)")
    add("--master", metavar="ADDRESS[:PORT]", help="where the others reach node 0 (default: as its system says)")
    add("--key-file", metavar="FILE", help="the file with the run's key (default: REGIMENT_KEY_FILE)")
    add("--explain", action="store_true", help="say what is found of this node's place, and start nothing")
    add_output_flags(parser)
    add(
        "--start-timeout",
        type=_time_limit,
        default=600.0,
        metavar="SECONDS",
        help="for all nodes to come (default: 600)",
    )
    add(
        "--stop-grace",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="between SIGTERM and SIGKILL from whoever started this, in which all has to end (default: 10)",
    )
    add("--run-folder", metavar="DIR", help="in a task of Slurm's: the folder of a run that was submitted to it")
    add("--quiet", "-q", action="store_true", help="print errors only")
    add("--pass-exit-code", action="store_true", help="end with the exit code of the process that failed first")


def _run_flags(parser: argparse.ArgumentParser) -> None:
    _job_flags(parser)
    _host_flags(parser)
    _attendance_flags(parser)


def _host_flags(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--hosts", metavar="HOSTS", help="run on these hosts, over ssh: gpu[01-16], or a:8,b:8")
    parser.add_argument("--hostfile", metavar="FILE", help="run on the hosts that this file names, over ssh")


def _attendance_flags(parser: argparse._ActionsContainer) -> None:
    add = parser.add_argument
    add("--detach", action="store_true", help="print the run's id and leave it running")
    add("--quiet", "-q", action="store_true", help="print errors only")
    add("--interactive", type=_not_negative, metavar="RANK", help="give this terminal to one process, for a debugger")
    add("--launch-with", choices=("srun", "flux"), default="srun", help="what starts the nodes inside a job of Slurm's")
    add("--pass-exit-code", action="store_true", help="end with the exit code of the process that failed first")


def _plan_flags(parser: argparse.ArgumentParser) -> None:
    _job_flags(parser)
    _host_flags(parser)
    # They change nothing in a plan; who puts `plan` for `run` need not take them out.
    _attendance_flags(parser.add_argument_group("accepted as 'run' takes them, and of no effect on a plan"))
    add_output_flags(parser)


def _validate_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_file", metavar="JOB.yml")
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="change a key of the job file")
    add("--no-paths", action="store_true", help="local files and folders need not exist")
    add("--lenient", action="store_true", help="of a key given twice take the last, as Azure ML does")
    add_output_flags(parser)


def _no_flags(parser: argparse.ArgumentParser) -> None:
    """Leave a command without flags of its own."""


def _init_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one; without it, list them")
    parser.add_argument("folder", metavar="DIR", nargs="?", help="where to copy it to (default: ./NAME)")
    parser.add_argument("--list", action="store_true", help="list them")
    add_output_flags(parser)


def _list_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--experiment", metavar="NAME", help="only runs of this experiment")
    add("--status", metavar="STATUS", help="only runs with this status, for example Failed")
    add("--tag", action="append", default=[], metavar="K[=V]", help="only runs with this tag; may be repeated")
    add(
        "--property", action="append", default=[], metavar="K[=V]", help="only runs with this property; may be repeated"
    )
    add("--parent", metavar="RUN", help="only the children of this run")
    add("--children", action="store_true", help="runs that have a parent, too")
    add("--tree", action="store_true", help="below each run those that came of it")
    _archived_flags(parser)
    last = parser.add_mutually_exclusive_group()
    last.add_argument("--last", type=_positive, metavar="N", help="only the newest N (default: 50 in a table)")
    last.add_argument("--all", action="store_true", help="also in a table all of them")
    add_output_flags(parser)


def _archived_flags(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--archived", action="store_true", help="only what is archived")
    which.add_argument("--include-archived", action="store_true", help="what is archived, too")


def _tag_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    add = parser.add_argument
    add("tags", metavar="K[=V]", nargs="*", help="a tag to set, with a value or without")
    add("--remove", action="append", default=[], metavar="K", help="a tag to take away; may be repeated")
    add("--property", action="append", default=[], metavar="K=V", help="a property to add, which never changes")


def _archive_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", nargs="?", help="the run's id")
    parser.add_argument("--experiment", metavar="NAME", help="an experiment, with all its runs")


def _experiments_flags(parser: argparse.ArgumentParser) -> None:
    add = _group(parser, {"list": ("runs:list_experiments", "list experiments that have runs")})
    _archived_flags(add["list"])
    add_output_flags(add["list"])


def _warm_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--preload",
        type=_names,
        default=("torch",),
        metavar="MODULES",
        help="what to import, as 'preload' in a job file, with commas between (default: torch)",
    )
    add("--for", type=_duration, dest="seconds", default=3600.0, metavar="TIME", help="how long (default: 1h)")
    add("--any-env", type=_names, metavar="NAMES", default=(), help="variables that no import depends on")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--list", action="store_true", help="show what is kept")
    kinds.add_argument("--stop", action="store_true", help="keep nothing any more; runs that use it go on")
    add_output_flags(parser)


def _run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run's id")


def _show_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    parser.add_argument("--diff", metavar="OTHER", help="show in what it differs from another run")
    parser.add_argument("--timeline", action="store_true", help="show where the time of its start went")
    parser.add_argument("--attempt", type=_not_negative, metavar="N", help="of this attempt (default: the newest)")
    parser.add_argument("--trace", metavar="FILE", help="write the timeline of all attempts for Perfetto")
    add_output_flags(parser)


def _logs_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="go on as the logs grow, until the run ends")
    add("--rank", type=_not_negative, metavar="R", help="only this process")
    add("--node", type=_not_negative, metavar="N", help="only the processes of this node")
    add("--tail", type=_not_negative, metavar="K", help="only the last K lines of each log")


def _wait_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="give up waiting after that")


def _cancel_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    parser.add_argument("--force", action="store_true", help="kill its processes at once")


def _metrics_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    parser.add_argument("--name", metavar="METRIC", help="every value of this one")
    add_output_flags(parser)


def _download_flags(parser: argparse.ArgumentParser) -> None:
    _run_argument(parser)
    which = parser.add_mutually_exclusive_group()
    sets = {
        "outputs": "only what the job wrote to ./outputs, and what was uploaded",
        "logs": "only logs, of all attempts",
        "all": "the logs of earlier attempts too",
    }
    for name, text in sets.items():
        which.add_argument(f"--{name}", dest="which", action="store_const", const=name, default="newest", help=text)
    add = parser.add_argument
    add("--path", metavar="P", help="only this file or folder of the run, such as outputs/model.pt")
    add("--to", "-p", "--download-path", metavar="DIR", help="where to (default: a folder with the run's id)")
    add("--zip", action="store_true", help="put it all into one zip (default: RUN.zip)")
    add("--list", action="store_true", help="list the files")
    add_output_flags(parser)


def _data_flags(parser: argparse.ArgumentParser) -> None:
    add = _group(
        parser,
        {
            "add": ("registry:add_data", "give data a name"),
            "list": ("registry:list_data", "list named data, the latest version of each"),
            "show": ("registry:show_data", "show one version of named data"),
        },
    )
    add["add"].add_argument("name", metavar="NAME")
    add["add"].add_argument("--path", required=True, metavar="PATH", help="a file, a folder or a URL")
    add["add"].add_argument("--version", metavar="V", help="its version (default: the next number)")
    add["add"].add_argument("--kind", "--type", choices=DATA_KINDS, help="what it is (default: as found)")
    add["add"].add_argument("--description", metavar="TEXT")
    add["list"].add_argument("name", metavar="NAME", nargs="?", help="list all versions of this")
    add["show"].add_argument("name", metavar="NAME")
    add["show"].add_argument("--version", metavar="V", help="the version (default: the latest)")
    for name in ("list", "show"):
        add_output_flags(add[name])


def _compute_flags(parser: argparse.ArgumentParser) -> None:
    add = _group(
        parser,
        {
            "add": ("registry:add_compute", "give a compute target a name"),
            "list": ("registry:list_computes", "list compute targets"),
            "show": ("registry:show_compute", "show one compute target"),
            "remove": ("registry:remove_compute", "forget a compute target"),
        },
    )
    for name in ("add", "show", "remove"):
        add[name].add_argument("name", metavar="NAME")
    add["add"].add_argument("--type", required=True, choices=(*COMPUTES, *LATER_COMPUTES), help="what it is")
    add["add"].add_argument("--hosts", metavar="HOSTS", help="of type ssh: gpu[01-16], or a,b, as ssh knows them")
    add["add"].add_argument("--python", metavar="PATH", help="the Python on its nodes (default: the one that submits)")
    add["add"].add_argument(
        "--start-timeout", type=_time_limit, metavar="SECONDS", help="for nodes to come (default: 600, on hosts 60)"
    )
    _slurm_flags(add["add"].add_argument_group("of type slurm, options of sbatch"))
    for name in ("list", "show"):
        add_output_flags(add[name])


def _slurm_flags(parser: argparse._ActionsContainer) -> None:
    add = parser.add_argument
    add("--partition", metavar="P", help="where jobs are queued")
    add("--account", metavar="A", help="who is charged")
    add("--time", metavar="T", help="how long a job may take, as Slurm writes it: 90 (minutes), 12:00:00, 2-00:00:00")
    add("--gpus-per-node", metavar="N", help="GPUs a node, such as 8 or a100:8")
    add("--cpus-per-node", metavar="N", type=_positive, help="processors a node (default: one a process)")
    add("--sbatch", action="append", default=[], metavar="OPTION[=VALUE]", help="any other option; may be repeated")


def _group(parser: argparse.ArgumentParser, actions: dict[str, tuple[str, str]]) -> dict[str, argparse.ArgumentParser]:
    """Give a command commands of its own."""
    found = {}
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    for name, (run, text) in actions.items():
        found[name] = sub = commands.add_parser(
            name, help=text, description=_sentence(text), allow_abbrev=False, formatter_class=_Formatter
        )
        sub.set_defaults(run=run)
        _add_workspace(sub)
    return found


_GROUPS = frozenset({"data", "compute", "experiments"})
"""Commands that are only groups of others."""

_COMMANDS: dict[str, tuple[str, str, Add]] = {
    "run": ("start:run", "run a job file or a command", _run_flags),
    "agent": ("agent:agent", "be one node of a run, as the entrypoint of a container", _agent_flags),
    "plan": ("plan:plan", "show what a run would start, without starting it", _plan_flags),
    "validate": ("plan:validate", "check a job file", _validate_flags),
    "schema": ("plan:schema", "print the JSON schema of the job file, for editors", _no_flags),
    "init": ("init:init", "copy a ready job to begin with", _init_flags),
    "list": ("runs:list_runs", "list runs", _list_flags),
    "show": ("read:show", "show one run", _show_flags),
    "logs": ("read:logs", "print a run's logs", _logs_flags),
    "wait": ("read:wait", "wait for a run and end with its exit status", _wait_flags),
    "cancel": ("read:cancel", "stop a run", _cancel_flags),
    "rejoin": ("read:rejoin", "start the lost nodes of an elastic run again", _run_argument),
    "metrics": ("metrics:metrics", "show what a run has logged", _metrics_flags),
    "download": ("download:download", "copy a run's files", _download_flags),
    "tag": ("runs:tag", "tag a run, or add properties", _tag_flags),
    "archive": ("runs:archive", "leave a run or an experiment out of lists", _archive_flags),
    "restore": ("runs:restore", "show an archived run or experiment again", _archive_flags),
    "experiments": ("", "list experiments", _experiments_flags),
    "warm": ("warm:warm", "keep modules imported for runs with start_method fork", _warm_flags),
    "reindex": ("runs:reindex", "make the index of the workspace anew", _no_flags),
    "data": ("", "name data, and look up what has a name", _data_flags),
    "compute": ("", "name compute targets, and look them up", _compute_flags),
}


def _positive(text: str, wanted: str = "a whole number, 1 or more") -> int:
    number = _whole(text, wanted)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _nodes(text: str) -> tuple[int | None, int]:
    wanted = "a number of nodes, or MIN:MAX"
    fewest, colon, most = text.partition(":")
    if not colon:
        return None, _positive(text, wanted)
    first, last = _positive(fewest, wanted), _positive(most, wanted)
    if first > last:
        raise argparse.ArgumentTypeError(f"{text}: the smaller number comes first")
    return first, last


def _ranks(text: str) -> tuple[int, ...]:
    return tuple(_not_negative(part, "ranks with commas between them, such as 0,3") for part in text.split(","))


def _not_negative(text: str, wanted: str = "a whole number, 0 or more") -> int:
    number = _whole(text, wanted)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return number


def _whole(text: str, wanted: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {wanted}, found {text[:60]!r}") from None


def _nproc(text: str) -> int | str:
    return text if text in ("auto", "gpu") else _positive(text, "a number of processes, auto or gpu")


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _duration(text: str) -> float:
    """Read `90`, `90s`, `30m`, `1.5h` or `2d`."""
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:], 0)
    return _seconds(text[:-1]) * factor if factor else _seconds(text)


def _time_limit(text: str) -> float:
    number = _seconds(text)
    if number == 0:
        raise argparse.ArgumentTypeError("expected a time limit above 0 seconds; leave it out for none")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0 or more, found {text[:60]!r}")
    return number
