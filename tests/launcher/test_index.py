"""The index: whatever happens to it, to the folders or to whoever writes, lists tell what the run folders say."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from regiment.jobs.changes import changing
from regiment.jobs.dataclass import replace
from regiment.jobs.edits import AddProperties, Archive, Finish, Tag
from regiment.jobs.record import Owner, RunStatus, read_record, write_record
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.workspace import Workspace
from regiment.launcher.catchup import index_of, reindex
from regiment.launcher.indexplace import NoIndex, index_path, is_local
from regiment.launcher.runs import NewRun, create_runs, edit_run, find_runs, read_run, this_process

from .conftest import GUARD

COMPLETED = Finish(RunStatus.COMPLETED)
SCHEMA_1 = (Path(__file__).parents[1] / "jobs" / "run-schema-1.json").read_text("utf-8")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def make(workspace: Workspace, *ids: str, experiment: str = "e", parent: str | None = None, **tags: str | None) -> None:
    record = None if parent is None else read_run(workspace.run(parent))
    create_runs(workspace, experiment, [NewRun(run_id, tags=tags) for run_id in ids], this_process(), record)


def ids(workspace: Workspace, wanted: RunFilter | None = None, limit: int | None = None) -> list[str]:
    return [record.run_id for record in find_runs(workspace, wanted or RunFilter(), limit)]


def edit_behind_its_back(workspace: Workspace, run_id: str) -> None:
    """Change the record of a run that is over without a word, which only whoever reads it again can see."""
    folder = workspace.run(run_id)
    write_record(folder.record, replace(read_record(folder.record), tags={"seen": None}))


def seen(workspace: Workspace) -> list[str]:
    return ids(workspace, RunFilter(tags={"seen": None}))


def test_the_newest_come_first_and_as_many_as_are_wanted(workspace: Workspace) -> None:
    for name in ("a", "b", "c"):
        make(workspace, name)
    assert ids(workspace) == ["c", "b", "a"]
    assert ids(workspace, limit=2) == ["c", "b"]


FILTERS = [
    RunFilter(),
    RunFilter(experiment="f"),
    RunFilter(status=RunStatus.COMPLETED),
    RunFilter(status=RunStatus.RUNNING, experiment="e"),
    RunFilter(type="interactive"),
    RunFilter(type="command"),
    RunFilter(parent="a"),
    RunFilter(ancestor="a"),
    RunFilter(ancestor="a", archived=None),
    RunFilter(archived=True),
    RunFilter(archived=None),
    RunFilter(top_level=True),
    RunFilter(hidden_experiments=frozenset({"f", "g"})),
    RunFilter(tags={"k": None}),
    RunFilter(tags={"k": "v", "word": None}),
    RunFilter(tags={"k": ""}),
    RunFilter(tags={"word": ""}),
    RunFilter(tags={"it's": 'a "quote"'}),
    RunFilter(properties={"author": "azureml-user"}),
    RunFilter(properties={"k": "v"}),
    RunFilter(tags={"k": "v"}, properties={"author": None}, status=RunStatus.RUNNING),
]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("family"))
    make(workspace, "a", "done", k="v", word=None)
    make(workspace, "b", k="", **{"it's": 'a "quote"'})
    make(workspace, "c", "d", parent="a", k="v")
    make(workspace, "e", parent="c", word="")
    make(workspace, "f", experiment="f", k="w")
    for name in ("done", "e", "f"):
        edit_run(workspace.run(name), COMPLETED)
    edit_run(workspace.run("e"), Archive(True))
    edit_run(workspace.run("a"), AddProperties({"author": "azureml-user"}))
    return workspace


@pytest.mark.parametrize("wanted", FILTERS)  # numbered: how a set is printed differs from one process to another
def test_with_and_without_an_index_the_same_is_found(wanted: RunFilter, family: Workspace) -> None:
    with_index = find_runs(family, wanted)
    assert index_path(family).is_file()
    shutil.copytree(family.root, copy := family.root.with_name("copy"))
    try:
        (copy / "index.sqlite.lock").unlink()
        (copy / "index.sqlite.lock").mkdir()  # It cannot be locked.
        assert find_runs(Workspace(copy), wanted) == with_index
    finally:
        shutil.rmtree(copy)


def test_what_is_changed_is_seen_at_once(workspace: Workspace) -> None:
    make(workspace, "a", "b")
    assert ids(workspace, RunFilter(status=RunStatus.COMPLETED)) == []
    edit_run(workspace.run("a"), COMPLETED)
    assert ids(workspace, RunFilter(status=RunStatus.COMPLETED)) == ["a"]
    edit_run(workspace.run("a"), Tag({"quality": "fantastic run"}))
    assert ids(workspace, RunFilter(tags={"quality": "fantastic run"})) == ["a"]
    make(workspace, "c")
    assert set(ids(workspace)) == {"a", "b", "c"}


def test_records_of_runs_that_are_over_are_read_once(workspace: Workspace) -> None:
    make(workspace, "a")
    edit_run(workspace.run("a"), COMPLETED)
    ids(workspace)
    edit_behind_its_back(workspace, "a")
    assert seen(workspace) == []
    assert reindex(workspace) == 1
    assert seen(workspace) == ["a"]


def test_a_record_that_is_written_without_a_word_is_seen_while_the_run_goes_on(workspace: Workspace) -> None:
    make(workspace, "a")
    assert seen(workspace) == []
    edit_behind_its_back(workspace, "a")
    assert seen(workspace) == ["a"]


def test_a_change_whose_maker_died_before_its_end_is_looked_for_again(workspace: Workspace) -> None:
    make(workspace, "a")
    edit_run(workspace.run("a"), COMPLETED)
    ids(workspace)
    pid = os.fork()
    if pid == 0:
        with changing(workspace, ["a"]):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert seen(workspace) == []
    edit_behind_its_back(workspace, "a")
    assert seen(workspace) == ["a"], "he may be writing yet, for all that anybody knows"
    reindex(workspace)
    assert seen(workspace) == ["a"]


def test_a_line_that_was_cut_short_spoils_no_other(workspace: Workspace) -> None:
    make(workspace, "a")
    edit_run(workspace.run("a"), COMPLETED)
    ids(workspace)
    with workspace.changes.open("a") as file:
        file.write("\nbegin a-run-whose-na")
    edit_run(workspace.run("a"), Tag({"k": "v"}))
    assert ids(workspace, RunFilter(tags={"k": "v"})) == ["a"]


def test_runs_from_before_there_was_an_index_are_found(workspace: Workspace) -> None:
    folder = workspace.run("old")
    folder.root.mkdir(parents=True)
    folder.record.write_text(SCHEMA_1)
    assert ids(workspace, RunFilter(status=RunStatus.FAILED, tags={"quality": "poor"}, type="command")) == ["old"]


def test_folders_that_come_and_go_by_hand_are_seen(workspace: Workspace, tmp_path: Path) -> None:
    make(workspace, "a", "b")
    assert set(ids(workspace)) == {"a", "b"}
    workspace.run("a").root.rename(tmp_path / "a")
    assert ids(workspace) == ["b"]
    (tmp_path / "a").rename(workspace.run("a").root)
    assert set(ids(workspace)) == {"a", "b"}
    shutil.rmtree(workspace.runs)
    assert ids(workspace) == []


def test_a_folder_whose_record_comes_later_is_seen_when_it_has_come(workspace: Workspace) -> None:
    make(workspace, "a")
    workspace.run("old").root.mkdir()
    assert ids(workspace) == ["a"]
    workspace.run("old").record.write_text(SCHEMA_1)
    assert set(ids(workspace)) == {"a", "old"}


def test_a_run_whose_process_died_has_failed_until_somebody_says_more(workspace: Workspace) -> None:
    nobody = replace(this_process(), start_ticks=1)
    create_runs(workspace, "e", [NewRun("a")], nobody)
    for _ in range(2):
        (record,) = find_runs(workspace, RunFilter(status=RunStatus.FAILED))
        assert record.error is not None and "ended without completing it" in record.error.message
    edit_run(workspace.run("a"), Tag({"k": "v"}))
    assert ids(workspace, RunFilter(tags={"k": "v"}, status=RunStatus.FAILED)) == ["a"]


def test_the_death_of_the_process_that_keeps_a_run_is_seen_though_no_file_changes(workspace: Workspace) -> None:
    with subprocess.Popen(["sleep", "3600"]) as keeper:
        create_runs(workspace, "e", [NewRun("a")], _process(keeper.pid))
        os.utime(workspace.run("a").record, ns=(0, 0))
        assert ids(workspace, RunFilter(status=RunStatus.RUNNING)) == ["a"]
        keeper.kill()
    assert ids(workspace, RunFilter(status=RunStatus.FAILED)) == ["a"]


def _process(pid: int) -> Owner:
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return replace(this_process(), pid=pid, start_ticks=ticks)


# --- damage -----------------------------------------------------------------------------------------


def _scribble(index: Path) -> None:
    index.write_bytes(b"not a database" * 1000)


def _halve(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


def _empty(index: Path) -> None:
    os.truncate(index, 0)


def _spoil_a_page(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    index.write_bytes(data)


def _other_version(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # user_version, as the format of SQLite's files has it
    index.write_bytes(data)


@pytest.mark.parametrize("damage", [_scribble, _halve, _empty, _spoil_a_page, _other_version, os.unlink])
def test_a_damaged_index_is_made_anew(damage: Callable[[Path], None], workspace: Workspace) -> None:
    make(workspace, *(f"r{n}" for n in range(50)), k="v")
    assert len(ids(workspace)) == 50
    damage(index_path(workspace))
    assert len(ids(workspace, RunFilter(tags={"k": "v"}))) == 50


def test_a_replaced_journal_makes_the_index_anew(workspace: Workspace) -> None:
    make(workspace, "a")
    edit_run(workspace.run("a"), COMPLETED)
    ids(workspace)
    edit_behind_its_back(workspace, "a")
    workspace.changes.unlink()
    make(workspace, "b", "c", "d", "e")
    assert seen(workspace) == ["a"]


def test_a_damaged_record_is_named_and_what_was_known_of_it_stays(workspace: Workspace) -> None:
    make(workspace, "a", "b")
    edit_run(workspace.run("a"), COMPLETED)
    assert set(ids(workspace)) == {"a", "b"}
    workspace.run("b").record.write_text("{ half")
    complaints: list[str] = []
    assert len(find_runs(workspace, RunFilter(), complain=complaints.append)) == 2
    reindex(workspace)
    assert [record.run_id for record in find_runs(workspace, RunFilter(), complain=complaints.append)] == ["a"]
    assert len(complaints) == 1 and "b/run.json cannot be read" in complaints[0]


def test_nobody_waits_for_ever_for_somebody_who_is_stopped_with_the_index(workspace: Workspace) -> None:
    make(workspace, "a")
    ids(workspace)
    with index_path(workspace).with_name("index.sqlite.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(NoIndex), index_of(workspace, patience=0.05):
            pass
    with index_of(workspace, patience=0.05) as index:
        assert index.run_ids() == {"a"}


@pytest.mark.parametrize(
    ("mounts", "local"),
    [
        ({"/": "ext4"}, True),
        ({"/": "ext4", "/data": "nfs4"}, False),
        ({"/": "nfs", "/data": "xfs"}, True),
        ({"/": "ext4", "/data/ws": "fuse.sshfs"}, False),
        ({"/": "ext4", "/dat": "nfs"}, True),
        ({}, False),
    ],
)
def test_the_index_lies_on_no_network(mounts: dict[str, str], local: bool) -> None:
    assert is_local(Path("/data/ws"), mounts) is local


# --- many at once -----------------------------------------------------------------------------------

WRITER = """\
import sys
from pathlib import Path
from regiment.jobs.edits import Finish, Tag
from regiment.jobs.record import RunStatus
from regiment.jobs.workspace import Workspace
from regiment.launcher.runs import NewRun, create_runs, edit_run, this_process
workspace, name = Workspace(Path(sys.argv[1])), sys.argv[2]
for number in range(int(sys.argv[3])):
    made = create_runs(workspace, "e", [NewRun(f"{name}-{number}-{n}") for n in range(2)], this_process())
    for folder in made:
        edit_run(folder, Tag({"k": name}))
        edit_run(folder, Finish(RunStatus.COMPLETED))
        print(folder.run_id, flush=True)
    edit_run(workspace.run("shared"), Tag({f"{name}-{number}": None}))
"""
READER = """\
import sys
from pathlib import Path
from regiment.jobs.record import RunStatus
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.workspace import Workspace
from regiment.launcher.runs import find_runs
most, stop = 0, Path(sys.argv[2])
while True:
    over = stop.exists()
    found = find_runs(Workspace(Path(sys.argv[1])), RunFilter(status=RunStatus.COMPLETED))
    assert len(found) >= most, f"{most} runs were over, and now {len(found)}"
    most = len(found)
    if over:
        break
print(most)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    return out


@pytest.mark.slow
def test_many_write_and_read_at_once_and_nothing_is_lost(workspace: Workspace, tmp_path: Path) -> None:
    make(workspace, "shared")
    writers = [start(WRITER, workspace.root, f"w{n}", 20) for n in range(5)]
    readers = [start(READER, workspace.root, tmp_path / "stop") for _ in range(2)]
    names = {name for writer in writers for name in finish(writer).split()}
    (tmp_path / "stop").touch()
    assert {finish(reader) for reader in readers} == {"200\n"}
    assert len(names) == 200
    assert set(ids(workspace, RunFilter(status=RunStatus.COMPLETED))) == names
    assert len(read_run(workspace.run("shared")).tags) == 100


@pytest.mark.slow
def test_killed_writers_and_readers_lose_no_finished_record(workspace: Workspace, tmp_path: Path) -> None:
    dice = random.Random(5)
    make(workspace, "shared")
    finished: set[str] = set()
    for turn in range(12):
        processes = [start(WRITER, workspace.root, f"t{turn}-{n}", 1000) for n in range(2)]
        processes.append(start(READER, workspace.root, tmp_path / "never"))
        time.sleep(dice.uniform(0.3, 0.8))
        for process in processes:
            process.kill()
            out, _ = process.communicate()
            finished |= {line for line in out.splitlines(keepends=True) if line.endswith("\n")}
    names = {line.strip() for line in finished}
    found = {record.run_id: record for record in find_runs(workspace, RunFilter(status=RunStatus.COMPLETED))}
    assert names <= found.keys()
    reindexed = reindex(workspace)
    again = find_runs(workspace, RunFilter())
    assert {record.run_id: record for record in again if record.status is RunStatus.COMPLETED} == found
    assert reindexed == len(list(workspace.runs.iterdir()))
    for record in again:
        edit_run(workspace.run(record.run_id), Tag({"still": "writable"}))
    assert len(ids(workspace, RunFilter(tags={"still": "writable"}))) == len(again)
