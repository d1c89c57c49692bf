"""The data a job reads and writes: its inputs and outputs as the job file asks for them."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from .dataclass import dataclass


class DataMode(Enum):
    """How a node gets at an input's data, or the run at an output's; the names are Azure ML's."""

    READ_ONLY_MOUNT = "ro_mount"
    """A view of it that cannot be written; also what `mount` of the 2021 form means for inputs."""
    READ_WRITE_MOUNT = "rw_mount"
    """A folder of its own, collected at the end; also what `mount` means for outputs."""
    DOWNLOAD = "download"
    """A copy on each node."""
    UPLOAD = "upload"
    """A folder of its own, collected at the end."""
    DIRECT = "direct"
    """Its path or URL as it is; the job fetches it itself."""


@dataclass(frozen=True)
class LiteralInput:
    """An input that is a value."""

    value: str | int | float | bool
    text: str
    """The value as it was written, which is what the command gets."""
    type: Literal["literal"] = "literal"


@dataclass(frozen=True)
class DataInput:
    """An input that is a file, a folder or something a URL names."""

    path: str
    """An absolute local path, a URL (http, https, or any other scheme), or `azureml:name:version`."""
    kind: str = "uri_folder"
    """`uri_file`, `uri_folder`, `mltable`, `mlflow_model`, `custom_model` or `triton_model`."""
    mode: DataMode = DataMode.READ_ONLY_MOUNT
    type: Literal["data"] = "data"


Input = LiteralInput | DataInput


@dataclass(frozen=True)
class Output:
    """A folder (or file) the job writes, brought into the run's `outputs/<name>` at the end."""

    kind: str = "uri_folder"
    mode: DataMode = DataMode.READ_WRITE_MOUNT
    path: str | None = None
    """Where the file wants it besides, kept and reported as not used here."""
