"""Tells the node's agent when a process of the job is up, has imported, has met the others and made its first step.

A copy of this file lies beside the `sitecustomize.py` of a job's Pythons (`python_start.py`), which imports it, where
the job asks for it (`ledger: true`). It looks on: an import is timed from around the module's own code, with no frame
in its tracebacks; a call by which processes meet is timed the first time and never again. What it tells it writes to a
pipe of the agent's, without waiting: if that is full or gone the words are lost, and the program goes on.

It uses only what every Python has loaded by now: a file of the user's may have the name of any other module.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident

TYPE_CHECKING = False  # As typing's, which is not loaded by now.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PIPE = os.environ.get("REGIMENT_MARKS", "")
_PID = os.getpid()
_MAIN = get_ident()
_NOTICEABLE = 0.005
"""Seconds; imports that take less are not told."""
_MOST = 256
"""Imports that are told of."""
_OF_FILES = ("SourceFileLoader", "SourcelessFileLoader", "ExtensionFileLoader")
"""Loaders that there is one of for each module."""
_FROZEN = "<frozen importlib._bootstrap>"
_LEFT_OUT = "_call_with_frames_removed"
"""Frames that have these names are those of the import system's, which Python leaves out of tracebacks."""


def tell(kind: str, begin: float, end: float | None = None, text: str = "") -> None:
    """Write a line to the agent; in a child that was forked from this process say nothing."""
    if os.getpid() != _PID:
        return
    until = "-" if end is None else f"{end:.6f}"
    line = f"{os.getsid(0)} {_PID} {kind} {begin:.6f} {until} {text}\n"
    try:
        pipe = os.open(_PIPE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(pipe, line.encode("utf-8", "replace"))
    except OSError:
        pass  # It is full, or its reader has just gone.
    finally:
        os.close(pipe)


# --- imports ----------------------------------------------------------------------------------------


class _Importing:
    """A finder that finds nothing by itself, and has what the others find timed."""

    def __init__(self) -> None:
        self.depth = 0
        self.told = 0
        self.is_asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        wanted = name in _WATCHED or (self.depth == 0 and self.told < _MOST)
        if not wanted or self.is_asking or get_ident() != _MAIN:
            return None
        begin = time.monotonic()
        self.is_asking = True
        try:
            spec = _first_spec(name, path, target)
        finally:
            self.is_asking = False
        loader: Any = getattr(spec, "loader", None)
        if type(loader).__name__ in _OF_FILES and "exec_module" not in vars(loader):
            loader.exec_module = self.timed(loader, loader.exec_module, name, begin)
        return spec

    def timed(self, loader: Any, load: Callable[[Any], None], name: str, begin: float) -> Callable[[Any], None]:
        """Give what loads one module, once."""

        def exec_module(module: Any) -> None:
            vars(loader).pop("exec_module", None)
            executing = time.monotonic()
            self.depth += 1
            try:
                load(module)
            finally:
                self.depth -= 1
                self.done(name, begin)
            _watch(name, module, executing)

        code = exec_module.__code__
        exec_module.__code__ = code.replace(co_filename=_FROZEN, co_name=_LEFT_OUT)
        return exec_module

    def done(self, name: str, begin: float) -> None:
        """Tell of an import that no other import has asked for."""
        end = time.monotonic()
        if self.depth == 0 and end - begin >= _NOTICEABLE:
            self.told += 1
            tell("import", begin, end, name)


def _first_spec(name: str, path: Any, target: Any) -> Any:
    """Ask the finders, as the import system does."""
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        if finder is not _importing and find_spec is not None:
            spec = find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


# --- where processes meet, and the first step -------------------------------------------------------


def _watch(name: str, module: Any, executing: float | None = None) -> None:
    watch = _WATCHED.get(name)
    if watch is not None:
        try:
            watch(module, executing)
        except (AttributeError, TypeError):
            pass  # Another version of it, of which nothing is known then.


def _time_first_call(owner: Any, name: str, text: str) -> tuple[Any, Any]:
    """Have the first call of a function timed; it is what it was from then on."""
    real = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        if getattr(owner, name, None) is not timed:
            return real(*arguments, **named)
        setattr(owner, name, real)
        begin = time.monotonic()
        tell("rendezvous", begin, None, text)
        result = real(*arguments, **named)
        tell("rendezvous", begin, time.monotonic(), text)
        return result

    timed.__wrapped__ = real  # type: ignore[attr-defined]
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(timed, attribute, getattr(real, attribute))
    setattr(owner, name, timed)
    return real, timed


def _torch_distributed(module: Any, executing: float | None) -> None:
    real, timed = _time_first_call(module, "init_process_group", "torch.distributed.init_process_group")
    for other in ("torch.distributed", "torch.distributed.device_mesh"):
        # Where it was imported before us, as in a forked rank, they have it by name.
        known = vars(sys.modules[other]) if other in sys.modules else {}
        if known.get("init_process_group") is real:
            known["init_process_group"] = timed


def _torch_optimizer(module: Any, executing: float | None) -> None:
    told: list[bool] = []

    def after_step(optimizer: Any, arguments: Any, named: Any) -> None:
        if not told:
            told.append(True)
            now = time.monotonic()
            tell("first-step", now, None, f"{type(optimizer).__name__}.step")

    module.register_optimizer_step_post_hook(after_step)


def _horovod(module: Any, executing: float | None) -> None:
    _time_first_call(module.HorovodBasics, "init", "hvd.init")


def _tensorflow_strategy(module: Any, executing: float | None) -> None:
    _time_first_call(module.CollectiveAllReduceExtended, "__init__", "tf.distribute.MultiWorkerMirroredStrategy")


def _tensorflow_server(module: Any, executing: float | None) -> None:
    _time_first_call(module.Server, "__init__", "tf.distribute.Server")


def _mpi(module: Any, executing: float | None) -> None:
    """Tell of MPI_Init, which mpi4py calls while it is imported."""
    if executing is not None and module.Is_initialized():
        tell("rendezvous", executing, time.monotonic(), "MPI_Init")


_WATCHED: dict[str, Callable[[Any, float | None], None]] = {
    "torch.distributed.distributed_c10d": _torch_distributed,
    "torch.optim.optimizer": _torch_optimizer,
    "horovod.common.basics": _horovod,
    "tensorflow.python.distribute.collective_all_reduce_strategy": _tensorflow_strategy,
    "tensorflow.python.training.server_lib": _tensorflow_server,
    "mpi4py.MPI": _mpi,
}
"""What is done to a module as soon as it has been loaded."""

_importing = _Importing()
if _PIPE:
    tell("interpreter", time.monotonic())
    for _name in _WATCHED:
        if _name in sys.modules:
            _watch(_name, sys.modules[_name])
    sys.meta_path.insert(0, _importing)
