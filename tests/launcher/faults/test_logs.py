"""Logs under stress: floods, lines without end, bytes that are no text, full disks and readers that stop reading."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import GUARD, Lab

BLOCK = b"x" * 99 + b"\n"
MOST_MEMORY = 64
"""MB that each process of ours may have at most, however much the job prints."""

FLOOD = """\
import os, sys
block = b"x" * 99 + b"\\n"
for n in range(int(sys.argv[1])): sys.stdout.buffer.write(block * 10_000)
"""


def peak_memory(pid: int) -> float:
    """The most memory in MB that a living process has had."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{pid} has ended")


def driver_log(lab: Lab, run_id: str = "r") -> Path:
    return lab.run_folder(run_id) / "azureml-logs" / "70_driver_log.txt"


def run_on_small_disk(lab: Lab, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of shell beside a small file system ./ws, which goes with the last process."""
    regiment = f"{sys.executable} -m regiment"
    whole = f"mkdir ws && mount -t tmpfs -o {options} none ws && {script.replace('REGIMENT', regiment)}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", whole],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )


@pytest.mark.slow
def test_a_flood_takes_little_memory_while_the_viewer_is_stopped_and_ends_byte_exact(lab: Lab) -> None:
    lab.write("flood.py", FLOOD + "open('done', 'w')\nimport time\nwhile not os.path.exists('end'): time.sleep(0.05)\n")
    process = lab.start("run", "--name", "r", "--", "python", "flood.py", "100")
    lab.wait_until(lambda: driver_log(lab).exists() and driver_log(lab).stat().st_size > 0)
    process.send_signal(signal.SIGSTOP)
    lab.wait_until(lambda: (lab.folder / "done").exists())  # which it would never be if anything held it up
    run = lab.show("r")
    ours = [process.pid, run["coordinator"]["pid"], run["nodes"][0]["agentPid"], run["nodes"][0]["keeperPid"]]
    lab.wait_until(lambda: driver_log(lab).stat().st_size == 100 * 10_000 * len(BLOCK))
    assert max(map(peak_memory, ours)) < MOST_MEMORY
    process.send_signal(signal.SIGCONT)
    # Nobody reads what the viewer prints, and it must not keep that in its memory either.
    (lab.folder / "end").touch()
    lab.wait_until(lambda: bool(lab.events("r", "run_ended")))
    assert peak_memory(process.pid) < MOST_MEMORY
    process.kill()
    with driver_log(lab).open("rb") as file:
        assert all(file.read(len(BLOCK) * 10_000) == BLOCK * 10_000 for _ in range(100)) and not file.read(1)


def test_a_line_of_ten_megabytes_is_shown_and_kept_whole(lab: Lab) -> None:
    lab.write("p.py", "import sys; sys.stdout.write('y' * 10_000_000 + '\\n' + 'half a line')")
    result = lab.run("run", "--name", "r", "--", "python", "p.py")
    assert result.stdout == "y" * 10_000_000 + "\n" + "half a line\n"
    assert driver_log(lab).read_bytes() == b"y" * 10_000_000 + b"\nhalf a line"


def test_bytes_that_are_no_text_are_kept_exactly_and_shown_harmlessly(lab: Lab) -> None:
    nasty = b"a\x00b\xff\xfe \x1b]0;owned\x07 \x1b[2J \x1b[31mred\x1b[0m \x9b31m \xe2\x80\xae\nnext\x1b[1A\rover\nhalf"
    lab.write("p.py", f"import sys; sys.stdout.buffer.write({nasty!r})")
    result = lab.run("run", "--name", "r", "--nodes", "2", "--", "python", "p.py")
    for node in (0, 1):
        log = lab.run_folder("r") / "azureml-logs" / f"node-{node}" / f"70_driver_log_{node}.txt"
        assert log.read_bytes() == nasty
    assert not any(ord(char) < 32 and char != "\n" for char in result.stdout + lab.run("logs", "r").stdout)
    assert r"a\x00b\xff\xfe" in result.stdout and "\u202e" not in result.stdout


def test_what_a_full_disk_could_not_take_is_counted_and_the_rank_never_sees_it(lab: Lab) -> None:
    script = (
        "REGIMENT run --name r --workspace ws -- python -c "
        '\'import sys; [sys.stdout.write("x" * 99 + chr(10)) for _ in range(50_000)]; open("done", "w")\''
        " > /dev/null && stat -c %s ws/runs/r/azureml-logs/70_driver_log.txt"
    )
    result = run_on_small_disk(lab, "size=4m", script)
    assert result.returncode == 0, result.stderr
    assert (lab.folder / "done").exists()
    lost = 50_000 * 100 - int(result.stdout)
    assert f"{lost} bytes of its output were not kept" in result.stderr
    assert "No space left on device" in result.stderr and "Completed" in result.stderr


def test_a_file_system_without_inodes_ends_no_run(lab: Lab) -> None:
    script = (
        "{ REGIMENT run --name r --nodes 2 --workspace ws -- "
        "sh -c 'touch up-$RANK; until [ -e full ]; do sleep 0.05; done; echo last; touch done-$RANK' & "
        "until [ -e up-0 ] && [ -e up-1 ]; do sleep 0.05; done; "
        "n=0; while touch ws/filler-$n 2>/dev/null; do n=$((n+1)); done; touch full; wait $!; }"
    )
    result = run_on_small_disk(lab, "size=20m,nr_inodes=400", script)
    assert result.returncode == 0, result.stderr
    assert "cannot be written" in result.stderr and "Completed" in result.stderr
    assert (lab.folder / "done-0").exists() and (lab.folder / "done-1").exists()
    assert sorted(result.stdout.splitlines()) == ["[node-0 rank 0] last", "[node-1 rank 1] last"]


@pytest.mark.parametrize("what", ["runs/r/attempts", "runs/r", ""])
def test_a_folder_that_is_deleted_under_a_run_changes_no_verdict(lab: Lab, what: str) -> None:
    lab.write("rank.sh", f"{lab.everybody(2)}\nuntil [ -e gone ]; do sleep 0.05; done; echo late; exit $((RANK * 3))")
    process = lab.start("run", "--name", "r", "--nodes", "2", "--", "sh", "rank.sh")
    lab.wait_until(lambda: (lab.folder / "came-0").exists() and (lab.folder / "came-1").exists())
    (lab.folder / ".regiment" / what).rename(lab.folder / "deleted")  # At once: the run makes files in it meanwhile.
    shutil.rmtree(lab.folder / "deleted")
    lab.write("gone", "")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1, err
    assert "rank 1 on node-1 failed first: exit code 3" in err
    assert 1 <= err.count("the run's record cannot be written") <= 2, err
