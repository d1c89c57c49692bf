"""The git repository that a job's code is in: the properties Azure ML records, and the changes themselves."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from regiment.jobs.dataclass import dataclass

_LIMIT = 10.0
"""Seconds a look at a repository may take; a submission waits for it."""
_MOST_DIFF = 10 * 1024 * 1024
"""Bytes of changes that are kept."""
_MOST_NAMES = 1000
"""Names of new files that are kept."""
_CREDENTIALS = re.compile(r"^(https?://)[^/@]*@|^(\w+://[^/@:]*):[^/@]*(?=@)")
_OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_EXTERNAL_DIFF")
"""What git sets for its hooks; a job submitted from one is about its own code's repository."""


@dataclass(frozen=True)
class GitState:
    """What there is to record."""

    properties: Mapping[str, str]
    """By the names of Azure ML; none where git cannot say."""
    diff: bytes | None = None
    """The changes against the commit, as `git apply` takes them, new files by name before them; None where none are."""
    notes: tuple[str, ...] = ()
    """What could not be recorded, a sentence each."""


class _Unknown(Exception):
    """Git does not say; the message is its own."""


def git_state(source: Path, workspace: Path) -> GitState:
    """Look at the repository that `source`, a folder or a file, is in; that `workspace` is in it too is no change."""
    folder = source if source.is_dir() else source.parent
    try:
        top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
        state = _git(top, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal").split("\0")
        remote = _remote(top)
    except _Unknown as error:
        return GitState({}, notes=(f"the state of the git repository of {folder} is not recorded: {error}",))
    heads = dict(line[2:].split(" ", 1) for line in state if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid", "(initial)"), heads.get("branch.head", "(detached)")
    ours = f"? {os.path.relpath(workspace.resolve(), top)}/"
    entries = [line for line in state if line and not line.startswith(("#", ours))]
    known = {
        "repository_uri": remote,
        "branch": "HEAD" if branch == "(detached)" else branch,
        "commit": None if commit == "(initial)" else commit,
        "dirty": str(bool(entries)),
    }
    properties = {f"azureml.git.{name}": value for name, value in known.items() if value is not None}
    for name, azures in (("repoURL", "repository_uri"), ("branch", "branch"), ("commit", "commit")):
        if known[azures] is not None:
            properties[f"mlflow.source.git.{name}"] = str(known[azures])
    if not entries:
        return GitState(properties)
    diff, notes = _diff(top, known["commit"], [line[2:] for line in entries if line.startswith("? ")])
    return GitState(properties, diff, notes)


def _remote(top: Path) -> str | None:
    """Give the address of `origin`, without the password that may be in it."""
    try:
        return _CREDENTIALS.sub(r"\1\2", _git(top, "config", "--get", "remote.origin.url").strip()) or None
    except _Unknown:
        return None  # There is none.


def _diff(top: Path, commit: str | None, new: list[str]) -> tuple[bytes, tuple[str, ...]]:
    lines = [f"# new file: {name!r}" for name in new[:_MOST_NAMES]]
    if len(new) > _MOST_NAMES:
        lines.append(f"# and {len(new) - _MOST_NAMES} more")
    head = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    against = commit or _EMPTY_TREE
    arguments = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--binary", against, "--")
    try:
        changes = _output(top, arguments, _MOST_DIFF + 1)
    except _Unknown as error:
        return head, (f"the changes in {top} are not recorded: {error}",)
    if len(changes) <= _MOST_DIFF:
        return head + changes, ()
    note = f"the changes in {top} are more than {_MOST_DIFF // 2**20} MB; only the first of them are recorded"
    return head + b"# cut: this is not all\n" + changes[:_MOST_DIFF], (note,)


_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Git's own name for a tree without files, to compare with before the first commit."""


def _git(folder: Path, *arguments: str) -> str:
    return _output(folder, arguments, -1).decode("utf-8", "surrogateescape")


def _output(folder: Path, arguments: tuple[str, ...], most: int) -> bytes:
    """Run git and give what it says, `most` bytes of it at most; raises _Unknown where it fails or takes too long."""
    environ = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    environ.update(GIT_OPTIONAL_LOCKS="0", GIT_TERMINAL_PROMPT="0", LC_ALL="C")
    # Its answer goes to a file: however much that is, it fits, and git never waits for a reader.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        argv = ["git", "-C", str(folder), *arguments]
        try:
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environ, timeout=_LIMIT, check=True
            )
        except FileNotFoundError:
            raise _Unknown("there is no git in PATH") from None
        except subprocess.TimeoutExpired:
            raise _Unknown(f"git takes longer than {_LIMIT:g} s") from None
        except subprocess.CalledProcessError as error:
            err.seek(0)
            words = " ".join(err.read(2000).decode("utf-8", "replace").split())
            raise _Unknown(words or f"git ended with status {error.returncode}") from None
        out.seek(0)
        return out.read(most)
