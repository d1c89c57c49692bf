"""One command from its arguments to its exit status; the only place that turns errors into words."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path

from regiment.jobs.errors import ExitStatus, JobFileError, RegimentError, UserError

from .parser import join_flags, make_parser, split_command

_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
DEPENDENCIES = {
    "jmespath": "jmespath",
    "pathspec": "pathspec",
    "rich": "rich",
    "tabulate": "tabulate",
    "yaml": "PyYAML",
}
"""The packages that Regiment cannot do without, by their modules."""


def main(arguments: list[str]) -> int:
    """Run one command; gives the exit status."""
    own, command = split_command(arguments)
    options = make_parser(own[0] if own else None).parse_args(join_flags(own))
    options.command_argv = command
    module, function = options.run.split(":")
    try:
        _check_current_folder()
        # Each command's module is imported only when it runs: --help must not wait for the others.
        status = getattr(importlib.import_module(f"{__package__}.{module}"), function)(options)
        return int(status or 0)
    except RegimentError as error:
        # A job file's faults begin with their places, for editors to jump to.
        print(error if isinstance(error, JobFileError) else f"regiment: {error}", file=sys.stderr)
        return int(error.exit_status)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _disk_fault(error) if error.errno in _DISK_FAULTS else _own_fault(error)
    except ModuleNotFoundError as error:
        return _missing(error)
    except Exception as error:  # noqa: BLE001  (no traceback ever reaches a user)
        return _own_fault(error)


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except OSError:
        raise UserError("the current folder is gone; change to one that is there") from None


def _missing(error: ModuleNotFoundError) -> int:
    """Tell that a package is missing that Regiment needs, or of a fault of ours where it is another module."""
    module = (error.name or "").partition(".")[0]
    if module not in DEPENDENCIES:
        return _own_fault(error)
    print(
        f"regiment: Regiment's dependency '{DEPENDENCIES[module]}' is not installed in {sys.executable}; "
        "reinstall regiment there",
        file=sys.stderr,
    )
    return int(ExitStatus.USER_ERROR)


def _disk_fault(error: OSError) -> int:
    """Tell of a file that is not the user's, or of a disk that takes no more."""
    where = f"{error.filename}: " if error.filename else ""
    print(
        f"regiment: {where}{error.strerror}; make room or get leave there, or name another workspace with --workspace",
        file=sys.stderr,
    )
    return int(ExitStatus.USER_ERROR)


def _own_fault(error: Exception) -> int:
    """Tell of a fault of ours in one line; the traceback is for whoever asks for it."""
    if os.environ.get("REGIMENT_TRACEBACK"):
        raise error
    print(
        f"regiment: internal error: {type(error).__name__}: {error}; please report it "
        "(REGIMENT_TRACEBACK=1 shows where it happened)",
        file=sys.stderr,
    )
    return int(ExitStatus.INTERNAL_ERROR)
