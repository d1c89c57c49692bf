"""What a job writes to ./logs, seen in the run folder while it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regiment.launcher.node.folders import collect
from regiment.launcher.node.livelogs import LiveLogs


@pytest.fixture
def live(tmp_path: Path) -> LiveLogs:
    return LiveLogs(tmp_path / "job", tmp_path / "run", tmp_path / "code", frozenset({"azureml"}))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def below(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_are_there_and_grow_and_go(live: LiveLogs, tmp_path: Path) -> None:
    live.look()  # There is no folder yet.
    events = write(tmp_path / "job" / "tb" / "events", "1")
    write(tmp_path / "job" / "ünicode ☃", "x")
    write(tmp_path / "job" / "azureml" / "x", "that name is taken")
    live.look()
    assert below(tmp_path / "run") == {"tb/events": "1", "ünicode ☃": "x"}
    with events.open("a") as file:
        file.write("2")
    assert below(tmp_path / "run")["tb/events"] == "12"
    (tmp_path / "job" / "ünicode ☃").rename(tmp_path / "job" / "renamed")
    write(tmp_path / "job" / "new", "one").rename(events)
    live.look()
    assert below(tmp_path / "run") == {"tb/events": "one", "renamed": "x"}
    events.unlink()
    live.look()
    assert below(tmp_path / "run") == {"renamed": "x"}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["renamed"]


def test_what_came_with_the_code_is_brought_once_it_is_changed(live: LiveLogs, tmp_path: Path) -> None:
    for top in ("code", "job"):
        write(tmp_path / top / "readme", "as it came")
    live.look()
    assert below(tmp_path / "run") == {}
    write(tmp_path / "job" / "readme", "as it went")
    live.look()
    assert below(tmp_path / "run") == {"readme": "as it went"}


def test_the_end_collects_every_file_once(live: LiveLogs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(tmp_path / "job" / "a" / "grows", "1")
    write(tmp_path / "job" / "taken", "mine")
    write(run / "taken", "of an earlier attempt")
    live.look()
    assert below(run) == {"a/grows": "1", "taken": "of an earlier attempt", "taken.1": "mine"}
    write(tmp_path / "job" / "late", "x")
    assert collect(tmp_path / "job", run, tmp_path / "code") == (3, [])
    assert below(run) == {"a/grows": "1", "late": "x", "taken": "of an earlier attempt", "taken.1": "mine"}
    assert below(tmp_path / "job") == {}


def test_a_file_that_began_as_anothers_twin_has_a_place_of_its_own(live: LiveLogs, tmp_path: Path) -> None:
    write(tmp_path / "run" / "log", "")
    log = write(tmp_path / "job" / "log", "")
    live.look()
    write(log, "grown")
    assert below(tmp_path / "run") == {"log": "", "log.1": "grown"}


def test_collected_files_leave_their_live_places(live: LiveLogs, tmp_path: Path) -> None:
    write(tmp_path / "job" / "a" / "b" / "log", "x")
    stays = write(tmp_path / "job" / "stays", "y")
    live.look()
    (tmp_path / "job" / "a" / "b" / "log").unlink()
    live.remove_collected()
    assert below(tmp_path / "run") == {"stays": "y"}
    assert os.listdir(tmp_path / "run") == ["stays"]
    stays.unlink()
    write(tmp_path / "new", "of somebody else").rename(tmp_path / "run" / "stays")
    live.remove_collected()
    assert below(tmp_path / "run") == {"stays": "of somebody else"}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder on another file system, to which no hard link leads."""
    shared = Path("/dev/shm")
    if shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.fail("the tests need /dev/shm to be a file system of its own")
    return shared


def test_where_no_link_can_be_made_what_is_added_is_copied(tmp_path: Path, elsewhere: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=elsewhere) as job:
        live = LiveLogs(Path(job), tmp_path / "run", tmp_path / "code", frozenset())
        log = write(Path(job) / "log", "1")
        live.look()
        place = (tmp_path / "run" / "log").stat().st_ino
        with log.open("a") as file:
            file.write("23")
        live.look()
        assert below(tmp_path / "run") == {"log": "123"}
        assert (tmp_path / "run" / "log").stat().st_ino == place
        write(log, "ab")
        os.utime(log, ns=(1, 1))
        live.look()
        assert below(tmp_path / "run") == {"log": "ab"}
        assert collect(Path(job), tmp_path / "run", tmp_path / "code") == (1, [])
        assert below(tmp_path / "run") == {"log": "ab"}
