"""The snapshot: the code folder as submitted, unchanged files stored once, nobody's edit in somebody else's run."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.errors import UserError
from regiment.jobs.snapshot import Snapshot, take_snapshot

CODE = {"train.py": "print(1)\n", "lib/model.py": "x = 1\n", "lib/copy.py": "x = 1\n"}


class Folders:
    """A code folder, and a workspace that snapshots of it go to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src"
        self.workspace = root / "src" / ".regiment"
        self.store = self.workspace / "snapshots"

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def take(self, run: str = "run-1", leave_out: Sequence[Path] | None = None) -> Snapshot:
        left_out = (self.workspace,) if leave_out is None else leave_out
        return take_snapshot(self.source, self.store, self.code(run), left_out)

    def code(self, run: str = "run-1") -> Path:
        return self.workspace / "runs" / run / "code"

    def taken(self, run: str = "run-1") -> list[str]:
        code = self.code(run)
        return sorted(str(path.relative_to(code)) for path in code.rglob("*"))

    def objects(self) -> list[Path]:
        return [path for path in (self.store / "objects").rglob("*") if path.is_file()]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    made.write(CODE)
    return made


def age(folder: Path) -> None:
    """Make all files look as if nobody had touched them for a while, as those of a real code folder."""
    for path in folder.rglob("*"):
        if path.is_file() and ".regiment" not in path.parts:
            os.utime(path, (1_600_000_000, 1_600_000_000))


def test_the_run_gets_the_folder_as_it_is(folders: Folders) -> None:
    (folders.source / "empty").mkdir()
    (folders.source / "go.sh").write_text("true\n")
    (folders.source / "go.sh").chmod(0o750)
    snapshot = folders.take()
    assert folders.taken() == ["empty", "go.sh", "lib", "lib/copy.py", "lib/model.py", "train.py"]
    assert (folders.code() / "train.py").read_text() == "print(1)\n"
    assert stat.S_IMODE((folders.code() / "train.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((folders.code() / "go.sh").stat().st_mode) == 0o555
    assert (snapshot.file_count, snapshot.byte_count, snapshot.notes) == (4, 9 + 6 + 6 + 5, ())


def test_a_content_is_stored_once_for_all_runs(folders: Folders) -> None:
    first = folders.take("run-1")
    folders.write({"train.py": "print(2)\n"})
    second = folders.take("run-2")
    assert first.snapshot_id != second.snapshot_id
    assert len(folders.objects()) == 3
    inodes = {(folders.code(run) / name).stat().st_ino for run in ("run-1", "run-2") for name in CODE}
    assert len(inodes) == 3
    assert (folders.code("run-1") / "train.py").read_text() == "print(1)\n"


def test_the_same_folder_gives_the_same_id_elsewhere(folders: Folders, tmp_path: Path) -> None:
    other = Folders(tmp_path / "elsewhere")
    other.write(CODE)
    assert other.take().snapshot_id == folders.take().snapshot_id
    (other.source / "train.py").rename(other.source / "main.py")
    assert other.take("run-2").snapshot_id != folders.take("run-2").snapshot_id


def test_the_executable_bit_makes_another_object(folders: Folders) -> None:
    first = folders.take("run-1")
    (folders.source / "train.py").chmod(0o755)
    assert folders.take("run-2").snapshot_id != first.snapshot_id
    assert stat.S_IMODE((folders.code("run-1") / "train.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((folders.code("run-2") / "train.py").stat().st_mode) == 0o555


@pytest.mark.parametrize("is_known", [False, True])
def test_a_content_edited_through_a_run_is_not_used_again(folders: Folders, is_known: bool) -> None:
    if is_known:
        age(folders.source)
    folders.take("run-1")
    edited = folders.code("run-1") / "train.py"
    edited.chmod(0o644)
    edited.write_text("print(9)\n")  # the same size
    folders.take("run-2")
    assert edited.read_text() == "print(9)\n"
    assert (folders.code("run-2") / "train.py").read_text() == "print(1)\n"


def test_an_object_that_only_became_writable_is_replaced(folders: Folders) -> None:
    folders.take("run-1")
    (folders.code("run-1") / "train.py").chmod(0o644)
    folders.take("run-2")
    assert stat.S_IMODE((folders.code("run-2") / "train.py").stat().st_mode) == 0o444


def test_a_changed_file_is_noticed_whatever_its_time_says(folders: Folders) -> None:
    age(folders.source)
    folders.take("run-1")
    folders.write({"train.py": "print(2)\n"})
    age(folders.source)
    folders.take("run-2")
    assert (folders.code("run-2") / "train.py").read_text() == "print(2)\n"


def test_a_damaged_memory_of_hashes_is_passed_over(folders: Folders) -> None:
    first = folders.take("run-1")
    (folders.store / "hashes").mkdir(exist_ok=True)
    for content in ("", "[]", '{"train.py": 3}', '{"train.py": ["../../x", []]}', "\xff"):
        for path in (folders.store / "hashes").iterdir():
            path.write_text(content)
        assert folders.take(f"run{len(content)}").snapshot_id == first.snapshot_id


def test_amlignore_wins_over_gitignore(folders: Folders) -> None:
    folders.write({".gitignore": "*.py\n", ".amlignore": "# mine\nlib/\n!lib/model.py\n*.log\n/top\n"})
    folders.write({"a.log": "", "deep/a.log": "", "deep/top": "", "top": "", "lib/.amlignore": "*"})
    folders.take()
    assert folders.taken() == [".amlignore", ".gitignore", "deep", "deep/top", "lib", "lib/model.py", "train.py"]


def test_gitignore_counts_where_there_is_no_amlignore(folders: Folders) -> None:
    folders.write({".gitignore": "lib\n!\n"})
    folders.take()
    assert folders.taken() == [".gitignore", "train.py"]


def test_git_and_the_workspace_are_left_out(folders: Folders) -> None:
    folders.write({".git/config": "", "sub/.git": "gitdir: x", "other/secret": ""})
    folders.take(leave_out=(folders.workspace, folders.source / "other", folders.source / "gone"))
    assert folders.taken() == ["lib", "lib/copy.py", "lib/model.py", "sub", "train.py"]


def test_links_within_the_folder_stay_links(folders: Folders) -> None:
    links = {"a": "lib/model.py", "lib/b": "../train.py", "folder": "lib", "later": "data/x", "me": "me"}
    links |= {"absolute": str(folders.source / "lib"), "lib/around": "../../src/train.py"}
    for name, text in links.items():
        (folders.source / name).symlink_to(text)
    snapshot = folders.take()
    wanted = links | {"absolute": "lib", "lib/around": "../train.py"}
    assert {name: str((folders.code() / name).readlink()) for name in links} == wanted
    assert (snapshot.file_count, snapshot.notes) == (3, ())


def test_links_to_the_outside_become_what_they_lead_to(folders: Folders) -> None:
    outside = folders.root / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "data").write_text("data")
    (outside / "deep" / "link").symlink_to("../data")
    (outside / "deep" / "up").symlink_to(outside)
    (outside / "deep" / "back").symlink_to(folders.source / "train.py")
    (folders.source / "out").symlink_to(outside)
    (folders.source / "nothing").symlink_to(folders.root / "nothing")
    snapshot = folders.take()
    out = folders.code() / "out"
    assert not out.is_symlink()
    assert (out / "deep" / "link").read_text() == "data"
    assert not (out / "deep" / "link").is_symlink()
    assert (out / "deep" / "back").resolve() == folders.code() / "train.py"
    assert not (out / "deep" / "up").exists()
    assert sorted(note.split()[0] for note in snapshot.notes) == ["nothing", "out/deep/up"]


def test_what_is_no_file_is_left_out_with_a_note(folders: Folders) -> None:
    os.mkfifo(folders.source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as short:
        listener.bind(f"{short}/socket")
        Path(short, "socket").rename(folders.source / "socket")
        snapshot = folders.take()
    assert [note.split()[0] for note in snapshot.notes] == ["pipe", "socket"]
    assert "pipe" not in folders.taken()


def test_names_that_are_no_text_are_kept(folders: Folders) -> None:
    (folders.source / os.fsdecode(b"\xff\n.py")).write_text("odd")
    age(folders.source)
    folders.take("run-1")
    folders.take("run-2")
    assert (folders.code("run-2") / os.fsdecode(b"\xff\n.py")).read_text() == "odd"


def test_a_missing_code_folder_says_so(folders: Folders) -> None:
    with pytest.raises(UserError, match=r"there is no .*gone to take the code from"):
        take_snapshot(folders.source / "gone", folders.store, folders.code(), ())


def test_a_target_with_something_in_it_is_left_alone(folders: Folders) -> None:
    folders.code().mkdir(parents=True)
    (folders.code() / "mine").touch()
    with pytest.raises(UserError, match=r"the snapshot of .* cannot be written to .*/code: "):
        folders.take()
    assert folders.taken() == ["mine"]
    assert os.listdir(folders.code().parent) == ["code"]


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_left_behind(folders: Folders) -> None:
    (folders.source / "secret").write_text("")
    (folders.source / "secret").chmod(0)
    if os.access(folders.source / "secret", os.R_OK):  # root reads everything
        (folders.source / "secret").unlink()
        (folders.source / "secret").symlink_to("/proc/self/mem")  # but not this
    with pytest.raises(UserError, match=r"src/secret cannot be read: .*; make it readable, or leave it out"):
        folders.take()
    assert os.listdir(folders.code().parent) == []
    assert list((folders.store / "unfinished").iterdir()) == []


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="needs a second file system",
)
def test_another_file_system_gets_copies(folders: Folders) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        take_snapshot(folders.source, folders.store, Path(other, "code"), (folders.workspace,))
        assert Path(other, "code", "train.py").read_text() == "print(1)\n"
        assert stat.S_IMODE(Path(other, "code", "train.py").stat().st_mode) == 0o444


def test_several_processes_may_take_snapshots_at_once(folders: Folders) -> None:
    folders.write({f"many/{n}.py": f"x = {n % 20}\n" for n in range(200)})
    program = "import sys; from pathlib import Path; from regiment.jobs.snapshot import take_snapshot as t; "
    program += "s, o, c, w = map(Path, sys.argv[1:]); print(t(s, o, c, [w]).snapshot_id)"
    places = [[folders.source, folders.store, folders.code(f"run-{n}"), folders.workspace] for n in range(6)]
    children = [
        subprocess.Popen([sys.executable, "-c", program, *map(str, place)], stdout=subprocess.PIPE, text=True)
        for place in places
    ]
    ids = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0] * 6
    assert len(ids) == 1
    assert len(folders.objects()) == 20 + 1  # lib/ has one of the twenty
    assert list((folders.store / "unfinished").iterdir()) == []


names = st.text("ab.é -", min_size=1, max_size=6).filter(lambda name: name.strip(".") != "")


@given(st.dictionaries(names.map(str.lower), st.binary(max_size=50), max_size=6))
def test_every_folder_comes_back_byte_for_byte(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        source = Path(root, "src")
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        snapshot = take_snapshot(source, Path(root, "store"), Path(root, "code"), ())
        assert {path.name: path.read_bytes() for path in Path(root, "code").iterdir()} == files
        assert snapshot.byte_count == sum(map(len, files.values()))
