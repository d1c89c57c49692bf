"""Ends an MPI process whose Python failed, instead of letting it wait for the others in MPI_Finalize.

A copy of this file lies beside the `sitecustomize.py` of an MPI job's ranks (`python_start.py`), which imports it when
Python starts; nothing else of ours ever does. An uncaught exception ends Python in good order: the traceback is
printed, functions of `atexit` run, and then mpi4py calls MPI_Finalize, which waits for ranks that may compute for
hours. Ours is the first function registered and so the last that runs: it ends the process with Python's own status. A
`sys.exit(3)` that nobody caught is such an end too; `raise SystemExit(3)` cannot be seen.

It says nothing, costs a fraction of a millisecond and leaves every program alone that has not failed or
does not use MPI through mpi4py.
"""

from __future__ import annotations

import _sitebuiltins
import atexit
import os
import sys

TYPE_CHECKING = False  # As typing's, which takes longer to import than all of this.
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

_last_exit: tuple[FrameType, int, int] | None = None
"""The last `sys.exit` with a status other than 0: the program's outermost frame, where that was, and the status."""


def _exit(status: Any = None, /) -> NoReturn:
    """Do what `sys.exit` does, and remember from where it was called."""
    global _last_exit
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    code = status & 0xFF if isinstance(status, int) else int(status is not None)
    _last_exit = (frame, frame.f_lasti, code) if code and _is_program(frame) else None
    raise SystemExit(*status) if isinstance(status, tuple) else SystemExit(status)


def _quit(self: object, code: Any = None) -> NoReturn:
    """Do what `exit()` and `quit()` do, which aren't `sys.exit`."""
    try:
        sys.stdin.close()
    except (AttributeError, OSError):
        pass
    _exit(code)


def _end_if_failed() -> None:
    # Python sets last_value before it calls sys.excepthook, so it does not matter whose hook that is.
    error = getattr(sys, "last_value", None)
    has_raised = error is not None and _ended_the_program(error)
    code = 1 if has_raised else _exit_code()
    if code == 0 or not _would_wait_in_finalize():
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # Closed, or replaced by something that is no file: Python itself passes over that, too.
    if has_raised and isinstance(error, KeyboardInterrupt):
        import signal

        # Python ends itself with SIGINT then, so that a shell above sees what happened.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _exit_code() -> int:
    """Give what the program has ended with by `sys.exit`; 0 if it went on after that."""
    if _last_exit is None:
        return 0
    frame, place, code = _last_exit
    return code if frame.f_lasti == place else 0


def _ended_the_program(error: BaseException) -> bool:
    """Say whether nothing caught the exception: consoles and test runners set last_value for others too."""
    trace = error.__traceback__
    if trace is None:
        return False
    frame = trace.tb_frame
    if frame.f_lasti != trace.tb_lasti:
        return False  # The outermost frame went on after it.
    return _is_program(frame)


def _is_program(frame: FrameType) -> bool:
    """Say whether an outermost frame is the user's program itself: a script, `-c` or `-m`."""
    main = sys.modules.get("__main__")
    is_script = frame.f_code.co_name == "<module>" and frame.f_globals is getattr(main, "__dict__", None)
    is_module = frame.f_code.co_name == "_run_module_as_main" and frame.f_globals.get("__name__") == "runpy"
    is_console = frame.f_code.co_filename in ("<console>", "<input>")
    return (is_script and not is_console) or is_module


def _would_wait_in_finalize() -> bool:
    mpi = sys.modules.get("mpi4py.MPI")
    try:
        return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized()
    except AttributeError:
        return False  # Its own import has failed halfway.


sys.exit = _exit
_sitebuiltins.Quitter.__call__ = _quit  # type: ignore[method-assign]
atexit.register(_end_if_failed)
