"""The files of a run: what its job wrote, its logs, what was uploaded, and its code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.jobs.errors import NodeError

from .handle import Handle

if TYPE_CHECKING:
    from regiment.jobs.workspace import RunFolder


class Files(Handle):
    """The part of a run that has files; their names are paths such as `outputs/model.pt`."""

    def get_file_names(self) -> list[str]:
        """Give the names of all files: outputs, logs, and what was uploaded."""
        from ..artifacts import get_file_names

        return get_file_names(self._run_folder())

    def download_file(self, name: str, output_file_path: str | Path | None = None) -> str:
        """Copy a file of the run; gives the path of the copy.

        Args:
            name: The file's name.
            output_file_path: Where to (default: the current folder, under the last part of the name).

        Raises:
            UserError: The run has no such file.
        """
        from ..artifacts import download_file

        return str(download_file(self._run_folder(), name, output_file_path))

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | Path | None = None,
        output_paths: Sequence[str | Path] | None = None,
        batch_size: int = 100,
        append_prefix: bool = True,
    ) -> list[str]:
        """Copy all files whose names begin with a prefix; gives the paths of the copies.

        Args:
            prefix: The beginning of the names (default: all files).
            output_directory: Where to (default: the current folder); the names are paths below it.
            output_paths: A path for each file instead.
            batch_size: Accepted for Azure ML's sake.
            append_prefix: Whether the copies' paths begin with the prefix's folders too.

        Raises:
            UserError: The run has no such file.
        """
        from ..artifacts import download_files

        made = download_files(self._run_folder(), prefix, output_directory or ".", output_paths, append_prefix)
        return [str(path) for path in made]

    def upload_file(self, name: str, path_or_stream: str | Path, datastore_name: str | None = None) -> None:
        """Keep a file with the run.

        Args:
            name: What it is called there; one that is there with another content is never replaced.
            path_or_stream: The file's path.
            datastore_name: Accepted for Azure ML's sake.

        Raises:
            UserError: There is no such file, or the name is taken or none.
        """
        from ..artifacts import upload_file

        upload_file(self._run_folder(), name, path_or_stream)

    def upload_files(self, names: Sequence[str], paths: Sequence[str | Path]) -> None:
        """Keep several files with the run; see `upload_file`."""
        for name, path in zip(names, paths, strict=True):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str | Path) -> None:
        """Keep a folder's files with the run, under `name` and their own paths."""
        from ..artifacts import upload_folder

        upload_folder(self._run_folder(), name, path)

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | Path | None = None) -> str:
        """Write the code as it was submitted into a zip; gives the zip's path.

        Args:
            snapshot_id: Accepted for Azure ML's sake; it is this run's.
            path: The zip's path, or a folder for it (default: the current one).

        Raises:
            UserError: The run has no snapshot.
        """
        from ..artifacts import restore_snapshot

        return str(restore_snapshot(self._run_folder(), path))

    def get_details_with_logs(self) -> dict[str, object]:
        """Give the document of `get_details()`, with the logs' text in place of their paths."""
        details: dict[str, object] = self._describe()
        folder, names = self._its_folder(), self.get_file_names()
        logs = [name for name in names if name.startswith(("azureml-logs/", "logs/"))]
        details["logFiles"] = {name: (folder / name).read_text("utf-8", "backslashreplace") for name in logs}
        return details

    def _run_folder(self) -> RunFolder:
        """Give the run's folder, which this process has to see: files are no matter for messages."""
        from regiment.jobs.workspace import Workspace

        folder = self._its_folder()
        if not folder.is_dir():
            raise NodeError(
                f"the files of run {self._id} lie in {folder}, which cannot be seen here; "
                "write to ./outputs or ./logs, which are brought there"
            )
        return Workspace(folder.parent.parent).existing_run(self._id)
