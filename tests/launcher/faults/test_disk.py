"""What lies on the disk after anything: the history still lists, and nothing but an unfinished line is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from regiment.jobs.journal import read_journal
from regiment.launcher.cli.main import main

from ..conftest import ENDLESS, GUARD, Lab

NAMES = ("run.json", "events.jsonl", "plan.json", "azureml-logs/process_status.json", "azureml-logs/process_info.json")


@pytest.fixture
def finished(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A workspace with two runs that are over; the command line is called in this process, to try many things."""
    for name in ("good", "r"):
        assert lab.run("run", "--name", name, "--nodes", "2", "--", "echo", "hello").returncode == 0
    monkeypatch.chdir(lab.folder)
    return lab


def all_commands_cope(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is our own fault, whatever is damaged, and the other run is still there."""
    for arguments in (["list", "-o", "json"], ["show", "r"], ["logs", "r"], ["wait", "r"], ["cancel", "r"]):
        status = main(arguments)
        said = capsys.readouterr()
        assert status in (0, 2, 3), (arguments, said.err)
        assert "Traceback" not in said.err and "internal error" not in said.err, (arguments, said.err)
        if arguments[0] == "list":
            assert status == 0
            assert "good" in [row["runId"] for row in json.loads(said.out)]


def test_with_bytes_flipped_anywhere_the_history_still_lists(finished: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    random_of = random.Random(6)
    for name in NAMES * 5:
        path = finished.run_folder("r") / name
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(random_of.randint(1, 3)):
            data[random_of.randrange(len(data))] ^= 1 << random_of.randrange(8)
        path.write_bytes(data)
        all_commands_cope(capsys)
        path.write_bytes(whole)


def test_with_any_file_cut_short_or_gone_the_history_still_lists(
    finished: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        path = finished.run_folder("r") / name
        whole = path.read_bytes()
        for length in (0, len(whole) // 3, len(whole) - 2):
            path.write_bytes(whole[:length])
            all_commands_cope(capsys)
        path.unlink()
        all_commands_cope(capsys)
        path.write_bytes(whole)


def test_a_journal_that_is_cut_anywhere_loses_only_the_unfinished_line(finished: Lab) -> None:
    path = finished.run_folder("r") / "events.jsonl"
    whole, copy = path.read_bytes(), finished.folder / "copy"
    for length in range(0, len(whole), 7):
        copy.write_bytes(whole[:length])
        entries = list(read_journal(copy))
        finished_lines = whole[:length].count(b"\n")
        assert len(entries) in (finished_lines, finished_lines + 1)  # a last line may lack its newline alone
        assert [entry["seq"] for entry in entries] == list(range(len(entries)))


def names_a_coordinator(record: Path) -> bool:
    return record.exists() and b"coordinator.sock" in record.read_bytes()


@pytest.mark.slow
def test_a_coordinator_killed_at_any_moment_leaves_a_history_that_lists_and_tells(lab: Lab) -> None:
    count = 8
    for seed in range(count):
        name = f"run-{seed}"
        process = lab.start("run", "--name", name, "--nodes", "2", "--", "sh", "-c", "echo hello; sleep 0.3")
        record = lab.run_folder(name) / "run.json"
        lab.wait_until(partial(names_a_coordinator, record))
        time.sleep(random.Random(seed).uniform(0, 1.0))
        try:
            os.kill(json.loads(record.read_text())["coordinator"]["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass  # It had completed; on an idle machine some have.
        process.communicate(timeout=GUARD)
        (row,) = [row for row in json.loads(lab.run("list", "-o", "json").stdout) if row["runId"] == name]
        assert (row["status"], process.returncode) in (("Completed", 0), ("Failed", 3))
        events = (lab.run_folder(name) / "events.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["seq"] for line in events[:-1]] == list(range(len(events) - 1))
        for path in lab.run_folder(name).rglob("*.json"):
            assert json.loads(path.read_text()), path
    assert len(json.loads(lab.run("list", "-o", "json").stdout)) == count


@pytest.mark.slow
def test_of_many_launchers_with_one_name_one_runs_and_the_others_name_the_owner(lab: Lab) -> None:
    command = ("run", "--name", "r", "--", "sh", "-c", f"echo $$ > pid-$$; exec sleep {ENDLESS}")
    launchers = [lab.start(*command) for _ in range(4)]
    lab.wait_until(lambda: sum(process.poll() is not None for process in launchers) == 3)
    (winner,) = [process for process in launchers if process.poll() is None]
    for process in launchers:
        if process is not winner:
            assert process.returncode == 2
            assert "run 'r'" in process.communicate()[1]
    lab.wait_until(lambda: list(lab.folder.glob("pid-*")))
    owner = lab.show("r")["coordinator"]
    late = lab.run(*command)
    assert late.returncode == 2
    assert f"is owned by process {owner['pid']} on {owner['host']}" in late.stderr
    assert len(list(lab.folder.glob("pid-*"))) == 1
    winner.send_signal(signal.SIGINT)
    winner.communicate(timeout=GUARD)
    assert "there is a run 'r'" in lab.run(*command).stderr


def test_a_workspace_that_is_deleted_is_begun_anew(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "true").returncode == 0
    shutil.rmtree(lab.folder / ".regiment")
    assert lab.run("list").returncode == 0
    assert lab.run("run", "--name", "r", "--", "true").returncode == 0


def test_a_full_disk_at_the_submission_is_told_and_leaves_the_name_free(lab: Lab) -> None:
    from .test_logs import run_on_small_disk

    script = (
        "mkdir -p ws/runs ws/cache ws/snapshots && chmod -R go= ws && dd if=/dev/zero of=ws/filler bs=1k 2>/dev/null; "
        "REGIMENT run --name r --workspace ws -- true; echo status $?; ls ws/runs; rm ws/filler; "
        "REGIMENT run --name r --workspace ws -- true; echo status $?"
    )
    result = run_on_small_disk(lab, "size=4m", script)
    assert result.stdout == "status 2\nstatus 0\n", result.stdout + result.stderr
    assert "No space left on device" in result.stderr and "internal error" not in result.stderr


def test_what_a_reader_may_not_read_is_named(lab: Lab) -> None:
    from .test_intruders import as_nobody

    assert lab.run("run", "--name", "r", "--", "true").returncode == 0
    for path in (lab.folder, *lab.folder.parents[:-2]):
        path.chmod(0o755)
    workspace = str(lab.folder / ".regiment")
    assert main(["show", "r", "--workspace", workspace]) == 0  # and so all is imported that is needed
    assert as_nobody(lambda: main(["show", "r", "--workspace", workspace])) == 2
    assert Path(workspace).stat().st_mode & 0o777 == 0o700
