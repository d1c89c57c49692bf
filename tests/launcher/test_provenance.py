"""Where a run comes from: its repository, its changes, its packages, the size of its snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from regiment.jobs.snapshot import Snapshot
from regiment.launcher.gitstate import git_state
from regiment.launcher.packages import installed_packages
from regiment.launcher.provenance import snapshot_notes

from .conftest import Lab


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    argv = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "train.py").write_text("print(1)\n")
    (folder / ".gitignore").write_text("*.secret\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return folder


def test_a_clean_repository_is_named_by_azures_properties(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:token@example.com/a/b.git")
    commit = git(repository, "rev-parse", "HEAD")
    for source in (repository, repository / "src", repository / "src" / "train.py"):
        state = git_state(source, repository / ".regiment")
        assert state.properties == {
            "azureml.git.repository_uri": "https://example.com/a/b.git",
            "azureml.git.branch": "main",
            "azureml.git.commit": commit,
            "azureml.git.dirty": "False",
            "mlflow.source.git.repoURL": "https://example.com/a/b.git",
            "mlflow.source.git.branch": "main",
            "mlflow.source.git.commit": commit,
        }
        assert (state.diff, state.notes) == (None, ())


def test_changes_are_kept_as_git_takes_them_back_and_ignored_files_are_not_among_them(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "src" / "train.py").write_text("print(2)\n")
    (repository / "data.bin").write_bytes(bytes(range(256)))
    git(repository, "add", "data.bin")
    (repository / "new ☃.py").write_text("new")
    (repository / "x.secret").write_text("hidden")
    (repository / ".regiment" / "runs").mkdir(parents=True)
    (repository / ".regiment" / "runs" / "x").touch()
    state = git_state(repository, repository / ".regiment")
    assert state.properties["azureml.git.dirty"] == "True"
    assert state.diff is not None
    assert b"secret" not in state.diff and b".regiment" not in state.diff
    assert "# new file: 'new ☃.py'\n".encode() in state.diff
    git(tmp_path, "clone", "--quiet", str(repository), "again")
    (tmp_path / "diff").write_bytes(state.diff)
    git(tmp_path / "again", "apply", str(tmp_path / "diff"))
    assert (tmp_path / "again" / "src" / "train.py").read_text() == "print(2)\n"
    assert (tmp_path / "again" / "data.bin").read_bytes() == bytes(range(256))


def test_that_the_workspace_is_in_the_repository_is_no_change(repository: Path) -> None:
    (repository / ".regiment" / "runs").mkdir(parents=True)
    (repository / ".regiment" / "runs" / "x").touch()
    assert git_state(repository, repository / ".regiment").properties["azureml.git.dirty"] == "False"


def test_big_changes_are_cut_and_that_is_said(repository: Path) -> None:
    (repository / "src" / "train.py").write_text("print('a long line')\n" * 600_000)
    state = git_state(repository, repository / ".regiment")
    assert state.diff is not None and len(state.diff) < 11_000_000
    assert state.diff.startswith(b"# cut")
    assert "more than 10 MB; only the first of them are recorded" in state.notes[0]


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", ".")
    state = git_state(tmp_path, tmp_path / ".regiment")
    assert state.properties["azureml.git.branch"] == "main"
    assert state.properties["azureml.git.dirty"] == "True"
    assert "azureml.git.commit" not in state.properties
    assert state.diff is not None and b"+1" in state.diff


def test_a_hooks_git_is_not_the_codes(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert git_state(repository, tmp_path / "ws").properties["azureml.git.dirty"] == "False"


def test_what_git_refuses_is_a_note(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    state = git_state(tmp_path, tmp_path / "ws")
    assert state.properties == {}
    assert "the state of the git repository of" in state.notes[0] and "not a git repository" in state.notes[0]


def test_without_git_that_is_a_note(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no git in PATH" in git_state(repository, repository / "ws").notes[0]


def test_code_in_no_repository_has_no_state(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--", "true")
    assert result.returncode == 0
    assert not any("git" in name for name in lab.show("r")["properties"])
    assert "git" not in result.stderr


def test_packages_are_those_that_python_finds(tmp_path: Path) -> None:
    found = installed_packages(sys.path)
    assert found["pyyaml"] == version("PyYAML") and found["import-linter"] == version("import-linter")
    for name in ("Some_Thing-1.2.dist-info", "old.thing-3.0-py3.9.egg-info", "bare.egg-info", "no-package"):
        (tmp_path / name).mkdir()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "some.thing-9.dist-info").mkdir()
    path = [str(tmp_path), str(tmp_path / "later"), str(tmp_path / "missing.zip")]
    assert installed_packages(path) == {"bare": "unknown", "old-thing": "3.0", "some-thing": "1.2"}


def test_a_big_snapshot_is_warned_about() -> None:
    assert snapshot_notes(Snapshot("x", 2000, 300_000_000, ("left out",))) == ("left out",)
    for many in (Snapshot("x", 2001, 1), Snapshot("x", 1, 300_600_000)):
        (note,) = snapshot_notes(many)
        assert f"{many.file_count} files" in note and ".amlignore" in note


def test_a_run_records_where_it_comes_from(lab: Lab) -> None:
    source = lab.write("src/train.py", "print(1)\n").parent
    git(source, "init", "--quiet")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "-m", "one")
    lab.write("src/train.py", "print(2)\n")
    assert lab.run("run", "--name", "r", "--code", "src", "--", "python", "train.py").returncode == 0
    properties = lab.show("r")["properties"]
    assert properties["azureml.git.commit"] == git(source, "rev-parse", "HEAD")
    assert properties["azureml.git.dirty"] == "True"
    assert (properties["regiment.snapshot.files"], properties["regiment.snapshot.bytes"]) == ("1", "9")
    branch, commit = properties["azureml.git.branch"], properties["azureml.git.commit"][:12]
    assert f"1 file, 9 bytes, commit {commit} of {branch} with changes" in lab.run("show", "r").stdout
    assert b"+print(2)" in (lab.run_folder("r") / "git.diff").read_bytes()
    packages = json.loads((lab.run_folder("r") / "packages.json").read_text())
    assert packages["packages"]["pyyaml"] == version("PyYAML")


def test_submitting_again_after_changing_one_file_stores_one_file(lab: Lab) -> None:
    for index in range(5):
        lab.write(f"src/{index}.py", f"{index}\n")

    def stored() -> set[Path]:
        return {path for path in (lab.folder / ".regiment" / "snapshots").rglob("*") if is_content(path)}

    def is_content(path: Path) -> bool:
        return path.is_file() and "hashes" not in path.parts

    assert lab.run("run", "-q", "--code", "src", "--", "true").returncode == 0
    before = stored()
    lab.write("src/3.py", "changed\n")
    assert lab.run("run", "-q", "--code", "src", "--", "true").returncode == 0
    assert len(before) == 5 and len(stored() - before) == 1 and before < stored()
