"""What several nodes wrote, merged so that nobody's work is lost."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regiment.launcher.coordinator.collected import merge


def write(root: Path, files: dict[str, str]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def files_of(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_new_files_join_equal_ones_vanish_different_ones_stay_apart(tmp_path: Path) -> None:
    target = write(tmp_path / "outputs", {"same": "s", "model": "0"})
    brought = write(tmp_path / "brought", {"same": "s", "model": "1", "own/x": "x"})
    assert merge(brought, target, "node-1") == ["node-1/model"]
    assert files_of(target) == {"same": "s", "model": "0", "own/x": "x", "node-1/model": "1"}
    assert not brought.exists()


def test_a_file_where_another_node_has_a_folder_stays_apart(tmp_path: Path) -> None:
    target = write(tmp_path / "outputs", {"a": "file", "b/c": "folder"})
    brought = write(tmp_path / "brought", {"a/x": "1", "b": "2"})
    assert merge(brought, target, "node-1") == ["node-1/a/x", "node-1/b"]
    assert files_of(target) == {"a": "file", "b/c": "folder", "node-1/a/x": "1", "node-1/b": "2"}


def test_a_job_that_uses_a_nodes_name_for_a_file_loses_nothing(tmp_path: Path) -> None:
    target = write(tmp_path / "outputs", {"node-1": "mine", "model": "0"})
    brought = write(tmp_path / "brought", {"model": "1"})
    assert merge(brought, target, "node-1") == ["node-1.2/model"]
    assert files_of(target) == {"node-1": "mine", "model": "0", "node-1.2/model": "1"}


def test_empty_folders_and_links_come_along(tmp_path: Path) -> None:
    brought = write(tmp_path / "brought", {"a/file": "x"})
    (brought / "empty").mkdir()
    (brought / "link").symlink_to("a/file")
    target = write(tmp_path / "outputs", {})
    assert merge(brought, target, "node-1") == []
    assert (target / "empty").is_dir() and (target / "link").read_text() == "x"


def test_a_node_that_brought_nothing_changes_nothing(tmp_path: Path) -> None:
    target = write(tmp_path / "outputs", {"a": "1"})
    assert merge(tmp_path / "nothing", target, "node-1") == []


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e", "c"]), st.sampled_from("xy")), max_size=4))
def test_no_content_is_ever_lost(nodes: list[dict[str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        target = write(root / "outputs", {})
        for index, files in enumerate(nodes):
            possible = {
                name: text for name, text in files.items() if name != "c" or len(files.keys() & {"c/d", "c/e"}) == 0
            }
            merge(write(root / str(index), possible), target, f"node-{index}")
            found = files_of(target)
            for name, text in possible.items():
                assert text in {found.get(name), found.get(f"node-{index}/{name}")}
