"""Secrets and strangers: what others on this machine can see of a run, and do to it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from regiment.launcher.bundle import packed_agent

from ..conftest import GUARD, Lab

NOBODY = 65534
SECRET = "geheim-0815"
_SETRESUID = {"x86_64": 117, "aarch64": 147}


def as_nobody(work: Callable[[], object]) -> object:
    """Do something as another user, in a thread: the kernel knows a user for each; gives an OSError it ended with."""
    results: list[object] = []

    def change_and_work() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall(_SETRESUID[platform.machine()], NOBODY, NOBODY, NOBODY) == 0
        try:
            results.append(work())
        except OSError as error:
            results.append(error)

    thread = threading.Thread(target=change_and_work)
    thread.start()
    thread.join()
    return results[0]


def running(lab: Lab, *flags: str, processes: int = 2, **environ: str) -> subprocess.Popen[str]:
    """Start a run that waits for a file `end`, and wait until all its processes have come."""
    lab.write("rank.sh", f"{lab.everybody(processes)}; until [ -e '{lab.folder}/end' ]; do sleep 0.05; done")
    process = lab.start("run", "--name", "r", *flags, "--", "sh", f"{lab.folder}/rank.sh", **environ)
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in range(processes)))
    return process


def end(lab: Lab, process: subprocess.Popen[str]) -> str:
    lab.write("end", "")
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    return out + err


def command_lines(lab: Lab) -> bytes:
    return b"\n".join(map(lab.command_line, lab.processes()))


@pytest.mark.parametrize(
    "flags",
    [
        ("--nodes", "2"),
        pytest.param(
            ("--nodes", "2", "--nproc", "1", "--type", "pytorch"), marks=[pytest.mark.torch, pytest.mark.slow]
        ),
        pytest.param(("--nodes", "2", "--nproc", "1", "--type", "mpi"), marks=[pytest.mark.mpi, pytest.mark.slow]),
    ],
    ids=["spawn", "torchrun", "mpirun"],
)
def test_a_secret_is_on_no_command_line_in_no_file_and_in_none_of_our_words(lab: Lab, flags: tuple[str, ...]) -> None:
    process = running(lab, *flags, "--env", f"HF_TOKEN={SECRET}", "--env", "WANDB_API_KEY", WANDB_API_KEY=SECRET)
    assert SECRET.encode() not in command_lines(lab).replace(f"--env\0HF_TOKEN={SECRET}".encode(), b"")
    said = end(lab, process)
    for command in (("show", "r"), ("show", "r", "-o", "json"), ("list", "-o", "json"), ("logs", "r")):
        said += lab.run(*command).stdout
    said += lab.run("plan", *flags, "--env", f"HF_TOKEN={SECRET}", "--", "true").stdout
    assert SECRET not in said
    for path in (lab.folder / ".regiment").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_with_any_umask_and_in_any_folder_all_is_for_this_user_alone_and_the_job_has_its_own_umask(lab: Lab) -> None:
    (lab.folder / "ws").mkdir(mode=0o755)
    lab.write("src/x", "x")
    regiment = f"{sys.executable} -m regiment"
    rank = "umask; mkdir -p outputs/a logs; echo $RANK > outputs/a/b; touch logs/l"
    script = f"umask 000; exec {regiment} run --workspace ws --name r --nodes 2 --code src -- sh -c '{rank}'"
    result = subprocess.run(
        ["sh", "-c", script],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("0000\n") == 2
    # What the job wrote or brought has the mode that the job gave it, in folders that nobody else can enter.
    theirs = {
        lab.folder / "ws" / place for place in ("runs/r/outputs", "runs/r/logs", "runs/r/code", "snapshots/objects")
    }
    for path in (lab.folder / "ws").rglob("*"):
        is_content = path.is_file() and not theirs.isdisjoint(path.parents) and path.parent.name != "azureml"
        if not is_content and not path.is_symlink() and path.name != "code":
            assert path.stat().st_mode & 0o077 == 0, path


def test_another_user_can_neither_read_a_run_nor_reach_its_sockets(lab: Lab) -> None:
    process = running(lab, "--nodes", "2")
    run = json.loads((lab.run_folder("r") / "run.json").read_text())
    for path in (lab.folder, *lab.folder.parents[:-2], lab.sockets):
        path.chmod(0o755)  # pytest's own folders are private too
    assert isinstance(as_nobody((lab.run_folder("r") / "run.json").read_text), PermissionError)

    def call(path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(GUARD)
            connection.connect(path)
            connection.sendall(b'{"type": "watch", "protocol": 1}\n')
            return connection.recv(1000)

    sockets = [run["coordinator"]["socket"], *(node["socket"] for node in run["nodes"])]
    for path in sockets:
        assert isinstance(as_nobody(partial(call, path)), PermissionError)
        # Where somebody has opened folder and socket to all, the kernel still says who calls.
        Path(path).parent.chmod(0o755)
        Path(path).chmod(0o666)
        answer = as_nobody(partial(call, path))
        assert answer == b"" or isinstance(answer, ConnectionError)
    end(lab, process)


def test_a_workspace_of_another_users_is_refused_with_his_name(lab: Lab) -> None:
    (lab.folder / "ws").mkdir()
    os.chown(lab.folder / "ws", NOBODY, NOBODY)
    result = lab.run("run", "--workspace", "ws", "--", "true")
    assert result.returncode == 2
    assert "belongs to user nobody, who could change what would run as you" in result.stderr


@pytest.mark.parametrize("folder", ["", "cache", "runs"])
def test_a_workspace_in_which_everybody_may_write_is_refused(lab: Lab, folder: str) -> None:
    place = lab.folder / "ws" / folder
    place.mkdir(parents=True)
    place.chmod(0o777)
    result = lab.run("run", "--workspace", "ws", "--", "true")
    assert result.returncode == 2
    assert "everybody may write in" in result.stderr and f"'chmod o-w {place}'" in result.stderr


def test_links_that_lie_in_wait_are_not_followed(lab: Lab) -> None:
    victim = lab.write("victim", "precious")
    packed = packed_agent(lab.folder / "other")
    cache, runs = lab.folder / ".regiment/cache", lab.folder / ".regiment/runs"
    cache.mkdir(parents=True, mode=0o700)
    runs.mkdir(mode=0o700)
    (cache / packed.name).symlink_to(victim)
    (runs / "r").symlink_to(lab.folder / "elsewhere")
    assert lab.run("run", "--name", "r", "--", "true").returncode == 2
    assert not (lab.folder / "elsewhere").exists()
    assert lab.run("run", "--name", "s", "--", "true").returncode == 0
    assert victim.read_text() == "precious"
    assert stat.S_ISREG((cache / packed.name).lstat().st_mode)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "-rf", ".", "..", "", "a" * 300, "a\nb", "\N{PILE OF POO}", "$(touch hit)", "a;touch hit"]
)
def test_a_name_that_is_no_name_is_refused_before_anything_is_made(lab: Lab, name: str) -> None:
    result = lab.run("run", f"--name={name}", "--", "true")
    assert result.returncode == 2
    assert "cannot be a name" in result.stderr
    assert lab.run("cancel", "--", name).returncode == 2
    assert list(lab.folder.iterdir()) == []


def test_no_shell_ever_reads_arguments_names_and_variables(lab: Lab) -> None:
    evil = "; touch hit; $(touch hit) `touch hit` ' \" \n -oProxyCommand=touch\thit"
    show = "import os, sys; print(repr([sys.argv[1:], os.environ['V']]))"
    lab.write("p.py", show)
    result = lab.run("run", "--name", "r", "--nodes", "2", "--env", f"V={evil}", "--", "python", "p.py", evil, "*")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(repr([[evil, "*"], evil])) == 2
    assert not list(lab.folder.rglob("hit"))
