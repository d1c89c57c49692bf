"""A run's files by name: brought, uploaded, zipped."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import UserError
from regiment.jobs.record import RunRecord, RunStatus, write_record
from regiment.jobs.snapshot import take_snapshot
from regiment.jobs.workspace import RunFolder, Workspace
from regiment.launcher.artifacts import (
    Artifact,
    chosen,
    download_file,
    download_files,
    get_file_names,
    is_log,
    restore_snapshot,
    upload_file,
    upload_folder,
)
from regiment.launcher.zips import zip_files

RECORD = RunRecord("r", "e", RunStatus.COMPLETED, "", "true", "local", "none", 1, 1, False)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that has ended, after two attempts."""
    made = Workspace(tmp_path / "ws").run("r")
    write(made.attempt_logs(0) / "70_driver_log.txt", "first\n")
    write(made.attempt_logs(1) / "70_driver_log.txt", "second\n")
    made.attempt_logs_link.symlink_to("attempts/1/azureml-logs")
    write(made.outputs / "a" / "model.pt", "weights")
    write(made.outputs / "ünicode ☃.txt", "snow")
    write(made.logs / "tb" / "events", "curve")
    write(made.own_logs / "coordinator.log", "")
    write_record(made.record, RECORD)
    return made


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def below(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_have_the_names_that_azure_gives_them(folder: RunFolder) -> None:
    assert get_file_names(folder) == [
        "azureml-logs/70_driver_log.txt",
        "outputs/a/model.pt",
        "outputs/ünicode ☃.txt",
        "logs/azureml/coordinator.log",
        "logs/tb/events",
        "attempts/0/azureml-logs/70_driver_log.txt",
    ]


@pytest.mark.parametrize(
    ("name", "path", "lands"),
    [
        ("outputs/a/model.pt", None, "model.pt"),
        ("outputs/a/model.pt", "my_destination_path", "my_destination_path"),
        ("outputs/a/model.pt", "there", "there/model.pt"),
        ("outputs/a/model.pt", "new/", "new/model.pt"),
        ("outputs/a/model.pt", "deep/er/x.pt", "deep/er/x.pt"),
        ("outputs/./a//model.pt", "x", "x"),
    ],
)
def test_a_file_lands_where_azure_puts_it(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str | None, lands: str
) -> None:
    here = tmp_path / "here"
    (here / "there").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert download_file(folder, name, path).resolve() == here / lands
    assert below(here) == {lands: "weights"}


def test_files_keep_their_paths_or_get_others(folder: RunFolder, tmp_path: Path) -> None:
    brought: list[int] = []
    download_files(folder, "outputs/", tmp_path / "one", progress=brought.append)
    assert below(tmp_path / "one") == {"outputs/a/model.pt": "weights", "outputs/ünicode ☃.txt": "snow"}
    assert sum(brought) == len(b"weights") + len(b"snow")
    download_files(folder, "outputs/a/mo", tmp_path / "two", append_prefix=False)
    assert below(tmp_path / "two") == {"model.pt": "weights"}
    download_files(folder, "outputs/", tmp_path / "three", ["x", "y/z"])
    assert below(tmp_path / "three") == {"x": "weights", "y/z": "snow"}
    download_files(folder, output_directory=tmp_path / "four")
    assert sorted(below(tmp_path / "four")) == sorted(get_file_names(folder))
    with pytest.raises(UserError, match="output_paths names 1 paths for 2 files"):
        download_files(folder, "outputs/", tmp_path, ["x"])
    with pytest.raises(UserError, match="has no file whose name begins with 'models/'"):
        download_files(folder, "models/", tmp_path)


@pytest.mark.parametrize("name", ["outputs/nothing", "outputs", "model.pt", "run.json"])
def test_a_name_that_no_file_has_is_said(folder: RunFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"run r has no file .*; 'regiment download r --list' shows"):
        download_file(folder, name, tmp_path / "x")


@pytest.mark.parametrize("name", ["../../run.json", "outputs/../run.json", "/etc/passwd", "", ".", "outputs/a\0b"])
def test_a_name_leads_out_of_nothing(folder: RunFolder, tmp_path: Path, name: str) -> None:
    for use in (lambda: download_file(folder, name, tmp_path / "x"), lambda: upload_file(folder, name, __file__)):
        with pytest.raises(UserError, match="is not the name of an artifact"):
            use()


def test_a_copy_that_cannot_be_written_is_said_and_leaves_nothing(folder: RunFolder, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(UserError, match=r"cannot be copied to .*: (Not a directory|File exists)"):
        download_file(folder, "outputs/a/model.pt", tmp_path / "file" / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x" / "y").mkdir(parents=True)
    with pytest.raises(UserError, match="Is a directory"):
        download_files(folder, "outputs/a", tmp_path / "full", ["x"])
    assert os.listdir(tmp_path / "full") == ["x"]


def test_what_is_uploaded_has_its_name(folder: RunFolder, tmp_path: Path) -> None:
    source = write(tmp_path / "best.pt", "best")
    write(tmp_path / "plots" / "a" / "b.png", "b")
    for name in ("outputs/best.pt", "best.pt", "models/best.pt", "logs/best.pt"):
        upload_file(folder, name, source)
        upload_file(folder, name, source)  # The same once more is no conflict.
        assert download_file(folder, name, tmp_path / "back").read_text() == "best"
    upload_folder(folder, "plots", tmp_path / "plots")
    assert {"outputs/best.pt", "best.pt", "models/best.pt", "plots/a/b.png"} <= set(get_file_names(folder))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("outputs/a/model.pt", "has an artifact 'outputs/a/model.pt' already"),
        ("outputs/a", "has an artifact 'outputs/a' already"),
        ("azureml-logs/x", "is a name for Regiment's own logs"),
        ("logs/azureml/x", "is a name for Regiment's own logs"),
        ("attempts/0/x", "is a name for Regiment's own logs"),
        ("outputs", "is a folder of the run"),
        ("outputs/a/model.pt/x", "cannot be copied"),
    ],
)
def test_an_upload_replaces_nothing(folder: RunFolder, tmp_path: Path, name: str, message: str) -> None:
    before = below(folder.root)
    with pytest.raises(UserError, match=message):
        upload_file(folder, name, write(tmp_path / "x", "other"))
    assert below(folder.root) == before


def test_what_is_not_there_cannot_be_uploaded(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        upload_file(folder, "x", tmp_path / "x")
    with pytest.raises(UserError, match="there is no folder"):
        upload_folder(folder, "x", tmp_path / "x")


def test_all_logs_are_one_zip(folder: RunFolder, tmp_path: Path) -> None:
    path = zip_files([item for item in chosen(folder) if is_log(item)], tmp_path / "new" / "logs.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "azureml-logs/70_driver_log.txt",
            "logs/azureml/coordinator.log",
            "logs/tb/events",
            "attempts/0/azureml-logs/70_driver_log.txt",
        ]
    assert os.listdir(path.parent) == ["logs.zip"]


def test_a_name_that_is_no_utf8_can_be_zipped(tmp_path: Path) -> None:
    place = write(tmp_path / os.fsdecode(b"caf\xe9"), "x")
    with zipfile.ZipFile(zip_files([Artifact(f"outputs/{place.name}", place)], tmp_path / "x.zip")) as archive:
        assert archive.namelist() == ["outputs/caf\ufffd"]


def submitted(folder: RunFolder, tmp_path: Path) -> dict[str, Any]:
    write(tmp_path / "src" / "train.py", "print(1)\n").chmod(0o755)
    (tmp_path / "src" / "empty").mkdir()
    (tmp_path / "src" / "link.py").symlink_to("train.py")
    snapshot = take_snapshot(tmp_path / "src", tmp_path / "ws" / "snapshots", folder.code, ())
    write_record(folder.record, replace(RECORD, properties={"ContentSnapshotId": snapshot.snapshot_id}))
    return {"id": snapshot.snapshot_id}


def test_a_snapshot_is_restored_as_it_was_submitted(folder: RunFolder, tmp_path: Path) -> None:
    snapshot_id = submitted(folder, tmp_path)["id"]
    path = restore_snapshot(folder, tmp_path / "zips")
    assert path == tmp_path / "zips" / f"{snapshot_id}.zip"
    with zipfile.ZipFile(path) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert archive.read("train.py") == b"print(1)\n"
        assert archive.read("link.py") == b"train.py"
    assert stat.S_IMODE(modes["train.py"]) == 0o755
    assert stat.S_ISLNK(modes["link.py"])
    assert stat.S_ISDIR(modes["empty/"])
    again = restore_snapshot(folder, tmp_path / "again.zip")
    assert again.read_bytes() == path.read_bytes()


def test_a_run_without_code_has_no_snapshot_to_restore(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run r has no snapshot"):
        restore_snapshot(folder, tmp_path)
