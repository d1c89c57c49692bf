"""A forked rank is what its command would have started: the same programs run both ways, and nobody can tell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("both_ways.py")
PRELOAD = ["decimal", "queue"]

EVERYTHING = """
import os, sys
print("module", __name__, globals().get("__file__"), __package__, __doc__, type(__loader__), __spec__)
print("names", sorted(globals()))
print("arguments", sys.argv, sys.orig_argv, open("/proc/self/cmdline").read(), open("/proc/self/comm").read())
print("path", sys.path, [entry for entry in sys.path_importer_cache if "preload" in entry], os.getcwd())
print("frames", sys._getframe().f_back)
print("modules", sorted(name for name in sys.modules if "custom" in name or "regiment" in name))
print("flags", sys.flags, sys.warnoptions, sys._xoptions, sys.executable, sys.prefix, sys.exec_prefix)
for name in ("stdin", "stdout", "stderr"):
    stream = getattr(sys, name)
    print(name, stream, stream.isatty(), stream.seekable(), stream.line_buffering, stream.write_through)
print("files", [os.readlink(f"/proc/self/fd/{n}").partition("[")[0] for n in range(3)])
print("number of files", len(os.listdir("/proc/self/fd")))
print("inheritable", [os.get_inheritable(n) for n in range(3)])
import signal, resource, threading, gc, faulthandler, subprocess, locale, json, time, inspect, warnings
print("signals", [(n, str(signal.getsignal(n))) for n in range(1, 65) if n not in (9, 19, 32, 33)])
print("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getitimer(signal.ITIMER_REAL))
names = ("SigB", "SigI", "SigC", "SigP", "Shd", "Umask", "NoNewPrivs")
print("status", [line for line in open("/proc/self/status") if line.startswith(names)])
print("limits", [resource.getrlimit(n) for n in range(16)])
print("session", os.getpid() == os.getsid(0) == os.getpgrp() == threading.main_thread().native_id, os.getppid())
print("priority", os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), os.sched_getscheduler(0))
print("threads", threading.enumerate(), os.listdir("/proc/self/task") == [str(os.getpid())])
print("interpreter", gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), sys.excepthook)
print("warnings", warnings.filters)
print("faulthandler", faulthandler.is_enabled(), locale.getpreferredencoding(), sys.getfilesystemencoding())
print("caller", [frame.function for frame in inspect.stack()])
print("environ", sorted(os.environ.items()))
print("C's environ", sorted(subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()))
print("rest", time.process_time() < 60, "PYTHONHASHSEED" in os.environ and hash("x"))
"""
ENDS = """
import atexit, os, signal, sys, threading, time
def f(text):
    raise ValueError(text)
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("joined"))).start()
print("not flushed", end="")
"""
MULTIPROCESSING = """
import multiprocessing, os, pickle, inspect
class Thing:
    def __init__(self, x): self.x = x
def work(queue, thing):
    queue.put((thing.x, os.environ["RANK"], multiprocessing.current_process().name, __name__))
if __name__ == "__main__":
    print(inspect.getsource(Thing), pickle.loads(pickle.dumps(Thing(3))).x, pickle.dumps(Thing(3)))
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=work, args=(queue, Thing(method)))
        process.start()
        print(method, queue.get(), process.join(), process.exitcode)
"""
SHADOWING = """
import json, socket, signal, types_of_mine
print(json.__file__, socket.__file__, signal.__file__)
"""
SUBPROCESSES = """
import asyncio, subprocess, sys
print(subprocess.run([sys.executable, "-c", "import sys; print(sys.path, sys.flags)"], capture_output=True, text=True))
async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
    print(await process.wait())
asyncio.run(main())
print(subprocess.run("ls -l /proc/self/fd | wc -l; ulimit -a; trap", shell=True, capture_output=True, text=True))
"""


NOT_WARM = frozenset(
    {
        "module",
        "command",
        "line",
        "options",
        "environ",
        "no such module",
        "sitecustomize of the user's",
        "failing sitecustomize of the user's",
        "raising sitecustomize of the user's",
        "import that changes the environment",
    }
)
"""What the warm pool is not for: options and modules, and what is only found from the program's own folder."""


def script(text: str, *words: str, files: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A case that runs a script, beside some other files."""
    command = ["python", *words, "train.py", "--lr", "0.1"]
    return {"command": command, "files": {"train.py": text, **(files or {})}, **more}


def ending(text: str, **more: Any) -> dict[str, Any]:
    return script(ENDS + text, **more)


CASES: dict[str, dict[str, Any]] = {
    "script": script(EVERYTHING, ranks=2),
    "module": {
        "command": ["python", "-m", "package.train", "a b", "$RANK"],
        "files": {"package/__init__.py": "", "package/other.py": "x = 3", "package/train.py": EVERYTHING},
    },
    "command": {"command": ["python", "-c", EVERYTHING, "-x"], "files": {"x": ""}},
    "folder": {"command": ["python", "app", "1"], "files": {"app/__main__.py": EVERYTHING}},
    "line": {
        "command": "python -u  'src/train it.py' --name=\"a  $AZUREML_RUN_ID\" \\\n ${NODE_RANK}x '$RANK' \"\"\n",
        "files": {"src/train it.py": EVERYTHING},
        "environ": {"PWD": "/", "OLDPWD": "nowhere", "SHLVL": "3"},
    },
    "line with a rank": {
        "command": "python train.py --rank $RANK",
        "files": {"train.py": "import sys; print(sys.argv, sys.orig_argv)"},
        "ranks": 3,
    },
    "options": script(EVERYTHING + "assert False\n", "-O", "-B", "-W", "error", "-u"),
    "environ": script(
        EVERYTHING,
        environ={
            "PYTHONUNBUFFERED": "",
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": "lib:",
            "PYTHONFAULTHANDLER": "",
            "PYTHONHASHSEED": "0",
            "PYTHONIOENCODING": "latin-1",
            "ÄÖ": "\udcff\n",
        },
    ),
    "sitecustomize of the user's": script(
        "import sys, mine; print(mine.found, sys.modules['sitecustomize'])",
        environ={"PYTHONPATH": "lib"},
        files={
            "lib/mine.py": "found = []",
            "lib/sitecustomize.py": "import os, mine; mine.found.append(os.environ['RANK']); print('mine')",
            "lib/usercustomize.py": "import mine; mine.found.append('user')",
        },
    ),
    "failing sitecustomize of the user's": script(
        "print('goes on')", environ={"PYTHONPATH": "lib"}, files={"lib/sitecustomize.py": "import no_such_module"}
    ),
    "raising sitecustomize of the user's": script(
        "print('goes on')", environ={"PYTHONPATH": "lib"}, files={"lib/sitecustomize.py": "raise ValueError('mine')"}
    ),
    "files of the user's with names of modules": script(
        SHADOWING, preload=[], files={f"{name}.py": "" for name in ("json", "socket", "signal", "types_of_mine")}
    ),
    "the end": ending(""),
    "exit code": ending("sys.exit(3)"),
    "large exit code": ending("sys.exit(-2)"),
    "exit with words": ending("sys.exit('words')"),
    "exit with nothing": ending("sys.exit(None)"),
    "exit at once": ending("os._exit(4)"),
    "exception": ending("f('x')"),
    "exception of an exception": ending("try: f('x')\nexcept ValueError: 1 / 0"),
    "hook for exceptions": ending("sys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno)\nf('x')"),
    "exception at exit": ending("atexit.register(f, 'late')"),
    "exception in a thread": ending("t = threading.Thread(target=f, args=('x',)); t.start(); t.join()"),
    "interrupt": ending("raise KeyboardInterrupt"),
    "interrupted": ending("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"),
    "terminated": ending("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)"),
    "aborted": ending("os.abort()"),
    "killed": ending("os.kill(os.getpid(), signal.SIGKILL)"),
    "end of input": ending("print(repr(sys.stdin.read()))\ninput()"),
    "syntax error": script("if True print()"),
    "no such script": {"command": ["python", "missing.py"], "files": {"x": ""}},
    "no such module": {"command": ["python", "-m", "missing.module"], "files": {"x": ""}},
    "nul in the script": script("x = '\0'"),
    "multiprocessing": script(MULTIPROCESSING),
    "subprocesses": script(SUBPROCESSES),
    "import that changes the environment": script(
        "import settings, os, subprocess; print(sorted(os.environ.items())); subprocess.run('env | sort', shell=True)",
        preload=["settings"],
        environ={"GONE": "1", "CHANGED": "1"},
        files={"settings.py": "import os; del os.environ['GONE']; os.environ.update(SET='1', CHANGED='2')"},
    ),
}

HELLO = "import sys; print('hello', sys.argv)"


def importing(text: str) -> dict[str, Any]:
    """A case with a module that leaves something behind."""
    return script(HELLO, preload=["module"], files={"module.py": text})


def line(text: str, **more: Any) -> dict[str, Any]:
    """A case with a line for the shell."""
    return {**script(HELLO, **more), "command": text}


STARTED_ONE_BY_ONE: dict[str, tuple[str, dict[str, Any]]] = {
    "two commands": ("'&' in it", line("echo a && python train.py")),
    "two lines": ("'\\n' in it", line("cd .\npython train.py")),
    "pattern": ("'*' in it", line("python train.py *.py")),
    "variable of the shell's": ("$PPID", line("python train.py $PPID")),
    "value with blanks": ("$X", line("python train.py $X", environ={"X": "a b"})),
    "assignment": ("more than to start", line("A=1 python train.py")),
    "BASH_ENV": ("BASH_ENV", line("python train.py", environ={"BASH_ENV": "/dev/null"})),
    "function of bash's": ("function of", line("python train.py", environ={"BASH_FUNC_python%%": "() { echo mine; }"})),
    "other program": ("is not the job's Python", {"command": ["sh", "-c", "exit 3"], "files": {"x": ""}}),
    "no program": ("starts no-such", {"command": ["no-such", "x"], "files": {"x": ""}}),
    "option": ("option -I", script(HELLO, "-I")),
    "nothing to run": ("nothing to run", {"command": ["python", "-u"], "files": {"x": ""}}),
    "no module": ("no_such cannot be imported: ModuleNotFound", script(HELLO, preload=["no_such"])),
    "thread": (
        "started threads",
        importing("import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()"),
    ),
    "process": ("started a process", importing("import subprocess; p = subprocess.Popen(['sleep', '9'])")),
    "file": ("module.py open", importing("file = open(__file__)")),
    "socket": ("socket:", importing("import socket; s = socket.socket()")),
    "current folder": ("changed the folder", importing("import os; os.chdir('/')")),
    "path": ("beginning of sys.path", importing("import sys; sys.path.insert(0, '/x')")),
    "exit": ("SystemExit: 3", importing("import sys; sys.exit(3)")),
    "death": ("has ended", importing("import os; os.abort()")),
    "torch of another version": (
        "not been tested with torch 1.0",
        script(HELLO, preload=["torch"], files={"torch.py": "__version__ = '1.0'"}),
    ),
}
ALL_CASES = CASES | {name: case for name, (_, case) in STARTED_ONE_BY_ONE.items()}


def both_ways(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Run cases both ways."""
    given = {
        name: {"preload": PRELOAD, "warm": name in CASES and name not in NOT_WARM, **case}
        for name, case in cases.items()
    }
    done = subprocess.run(
        [sys.executable, str(DRIVER)],
        cwd=folder,
        # Little enough to be printed where a test fails.
        env={name: os.environ[name] for name in ("HOME", "LANG", "PATH", "PYTHONPATH") if name in os.environ},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return both_ways(tmp_path_factory.mktemp("both-ways"), ALL_CASES)


def comparable(log: str) -> list[str]:
    """A log's lines, without what differs between any two processes."""
    log = re.sub(r"0x[0-9a-f]{6,}|started \d+", "...", log)
    return log.splitlines()


@pytest.mark.parametrize("name", CASES)
def test_a_forked_rank_is_as_one_that_was_started(results: dict[str, Any], name: str) -> None:
    spawned, forked = results[name]["spawn"], results[name]["fork"]
    assert forked["notes"] == [], "it was not forked"
    assert [comparable(log) for log in forked["logs"]] == [comparable(log) for log in spawned["logs"]]
    assert forked["ends"] == spawned["ends"]


@pytest.mark.parametrize("name", sorted(CASES.keys() - NOT_WARM))
def test_a_rank_from_the_warm_pool_is_as_one_that_was_started(results: dict[str, Any], name: str) -> None:
    spawned, forked = results[name]["spawn"], results[name]["warm"]
    assert "forking from what the warm pool had imported" in forked["node_log"]
    assert "importing again" not in forked["node_log"] and forked["notes"] == []
    # What the kernel shows as the command has the room of a long one, with zeros at its end.
    logs = [comparable(re.sub("\0{100,}", "\0", log)) for log in forked["logs"]]
    assert logs == [comparable(log) for log in spawned["logs"]]
    assert forked["ends"] == spawned["ends"]


@pytest.mark.parametrize("name", STARTED_ONE_BY_ONE)
def test_what_cannot_be_forked_is_started_one_by_one_and_why_is_told(results: dict[str, Any], name: str) -> None:
    reason, _ = STARTED_ONE_BY_ONE[name]
    spawned, forked = results[name]["spawn"], results[name]["fork"]
    (note,) = forked["notes"]
    assert note.startswith("start_method fork: processes are started one by one instead, for ")
    assert reason in note
    assert [comparable(log) for log in forked["logs"]] == [comparable(log) for log in spawned["logs"]]
    assert forked["ends"] == spawned["ends"]


def test_chance_is_each_ranks_own(tmp_path: Path) -> None:
    case = script("import random, uuid, tempfile; print(random.random(), uuid.uuid4(), tempfile.mktemp())", ranks=3)
    result = both_ways(tmp_path, {"chance": {**case, "preload": ["random", "uuid", "tempfile"]}})["chance"]["fork"]
    assert result["notes"] == []
    assert len({word for log in result["logs"] for word in log.split()}) == 9
