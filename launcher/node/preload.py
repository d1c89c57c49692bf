"""Imports modules once on a node and forks its ranks, each of which goes on as the Python that its command starts.

A copy of this file called `sitecustomize.py` lies in a folder that comes first in the PYTHONPATH of one process a node,
which is started with the very command of the ranks. So Python's own `site` imports it before the program. In the
process itself it never returns: it imports, sees that it is fit to be forked, and forks on request. In each fork it
does return, and Python goes on there by itself: `sys.argv`, `__main__`, tracebacks, `atexit` and ends are its own, with
no frame of ours.

It uses only modules that every Python has loaded by now: a file of the user's may have the name of any other.
"""

from __future__ import annotations

import _socket
import gc
import os
import sys
import time

TYPE_CHECKING = False  # As typing's, which is not loaded by now.
if TYPE_CHECKING:
    from typing import Any

    _Found = dict[str, tuple[int, int, int]]
    """Paths, each with what tells its file from what it may become."""

_LATE = "regiment_late_program"
_ORDER = "REGIMENT_PRELOAD"
"""The variable with what to import: the number of the socket, the modules, the program's own folder."""
_MOST_FILES = 253
"""As many open files can come with one message (SCM_MAX_FD)."""
_DEVICES = ("/dev/nvidia", "/dev/infiniband", "/dev/kfd", "/dev/dri")
_TESTED_TORCH = ("2.13.",)
"""The versions of PyTorch whose forks the tests have shown to be as good as new processes."""
_THREADS_GO = 0.1
"""Seconds: a thread that has been joined is still listed for a moment."""
_OPENBLAS_SETTERS = tuple(
    f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "_64", "")
)


def _borrowed_json() -> Any:
    """Give the module, as if it had never been imported: the program may mean another one by any of these names."""
    known = set(sys.modules)
    import json

    for name in set(sys.modules) - known:
        del sys.modules[name]
    return json


_json = _borrowed_json()


def _late_program() -> Any:
    """Give what lets a fork have its program later on, where this Python was started for none; else None."""
    if not os.path.exists(os.path.join(os.path.dirname(__file__), f"{_LATE}.py")):
        return None
    __import__(_LATE)
    return sys.modules.pop(_LATE)


_late = _late_program()


# --- in the process that imports and forks ----------------------------------------------------------


def _serve() -> None:
    """Import and fork until the agent hangs up; comes back in the ranks alone."""
    is_rank = False
    began = time.time_ns()
    try:
        number, modules, folder = os.environ[_ORDER].split(":", 2)
        agent = _socket.socket(fileno=int(number))
        reason = _import(list(filter(None, modules.split(","))), None if _late else folder)
        if reason is None and _late:
            reason = _late.try_out()
            if reason is None:
                agent.close()
                is_rank = True
                return
        if reason:
            _say(agent, type="unfit", reason=reason)
            return
        gc.collect()
        gc.freeze()
        _let_go_of_output()
        found: _Found | None = _find(None) if _late else None
        _say(agent, type="fit")
        while True:
            line, outputs = _receive(agent)
            if not line:
                return
            order = _json.loads(line)
            if order["type"] == "renew":
                reason = _staleness(found, _find(order["folder"]), began)
                _say(agent, **({"type": "fit"} if reason is None else {"type": "stale", "reason": reason}))
                continue
            rank = _fork(agent, order["ranks"], outputs)
            if rank is not None:
                _settle(rank)
                is_rank = True
                return
            found = found or _find(folder)  # The ranks run already.
    except BaseException:  # noqa: BLE001  (whatever it is, Python must not go on to run the program in this process)
        sys.excepthook(*sys.exc_info())
    finally:
        if not is_rank:
            os._exit(1)


def _import(modules: list[str], folder: str | None) -> str | None:
    """Import what is wanted the way the program would; gives why the process is not fit to be forked, or None.

    `folder` is the program's; None where there is no program yet.
    """
    known, here = _open_files(), os.getcwd()
    if getattr(sys.flags, "safe_path", False):
        folder = None
    if folder is not None:
        sys.path.insert(0, folder)
    for name in modules:
        try:
            __import__(name)
        except BaseException as error:  # noqa: BLE001  (a module may raise anything, and so would the program)
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if folder is not None:
        # Python will put it first again, so nothing may have got before it.
        if sys.path[0] != folder:
            return "what was imported has changed the beginning of sys.path"
        del sys.path[0]
        sys.path_importer_cache.pop(folder or here, None)
    return _unfitness(known, here)


def _unfitness(known: dict[str, str], here: str) -> str | None:
    torch = sys.modules.get("torch")
    if torch is not None and not torch.__version__.startswith(_TESTED_TORCH):
        return f"forking has not been tested with torch {torch.__version__}"
    if torch is not None and torch.cuda.is_initialized():
        return "what was imported has initialised CUDA"
    left = sorted(path for number, path in _open_files().items() if known.get(number) != path)
    devices = [path for path in left if path.startswith(_DEVICES)]
    if left:
        return f"what was imported has {(devices or left)[0]} open"
    if os.getcwd() != here:
        return "what was imported has changed the folder"
    try:
        os.waitpid(-1, os.WNOHANG)
        return "what was imported has started a process"
    except ChildProcessError:
        pass
    return None if _has_one_thread() else "what was imported has started threads"


def _has_one_thread() -> bool:
    deadline = time.monotonic() + _THREADS_GO
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _open_files() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # The one that listed them.
    return found


def _let_go_of_output() -> None:
    """Leave the pipe: whoever reads it waits for its end when an attempt is over, and we may stay for the next."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _find(folder: str | None) -> _Found:
    """See what an import of the same modules would find now: files, and what has their names on the way to them."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())} | {sys.executable}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths.update("/" + line.rstrip("\n").partition("/")[2] for line in file if " r-xp " in line and "/" in line)
    files = {path: _version(path) for path in paths if isinstance(path, str)}
    names = {name.partition(".")[0] for name in sys.modules}
    for entry in (*(() if folder is None else (folder,)), *sys.path):
        try:
            listed = os.listdir(entry or ".")
        except OSError:
            files[entry] = _version(entry)  # An archive, or nothing.
            continue
        for name in listed:
            path = os.path.join(entry, name)
            # Outputs may have such a beginning as well, and folders are only packages if they say so.
            if name.partition(".")[0] in names and (
                name.endswith((".py", ".pyc", ".so")) or os.path.exists(f"{path}/__init__.py")
            ):
                files.setdefault(path, (0, 0, 0))
    return files


def _version(path: str) -> tuple[int, int, int]:
    """Tell a file from what it becomes when it is written to, replaced, or reached by a link that was moved."""
    try:
        state = os.stat(path)
    except OSError:
        return 0, 0, 0
    return state.st_dev, state.st_ino, state.st_ctime_ns


def _staleness(before: _Found | None, now: _Found, began: int) -> str | None:
    """Say what would be imported in another way now, as the beginning of a sentence; None where nothing would."""
    if before is not None:
        changed = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
    else:
        changed = []
    # What was written while we imported may have been read before or after that.
    changed += [path for path, (_, _, at) in now.items() if at > began]
    return f"{min(changed)} has changed" if changed else None


def _fork(agent: _socket.socket, ranks: list[dict[str, Any]], outputs: list[int]) -> dict[str, Any] | None:
    """Fork ranks; gives each its own part of the order, and None to the process that goes on forking.

    A process between them forks them all and ends, so that they become the agent's children (it adopts orphans): what
    becomes of them the kernel tells it, whatever becomes of us. They wait at a gate until that is so.
    """
    gate, opener = os.pipe()
    between = os.fork()
    if between == 0:
        os.close(opener)
        for rank, output in zip(ranks, outputs, strict=True):
            try:
                pid = os.fork()
            except OSError as error:
                _say(agent, type="notForked", rank=rank["rank"], reason=f"cannot fork: {error.strerror}")
                continue
            if pid == 0:
                os.dup2(output, 1)
                os.dup2(output, 2)
                for descriptor in outputs:
                    os.close(descriptor)
                _come_up(agent, rank["rank"], gate)
                return rank
        os._exit(0)
    for descriptor in (gate, *outputs):
        os.close(descriptor)
    os.waitpid(between, 0)
    _say(agent, type="forked")  # Before any of them can end: the agent knows then that we have nothing to do.
    try:
        os.write(opener, b"." * len(ranks))
    except BrokenPipeError:
        pass  # All have been killed at the gate.
    os.close(opener)
    return None


def _come_up(agent: _socket.socket, rank: int, gate: int) -> None:
    """Lead a session, tell the agent, and wait until this is its child."""
    os.setsid()
    _say(agent, type="started", rank=rank, pid=os.getpid())
    agent.close()
    if not os.read(gate, 1):
        os.write(2, b"regiment: the process that this one was forked from was killed\n")
        os._exit(1)
    os.close(gate)


def _say(agent: _socket.socket, **words: Any) -> None:
    agent.sendall(_json.dumps(words).encode() + b"\n")


def _receive(agent: _socket.socket) -> tuple[bytes, list[int]]:
    """Get an order and the pipes that come with it; no order where the agent is gone."""
    data = b""
    files: list[int] = []
    while not data.endswith(b"\n"):
        part, ancillary, _, _ = agent.recvmsg(1024 * 1024, _socket.CMSG_SPACE(4 * _MOST_FILES))
        if not part:
            return b"", []
        data += part
        for _, _, numbers in ancillary:
            files += (int.from_bytes(numbers[at : at + 4], sys.byteorder) for at in range(0, len(numbers), 4))
    return data, files


# --- in a rank --------------------------------------------------------------------------------------


def _settle(rank: dict[str, Any]) -> None:
    """Give the rank what is its own: processors, environment, arguments, chance and threads."""
    if rank["cpus"]:
        try:
            os.sched_setaffinity(0, rank["cpus"])
        except OSError as error:
            os.write(2, f"regiment: cannot bind to CPUs {rank['cpus']}: {error.strerror}\n".encode())
    if _late:
        _late.become(rank["program"])
    _replace_environ(rank["environ"])
    count = len(rank["arguments"])
    if count and sys.argv[-count:] != rank["arguments"]:
        sys.argv[-count:] = rank["arguments"]
        sys.orig_argv[-count:] = rank["arguments"]
    threading = sys.modules.get("threading")
    if threading is not None and hasattr(threading.main_thread(), "_set_native_id"):
        threading.main_thread()._set_native_id()  # Python's own care after a fork leaves this one out.
    _reseed()
    _give_openblas_its_threads()
    threads = rank["environ"].get("OMP_NUM_THREADS", "")
    if _late and threads.isdecimal():
        _late.give_openmp_its_threads(int(threads))


def _replace_environ(wanted: dict[str, str]) -> None:
    """Set the rank's own environment, but for what Python and the imports have changed in the one they got."""
    with open("/proc/self/environ", "rb") as file:
        given = dict(os.fsdecode(item).partition("=")[::2] for item in file.read().split(b"\0") if item)
    changed = {name: value for name, value in os.environ.items() if given.get(name) != value}
    wanted = {name: value for name, value in wanted.items() if name in os.environ or name not in given} | changed
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _reseed() -> None:
    """Seed what every new process seeds by chance; Python's own `random` does so at each fork."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _give_openblas_its_threads() -> None:
    """Let OpenBLAS have the threads that it would have started when it was loaded, had we not kept it to one."""
    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
    values = (os.environ.get(name, "").partition(",")[0].strip() for name in names)
    processors = len(os.sched_getaffinity(0))
    count = min(processors, next((int(value) for value in values if value.isdecimal() and int(value)), processors))
    if count == 1 or "ctypes" not in sys.modules:
        return
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {line.rstrip("\n").partition("/")[2] for line in file if "openblas" in line}
    for path in paths:
        try:
            library = sys.modules["ctypes"].CDLL(f"/{path}")
        except OSError:
            continue  # A file that is gone by now.
        for name in _OPENBLAS_SETTERS:
            setter = getattr(library, name, None)
            if setter is not None:
                setter(count)


def _run_next() -> None:
    """Run the `sitecustomize` that Python would have found without us, with the `sys.path` it would have had."""
    here = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    del sys.modules[__name__]
    # That there is none, or what is wrong with it, becomes of our own import what it would have become of its.
    __import__(__name__)


_serve()
_run_next()
