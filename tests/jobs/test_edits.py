"""Edits and requests: what may become of a record, and what of a wish."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from regiment.jobs.dataclass import replace
from regiment.jobs.edits import AddProperties, Archive, Describe, Edit, Finish, Start, Tag, Untag, apply_edit
from regiment.jobs.errors import UserError
from regiment.jobs.lock import try_lock
from regiment.jobs.plain import to_plain
from regiment.jobs.record import SCHEMA, RunRecord, RunStatus, RunType, read_record, write_record
from regiment.jobs.requests import Cancel, grant, leave, pending, refusal, refuse
from regiment.jobs.status import check_transition

NOW = "2026-01-02T03:04:05.000006Z"
ENDS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


def record(status: RunStatus = RunStatus.RUNNING) -> RunRecord:
    return RunRecord("r", "e", status, NOW, "true", "local", "none", 1, 1, False)


def test_a_tag_may_have_no_value_and_get_another() -> None:
    tagged = apply_edit(record(), Tag({"quality": "poor", "worth another look": None}), NOW)
    again = apply_edit(tagged, Tag({"quality": "fantastic run"}), NOW)
    assert again.tags == {"quality": "fantastic run", "worth another look": None}
    assert apply_edit(again, Untag(("quality", "no such tag")), NOW).tags == {"worth another look": None}


def test_a_property_never_changes() -> None:
    made = apply_edit(record(), AddProperties({"author": "azureml-user"}), NOW)
    assert apply_edit(made, AddProperties({"author": "azureml-user"}), NOW) == made
    with pytest.raises(UserError, match="'author' of run r is 'azureml-user' and cannot become 'me'"):
        apply_edit(made, AddProperties({"author": "me", "other": "x"}), NOW)


def test_names_are_changed_one_by_one() -> None:
    named = apply_edit(record(), Describe(display_name="n"), NOW)
    described = apply_edit(named, Describe(description="d"), NOW)
    assert (described.display_name, described.description) == ("n", "d")


def test_only_what_has_ended_is_archived() -> None:
    with pytest.raises(UserError, match="only a run that has ended is archived"):
        apply_edit(record(), Archive(True), NOW)
    archived = apply_edit(record(RunStatus.FAILED), Archive(True), NOW)
    assert archived.archived and not apply_edit(archived, Archive(False), NOW).archived


@pytest.mark.parametrize("status", ENDS)
def test_a_run_ends_once(status: RunStatus) -> None:
    ended = apply_edit(record(), Finish(status, "why", "code"), NOW)
    assert (ended.status, ended.end_time_utc) == (status, NOW)
    assert apply_edit(ended, Finish(status), "later") == ended
    for other in ENDS:
        if other is not status and (status, other) != (RunStatus.COMPLETED, RunStatus.FAILED):
            with pytest.raises(UserError, match=f"is {status.value} and cannot become {other.value}"):
                apply_edit(ended, Finish(other), NOW)


def test_a_completed_run_may_be_called_a_failure() -> None:
    completed = apply_edit(record(), Finish(RunStatus.COMPLETED), NOW)
    failed = apply_edit(completed, Finish(RunStatus.FAILED, "loss is nan", "nan"), "later")
    assert failed.status is RunStatus.FAILED and failed.end_time_utc == NOW
    assert failed.error is not None and (failed.error.message, failed.error.code) == ("loss is nan", "nan")


def test_a_run_that_was_made_is_started_before_it_completes() -> None:
    started = apply_edit(record(RunStatus.NOT_STARTED), Start(), NOW)
    assert (started.status, started.start_time_utc) == (RunStatus.RUNNING, NOW)
    with pytest.raises(UserError):
        apply_edit(record(RunStatus.COMPLETED), Start(), NOW)


def test_only_who_did_not_respond_may_go_anywhere() -> None:
    for status in RunStatus:
        check_transition("r", RunStatus.NOT_RESPONDING, status)
    with pytest.raises(UserError):
        check_transition("r", RunStatus.CANCEL_REQUESTED, RunStatus.RUNNING)
    for end in ENDS:
        with pytest.raises(UserError):
            check_transition("r", end, RunStatus.RUNNING)


# --- the record's file ------------------------------------------------------------------------------


def test_a_record_of_the_first_schema_is_read(tmp_path: Path) -> None:
    data = json.loads((Path(__file__).parent / "run-schema-1.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(data))
    old = read_record(tmp_path / "run.json")
    assert (old.schema, old.type, old.status) == (SCHEMA, RunType.COMMAND, RunStatus.FAILED)
    assert old.error is not None and old.error.exit_code == 3
    write_record(tmp_path / "run.json", old)
    assert read_record(tmp_path / "run.json") == old


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"schema": SCHEMA + 1}, "newer than this Regiment"), ({"status": "Wet"}, "Wet"), ({"tags": []}, "tags")],
)
def test_a_record_that_cannot_be_read_says_why(change: dict[str, object], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**to_plain(record()), **change}))
    with pytest.raises(UserError, match=complaint):
        read_record(tmp_path / "run.json")


# --- requests ---------------------------------------------------------------------------------------


def test_requests_are_taken_in_the_order_they_were_left(tmp_path: Path) -> None:
    wishes: list[Edit | Cancel] = [Tag({"n": str(n)}) for n in range(20)]
    wishes.append(Cancel("enough", force=True))
    paths = [leave(tmp_path / "requests", wish) for wish in wishes]
    assert list(pending(tmp_path / "requests")) == list(zip(paths, wishes, strict=True))
    for path in paths:
        grant(path)
    assert os.listdir(tmp_path / "requests") == []


def test_who_asked_is_told_once_why_he_was_refused(tmp_path: Path) -> None:
    path = leave(tmp_path / "requests", Start())
    refuse(path, "it has ended")
    assert list(pending(tmp_path / "requests")) == []
    assert (refusal(path), refusal(path)) == ("it has ended", None)


@pytest.mark.parametrize("text", ["{ half", "[]", '{"type": "no such"}', '{"type": "tag", "tags": 3}'])
def test_a_request_that_cannot_be_read_is_refused_and_the_next_is_taken(text: str, tmp_path: Path) -> None:
    wrong = leave(tmp_path / "requests", Start())
    wrong.write_text(text)
    right = leave(tmp_path / "requests", Start())
    assert list(pending(tmp_path / "requests")) == [(right, Start())]
    reason = refusal(wrong)
    assert reason is not None and "cannot be read" in reason


def test_a_request_can_be_left_while_the_empty_folder_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "requests"
    with pytest.raises(FileNotFoundError):
        leave(folder, Start())
    folder.parent.mkdir()
    assert leave(folder, Start()).is_file()


def test_the_lock_has_one_holder_and_is_free_when_he_is_gone(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "record.lock")
    assert first is not None and try_lock(tmp_path / "record.lock") is None
    with first:
        assert fcntl.fcntl(first.file, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    second = try_lock(tmp_path / "record.lock")
    assert second is not None
    second.release()


def test_edits_leave_the_rest_of_a_record_alone() -> None:
    before = replace(record(RunStatus.FAILED), warnings=("w",), attempt=2)
    edits: tuple[Edit, ...] = (Tag({"k": "v"}), AddProperties({"p": "v"}), Describe("d"), Archive(True))
    after = before
    for edit in edits:
        after = apply_edit(after, edit, NOW)
    undone = replace(after, tags={}, properties={}, display_name=None, archived=False)
    assert undone == before
