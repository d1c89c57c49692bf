"""`environment:` in all its spellings: a name, an image, a conda file, a folder to build from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .fields import checked, dropped, not_used, text, word
from .include import included
from .paths import INCLUDE, existing, is_elsewhere
from .reading import Key, Reader, Reading, Table, Value, reads
from .shapes import either, plain_data, section, then
from .spec import Environment


@reads({"type": "string"})
def _file(value: Value, reading: Reading) -> str:
    """Read the path of a file, with or without `file:` before it."""
    return existing(text(value, reading), value, reading, "file")


@reads({"type": "object"})
def _inline(value: Value, _reading: Reading) -> Any:
    return plain_data(value)


@reads({"type": "string"})
def _build_folder(value: Value, reading: Reading) -> str:
    named: str = text(value, reading)
    return named if is_elsewhere(named) or named.startswith("git+") else existing(named, value, reading, "folder")


def _not_empty(name: str) -> str:
    if not name.strip():
        raise UserError("the name is empty; name an environment, such as azureml:NAME:VERSION")
    return name


_CONDA = either("the path of a conda file or its content", single=_file, mapping=_inline)
_BUILD: Table = {
    "path": Key(_build_folder, "the folder to build from"),
    "local_path": Key(_build_folder, "the same in files of 2021"),
    "dockerfile_path": Key(text, "the Dockerfile in it"),
    "dockerfile": Key(_file, "the Dockerfile, in files of 2021"),
    "context": Key(_build_folder, "the folder to build from, in files of 2021"),
}
_DOCKER: Table = {"image": Key(text, "the image"), "build": Key(section(_BUILD))}
ENVIRONMENT: Table = {
    "image": Key(text, "the image of a container"),
    "conda_file": Key(_CONDA, "a conda file, or its content"),
    "build": Key(section(_BUILD), "the folder to build an image from"),
    "docker": Key(section(_DOCKER), "image or build, in files of 2021"),
    "name": Key(text, "a registered environment; with an image or a conda file it says nothing"),
    "version": Key(word, "its version"),
    "$schema": Key(dropped, is_offered=False),
    "description": Key(dropped, is_offered=False),
    "tags": Key(dropped, is_offered=False),
    "properties": Key(dropped, is_offered=False),
    "path": Key(not_used, is_offered=False),
    "os_type": Key(not_used, is_offered=False),
    "inference_config": Key(not_used, is_offered=False),
}


def _make(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Environment:
    docker = values.get("docker") or {}
    build = values.get("build") or docker.get("build") or {}
    conda = values.get("conda_file")
    image = values.get("image") or docker.get("image")
    dockerfile = build.get("dockerfile")
    folder = build.get("path") or build.get("local_path") or build.get("context")
    if dockerfile is not None and folder is None:
        folder = str(Path(dockerfile).parent)
    if not (image or folder or conda):
        return Environment(name=_reference(values))
    return Environment(
        image=image,
        conda_file=conda if isinstance(conda, str) else None,
        conda=conda if isinstance(conda, dict) else None,
        build_path=folder,
        dockerfile_path=build.get("dockerfile_path")
        or (_within(dockerfile, folder) if dockerfile and folder else None),
    )


def _reference(values: Mapping[str, Any]) -> str:
    if not values.get("name"):
        raise UserError("there is nothing to run in; name an image, a conda_file or a build folder")
    name, version = values["name"], values.get("version")
    return f"{name}:{version}" if version else name


def _within(dockerfile: str, folder: str) -> str | None:
    """Give the path of a Dockerfile in its folder; None for the usual one."""
    path = Path(dockerfile)
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    return None if name == "Dockerfile" else name


def _from_name(name: str) -> Environment:
    return Environment(name=_not_empty(name))


environment: Reader = included(
    either("a name or a mapping", single=checked(text, _from_name), mapping=then(section(ENVIRONMENT), _make)),
    reference=lambda path: Environment(name=INCLUDE + path),
)
"""Reads an environment; what is done with it comes later."""
