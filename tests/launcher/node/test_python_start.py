"""Every Python of a job can import Regiment, and no program notices that anything is different."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import regiment.launcher.node

SOURCE = Path(next(iter(regiment.launcher.node.__path__))) / "python_start.py"
PRINT = "import sys; print(sys.path)"
FINDERS = "import sys; print(sys.meta_path)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "start").mkdir()
    shutil.copy(SOURCE, tmp_path / "start" / "sitecustomize.py")
    return tmp_path


def run(folder: Path, program: str, *flags: str, with_us: bool = True, **environ: str) -> str:
    path = [str(folder / "start"), str(folder)] if with_us else [str(folder)]
    return subprocess.run(
        [sys.executable, *flags, "-c", program],
        env={**os.environ, "PYTHONPATH": ":".join(path), "REGIMENT_ZIP": "/the.zip", **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def test_the_path_is_as_it_was_and_one_finder_is_new(folder: Path) -> None:
    assert run(folder, PRINT) == run(folder, PRINT, with_us=False)
    assert "_Packed" in run(folder, FINDERS)


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_who_asks_python_to_leave_such_things_out_gets_nothing(folder: Path, flag: str) -> None:
    assert "_Packed" not in run(folder, FINDERS, flag)


def test_the_next_sitecustomize_runs_under_its_own_name(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("mine = 'yes'\n")
    assert run(folder, "import sitecustomize; print(sitecustomize.mine)") == "yes\n"


def test_a_next_sitecustomize_that_fails_is_reported_as_always(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import no_such_module\n")
    done = subprocess.run(
        [sys.executable, "-c", "print('goes on')"],
        env={**os.environ, "PYTHONPATH": f"{folder}/start:{folder}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "goes on\n"
    assert "no_such_module" in done.stderr


def test_old_pythons_can_read_it_too() -> None:
    """Whatever Python a job starts finds it first on its path: no annotations, f-strings or __future__."""
    text = SOURCE.read_text("utf-8").partition('"""\n\nimport')[2]
    for newer in ('f"', "f'", "__future__", "->", ":=", ": str", "nonlocal"):
        assert newer not in text
