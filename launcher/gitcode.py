"""Code that lies in a git repository: `git+URL@REF`, fetched with the system's git and the user's own credentials."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError

_URL = re.compile(
    r"git\+(?P<repository>[a-z][a-z0-9+.-]*://(?:[^@/#&]+@)?[^@#&]*)"
    r"(?:@(?P<ref>[^#&]+))?(?:[#&]subdirectory=(?P<folder>.+))?"
)


@dataclass(frozen=True)
class GitSource:
    """A folder of one state of a repository."""

    repository: str
    ref: str | None = None
    """A branch, tag or commit; None for the repository's own default."""
    folder: str = ""


def git_source(url: str) -> GitSource:
    """Read `git+https://host/repo.git@main&subdirectory=src` (pip writes `#` for the `&`)."""
    found = _URL.fullmatch(url)
    ref = found["ref"] if found else None
    if found is None or (ref or "").startswith("-"):
        raise UserError(f"code {url!r} is no git URL; write git+https://HOST/REPOSITORY@BRANCH&subdirectory=FOLDER")
    folder = os.path.normpath(found["folder"] or "")
    if folder.startswith(("/", "..")):
        raise UserError(f"code {url!r}: the subdirectory leads out of the repository; correct it")
    return GitSource(found["repository"], ref, folder)


@contextmanager
def fetched(url: str, cache: Path) -> Iterator[Path]:
    """Give a folder with the code for as long as it is needed; raises UserError with git's own words."""
    source = git_source(url)
    with tempfile.TemporaryDirectory(prefix="git-", dir=cache) as temporary:
        _git(url, "clone", "--quiet", "--", source.repository, temporary)
        if source.ref is not None:
            # A branch is there only as the remote's, a tag or a commit by its own name.
            known = _git(url, "-C", temporary, "branch", "--remotes", "--list", f"origin/{source.ref}").strip()
            ref = f"origin/{source.ref}" if known else source.ref
            _git(url, "-C", temporary, "checkout", "--quiet", "--detach", ref)
        folder = Path(temporary, source.folder)
        if not folder.is_dir():
            raise UserError(f"code {url!r}: there is no folder {source.folder!r} in the repository")
        yield folder


def _git(url: str, *arguments: str) -> str:
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, env=environ, check=False)
    except FileNotFoundError:
        raise UserError(f"code {url!r} needs git, and there is none in PATH; install it") from None
    if done.returncode != 0:
        words = " ".join(done.stderr.split())
        raise UserError(f"code {url!r} cannot be fetched: {words}")
    return done.stdout
