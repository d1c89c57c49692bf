"""Where the run configurations of Azure ML's first version lie, and which folder they are for."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError

SUFFIX = ".runconfig"
_FOLDERS = (".azureml", ".regiment", ".")
_INNER_FOLDERS = frozenset((".azureml", ".regiment", "aml_config"))


def find_runconfig(name: str, current_folder: Path) -> Path:
    """Give the path of a run configuration.

    A name with a suffix is a file's; without one, `NAME.runconfig` is looked for in `.azureml/`, `.regiment/` and the
    current folder.
    """
    if Path(name).suffix in (SUFFIX, ".yml", ".yaml", ".json"):
        if not (current_folder / name).is_file():
            raise UserError(f"there is no file {name}; check the path given to -c")
        return Path(name)
    tried = [Path(folder) / f"{name}{SUFFIX}" for folder in _FOLDERS]
    for path in tried:
        if (current_folder / path).is_file():
            return path
    raise UserError(f"there is no {', '.join(map(str, tried[:-1]))} or {tried[-1]}; check the name given to -c")


def source_folder(folder: Path) -> Path:
    """Give the folder of the code that a run configuration in `folder` is for."""
    return folder.parent if folder.name in _INNER_FOLDERS else folder
