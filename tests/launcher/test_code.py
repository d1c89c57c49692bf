"""Code that is a single file, or lies in a git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from regiment.jobs.errors import UserError
from regiment.launcher.gitcode import GitSource, git_source

from .conftest import Lab


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(lab: Lab) -> tuple[str, str]:
    """Make a repository with two states on two branches; gives its URL and the first commit."""
    folder = lab.folder / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    lab.write("repository/src/where.txt", "first")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    first = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "--quiet", "-b", "topic/two")
    lab.write("repository/src/where.txt", "second")
    git(folder, "commit", "--quiet", "-a", "-m", "second")
    git(folder, "checkout", "--quiet", "main")
    return f"git+file://{folder}", first


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("git+https://host/a/b.git", GitSource("https://host/a/b.git", None, ".")),
        ("git+https://host/a/b@main", GitSource("https://host/a/b", "main", ".")),
        ("git+https://host/a/b@main&subdirectory=x/y", GitSource("https://host/a/b", "main", "x/y")),
        ("git+https://host/a/b#subdirectory=x", GitSource("https://host/a/b", None, "x")),
        ("git+ssh://git@host/a/b.git@v1.0", GitSource("ssh://git@host/a/b.git", "v1.0", ".")),
        ("git+ssh://git@host/a/b.git", GitSource("ssh://git@host/a/b.git", None, ".")),
    ],
)
def test_git_urls_are_read(url: str, source: GitSource) -> None:
    assert git_source(url) == source


@pytest.mark.parametrize(
    "url", ["git+", "git+-upload-pack=x", "git+https://h/r@--force", "git+https://h/r@m&subdirectory=../x"]
)
def test_what_is_no_git_url_or_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"git URL|leads out"):
        git_source(url)


def test_code_in_a_git_repository_is_snapshotted_at_its_branch_tag_or_commit(lab: Lab) -> None:
    url, first = make_repository(lab)
    for name, ref, text in (("a", "", "first"), ("b", "@topic/two", "second"), ("c", f"@{first}", "first")):
        lab.write("job.yml", f"command: cat where.txt\ncode: {url}{ref}&subdirectory=src\n")
        result = lab.run("run", "job.yml", "--name", name)
        assert (result.returncode, result.stdout) == (0, f"{text}\n"), result.stderr
        assert (lab.run_folder(name) / "code" / "where.txt").read_text() == text
    assert not list((lab.folder / ".regiment" / "cache").glob("git-*"))


def test_a_repository_or_a_branch_that_is_not_there_is_named(lab: Lab) -> None:
    url, _ = make_repository(lab)
    for bad in (f"{url}@nowhere", f"{url}-not-there", f"{url}&subdirectory=none"):
        lab.write("job.yml", f"command: 'true'\ncode: {bad}\n")
        result = lab.run("run", "job.yml", "--name", "r")
        assert result.returncode == 2
        assert bad in result.stderr and "Traceback" not in result.stderr
        assert not lab.run_folder("r").exists()


def test_code_can_be_a_single_file(lab: Lab) -> None:
    lab.write("one/hello.py", "print('hello')")
    lab.write("one/other.py", "")
    lab.write("job.yml", "command: python hello.py && ls\ncode: one/hello.py\n")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "hello" and "other.py" not in result.stdout
    assert [path.name for path in (lab.run_folder("r") / "code").iterdir()] == ["hello.py"]
