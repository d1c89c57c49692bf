"""A rank whose Python failed ends at once, and no other program notices that anything is different."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import regiment.launcher.node
from regiment.launcher.node.python_start import GUARD

SOURCES = Path(next(iter(regiment.launcher.node.__path__)))
STAND_IN = """
import ctypes
def Is_initialized(): return True
def Is_finalized(): return False
ctypes.pythonapi.Py_AtExit(ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p))
"""
"""As mpi4py, it finalizes from Python's C level, after every function of `atexit`; here it shows as an abort."""
FINALIZED = -signal.SIGABRT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("")
    (tmp_path / "mpi4py" / "MPI.py").write_text(STAND_IN)
    (tmp_path / "guard").mkdir()
    shutil.copy(SOURCES / "python_start.py", tmp_path / "guard" / "sitecustomize.py")
    shutil.copy(SOURCES / "mpi_guard.py", tmp_path / "guard" / f"{GUARD}.py")
    return tmp_path


def run(folder: Path, program: str, *, guard: str | None = "guard") -> subprocess.CompletedProcess[str]:
    path = [str(folder / guard), str(folder)] if guard else [str(folder)]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={
            **os.environ,
            "PYTHONPATH": ":".join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Where a rank is ended before it finalizes, Open MPI's segment stays.
            "OMPI_MCA_btl_sm_backing_directory": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_an_uncaught_exception_ends_the_rank_before_finalize_with_one_traceback(folder: Path) -> None:
    done = run(folder, "from mpi4py import MPI\nprint('last words', end='')\nraise ValueError('boom')")
    assert (done.returncode, done.stdout) == (1, "last words")
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("ValueError: boom\n")


def test_without_the_guard_it_would_have_finalized(folder: Path) -> None:
    done = run(folder, "from mpi4py import MPI\nraise ValueError('boom')", guard=None)
    assert done.returncode == FINALIZED


def test_it_ends_the_rank_whatever_hook_the_user_installs_later(folder: Path) -> None:
    done = run(
        folder,
        """
        import sys
        from mpi4py import MPI
        sys.excepthook = lambda *caught: print('mine', file=sys.stderr)
        raise ValueError
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "mine\n")


def test_the_users_own_functions_at_exit_still_run(folder: Path) -> None:
    done = run(folder, "import atexit\nfrom mpi4py import MPI\natexit.register(print, 'saved')\n1 / 0")
    assert (done.returncode, done.stdout) == (1, "saved\n")


def test_a_module_run_with_m_is_guarded_too(folder: Path) -> None:
    (folder / "train.py").write_text("from mpi4py import MPI\n1 / 0\n")
    done = run(folder, "import runpy, sys\nsys.argv = ['train']\nrunpy._run_module_as_main('train')")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys\ndef main():\n  try: sys.exit(5)\n  finally: print('saved')\nmain()", 5, ""),
        ("from sys import exit; exit('no data')", 1, "no data\n"),
        ("exit(4)", 4, ""),
        ("import sys\ntry: sys.exit(3)\nexcept SystemExit: sys.exit(6)", 6, ""),
        ("import argparse; argparse.ArgumentParser().error('bad')", 2, "usage: -c [-h]\n-c: error: bad\n"),
    ],
)
def test_a_program_that_says_itself_that_it_has_failed_ends_at_once(
    folder: Path, program: str, code: int, said: str
) -> None:
    done = run(folder, f"from mpi4py import MPI\n{program}")
    assert (done.returncode, done.stderr) == (code, said)


def test_an_interrupt_still_looks_like_one(folder: Path) -> None:
    done = run(folder, "from mpi4py import MPI\nraise KeyboardInterrupt")
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    "program",
    [
        "pass",
        "import sys; sys.exit()",
        "import sys; sys.exit(0)",
        "exit(0)",
        "import sys\ntry: sys.exit(3)\nexcept SystemExit: pass",
        "import sys\ndef f():\n  try: sys.exit(3)\n  except SystemExit as e: return e\nkept = f()",
        "import threading, sys\nt = threading.Thread(target=lambda: sys.exit(3))\nt.start(); t.join()",
        "import sys\ntry: 1 / 0\nexcept ZeroDivisionError as error: sys.last_value = error",
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start(); thread.join()",
        "import code; code.InteractiveConsole(globals()).runsource('1 / 0')",
    ],
)
def test_what_did_not_end_the_program_lets_it_finalize(folder: Path, program: str) -> None:
    assert run(folder, f"from mpi4py import MPI\n{program}").returncode == FINALIZED


@pytest.mark.parametrize("program", ["print(1)", "1 / 0", "import sys; sys.exit('no')", "raise KeyboardInterrupt"])
def test_a_program_without_mpi_is_left_alone(folder: Path, program: str) -> None:
    guarded, plain = run(folder, program), run(folder, program, guard=None)
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_the_next_sitecustomize_runs_under_its_own_name(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("mine = 'yes'\n")
    program = "import sitecustomize, sys; print(sitecustomize.mine, len(sys.path))"
    assert run(folder, program).stdout == run(folder, program, guard=None).stdout


def test_a_next_sitecustomize_that_fails_is_reported_as_always(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import no_such_module\n")
    guarded, plain = run(folder, "print(1)"), run(folder, "print(1)", guard=None)
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (plain.returncode, plain.stdout, plain.stderr)


@pytest.mark.mpi
def test_it_works_with_the_real_mpi4py(folder: Path) -> None:
    shutil.rmtree(folder / "mpi4py")
    program = """
    from mpi4py import MPI
    import atexit, sys
    assert MPI.Is_initialized()
    sys.stdout.write('before')
    raise ValueError('boom')
    """
    done = run(folder, program)
    assert (done.returncode, done.stdout) == (1, "before")
    assert done.stderr.count("Traceback") == 1
    assert "MPI_ABORT" not in done.stderr
