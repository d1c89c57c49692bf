"""The file with the run's key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regiment.jobs.errors import UserError
from regiment.launcher.node.runkey import make_key, read_key


def test_a_new_key_is_for_its_owner_only_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = make_key(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(str(path)) == key
    with pytest.raises(FileExistsError):
        make_key(str(path))


def test_a_link_as_a_mounted_secret_has_it_is_followed(tmp_path: Path) -> None:
    key = make_key(str(tmp_path / "data"))
    (tmp_path / "key").symlink_to("data")
    assert read_key(str(tmp_path / "key")) == key


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644])
def test_a_key_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    make_key(str(path))
    path.chmod(mode)
    with pytest.raises(UserError, match="chmod 600"):
        read_key(str(path))


@pytest.mark.parametrize("text", [b"", b"secret words", b"ab" * 31, b"ab" * 33, b"ab" * 2000])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(UserError, match="holds no key") as refused:
        read_key(str(path))
    assert "secret" not in str(refused.value)


def test_no_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("nothing", "", "pipe"):
        with pytest.raises(UserError, match="REGIMENT_KEY_FILE"):
            read_key(str(tmp_path / name))
