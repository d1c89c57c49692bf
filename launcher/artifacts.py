"""A run's artifacts: its logs and outputs by the names Azure ML gives them, and what was uploaded to it.

A name is a path with slashes, such as `outputs/model.pt`. Names below `outputs/`, `logs/` and `azureml-logs/` are files
of those folders of the run; any other name is one that somebody uploaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.workspace import RunFolder

from .node.folders import same_content
from .zips import CHUNK, UNFINISHED, Progress, Zip, write_zip

_LOGS = ("azureml-logs", "logs", "attempts")
"""Folders with logs."""
_WRITABLE = ("outputs", "logs")
"""Folders that uploads may go to; everything else of a run is ours."""


@dataclass(frozen=True)
class Artifact:
    """One file of a run."""

    name: str
    place: Path
    """Where it lies."""

    @property
    def size(self) -> int:
        """Its size in bytes, as it is now."""
        return self.place.stat().st_size


def artifacts(folder: RunFolder) -> Iterator[Artifact]:
    """Give every artifact, in order of names within each folder."""
    newest = os.path.realpath(folder.attempt_logs_link)
    for top in (folder.attempt_logs_link, folder.outputs, folder.logs):
        yield from _files_below(top, f"{top.name}/")
    yield from _files_below(folder.uploads, "")
    for attempt in sorted((folder.root / "attempts").glob("*/azureml-logs")):
        if os.path.realpath(attempt) != newest:
            yield from _files_below(attempt, f"{attempt.relative_to(folder.root)}/")


def _files_below(top: Path, prefix: str) -> Iterator[Artifact]:
    for place in sorted(top.rglob("*")):
        if place.is_file() and not place.name.startswith(UNFINISHED):
            yield Artifact(f"{prefix}{place.relative_to(top).as_posix()}", place)


def get_file_names(folder: RunFolder) -> list[str]:
    """Give the names of a run's artifacts."""
    return [artifact.name for artifact in artifacts(folder)]


def chosen(folder: RunFolder, prefix: str | None = None) -> list[Artifact]:
    """Give the artifacts whose names begin with a prefix; that there is none is a UserError."""
    found = [artifact for artifact in artifacts(folder) if artifact.name.startswith(prefix or "")]
    if not found:
        which = f"has no file whose name begins with {prefix!r}" if prefix else "has no files"
        raise UserError(f"run {folder.run_id} {which}; 'regiment download {folder.run_id} --list' shows what it has")
    return found


def is_log(artifact: Artifact) -> bool:
    """Say whether an artifact is one of the run's logs."""
    return artifact.name.split("/", 1)[0] in _LOGS


def _artifact(folder: RunFolder, name: str) -> Artifact:
    path = _checked(name)
    top = path.parts[0]
    base = folder.root if top in (*_LOGS, *_WRITABLE) else folder.uploads
    place = base / path
    if not place.is_file():
        raise UserError(
            f"run {folder.run_id} has no file {name!r}; 'regiment download {folder.run_id} --list' shows what it has"
        )
    return Artifact(name, place)


def _checked(name: str) -> PurePosixPath:
    """Give an artifact's name as a path that leads out of nothing."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UserError(f"{name!r} is not the name of an artifact; such a name is a path like 'outputs/model.pt'")
    return path


# --- bringing ---------------------------------------------------------------------------------------


def download_file(
    folder: RunFolder,
    name: str,
    output_file_path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Copy one artifact; gives where it is then.

    Without a path it goes to the current folder, and into a path that is a folder or ends in a slash, under the last
    part of its name.
    """
    artifact = _artifact(folder, name)
    target = Path(output_file_path or ".")
    if target.is_dir() or (output_file_path is not None and os.fspath(output_file_path).endswith("/")):
        target = target / PurePosixPath(name).name
    bring(artifact.place, target, progress)
    return target


def download_files(
    folder: RunFolder,
    prefix: str | None = None,
    output_directory: str | os.PathLike[str] = ".",
    output_paths: Sequence[str | os.PathLike[str]] | None = None,
    append_prefix: bool = True,
    progress: Progress | None = None,
) -> list[Path]:
    """Copy the artifacts whose names begin with `prefix`, below `output_directory`; gives where they are then.

    `output_paths` names one path for each of them instead, in the order of their names. Without `append_prefix`
    their paths do not begin with the prefix's folders.
    """
    found = chosen(folder, prefix)
    if output_paths is None:
        cut = 0 if append_prefix else (prefix or "").rfind("/") + 1
        paths = [Path(output_directory, artifact.name[cut:]) for artifact in found]
    else:
        paths = [Path(output_directory, path) for path in output_paths]
    if len(paths) != len(found):
        raise UserError(f"output_paths names {len(paths)} paths for {len(found)} files; name one for each")
    for artifact, path in zip(found, paths, strict=True):
        bring(artifact.place, path, progress)
    return paths


def bring(source: Path, target: Path, progress: Progress | None) -> None:
    """Copy a file; under its name it is whole, and what was there before is replaced."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{UNFINISHED}{os.getpid()}-{target.name}"[:255])
        try:
            with source.open("rb") as origin, unfinished.open("wb") as copy:
                while block := origin.read(CHUNK):
                    copy.write(block)
                    if progress is not None:
                        progress(len(block))
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{source} cannot be copied to {target}: {error.strerror}; correct that") from None


# --- uploading --------------------------------------------------------------------------------------


def upload_file(folder: RunFolder, name: str, path: str | os.PathLike[str]) -> None:
    """Keep a file with the run under `name`; one of that name with another content is never replaced."""
    source = Path(path)
    if not source.is_file():
        raise UserError(f"there is no file {source} to upload")
    target = _place_for(folder, name)
    if target.is_file() and same_content(source, target):
        return
    if os.path.lexists(target):
        raise UserError(f"run {folder.run_id} has an artifact {name!r} already; upload the file under another name")
    bring(source, target, None)


def upload_folder(folder: RunFolder, name: str, path: str | os.PathLike[str]) -> None:
    """Keep a folder's files with the run, each under `name` and its own path."""
    source = Path(path)
    if not source.is_dir():
        raise UserError(f"there is no folder {source} to upload")
    for place in sorted(source.rglob("*")):
        if place.is_file():
            upload_file(folder, f"{name.rstrip('/')}/{place.relative_to(source).as_posix()}", place)


def _place_for(folder: RunFolder, name: str) -> Path:
    path = _checked(name)
    top = path.parts[0]
    if (top in _LOGS and top not in _WRITABLE) or path.parts[:2] == ("logs", "azureml"):
        raise UserError(f"{name!r} is a name for Regiment's own logs; upload the file under another, as 'outputs/...'")
    if top in _WRITABLE and len(path.parts) == 1:
        raise UserError(f"{name!r} is a folder of the run; upload the file under a name below it, as '{name}/...'")
    return (folder.root if top in _WRITABLE else folder.uploads) / path


# --- zips -------------------------------------------------------------------------------------------


def restore_snapshot(folder: RunFolder, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the code as it was submitted into a zip; gives its path.

    `path` is the zip's own where it ends in `.zip`; else a folder, by default the current one, in which it is named
    after the snapshot.
    """
    if not folder.code.is_dir():
        raise UserError(f"run {folder.run_id} has no snapshot: it was not submitted with code")
    target = Path(path or ".")
    if target.suffix != ".zip":
        snapshot_id = read_record(folder.record).properties.get("ContentSnapshotId")
        target = target / f"{snapshot_id or folder.run_id}.zip"

    def fill(archive: Zip) -> None:
        for place in sorted(folder.code.rglob("*")):
            archive.add(place.relative_to(folder.code).as_posix(), place, None, links=True)

    return write_zip(target, fill)
