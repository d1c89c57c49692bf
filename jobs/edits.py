"""Changes to the record of a run by others than its coordinator: tags, properties, names, the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .dataclass import dataclass, replace
from .errors import ExitStatus, UserError
from .record import RunError, RunRecord, RunStatus
from .status import check_transition


@dataclass(frozen=True)
class Tag:
    """Set tags; one that is there gets the new value."""

    tags: Mapping[str, str | None]
    """None is the value of a tag that is only a word."""
    type: Literal["tag"] = "tag"


@dataclass(frozen=True)
class Untag:
    """Take tags away; those that are not there are no fault."""

    keys: tuple[str, ...]
    type: Literal["untag"] = "untag"


@dataclass(frozen=True)
class AddProperties:
    """Add properties, which never change once they are there."""

    properties: Mapping[str, str | None]
    type: Literal["addProperties"] = "addProperties"


@dataclass(frozen=True)
class Describe:
    """Give another name to show, or another description; None leaves what is there."""

    display_name: str | None = None
    description: str | None = None
    type: Literal["describe"] = "describe"


@dataclass(frozen=True)
class Archive:
    """Leave the run out of lists, or show it in them again."""

    archived: bool
    type: Literal["archive"] = "archive"


@dataclass(frozen=True)
class Start:
    """Say that a run which Python code keeps has begun."""

    type: Literal["start"] = "start"


@dataclass(frozen=True)
class Finish:
    """Say that a run is over, and how."""

    status: RunStatus
    """Completed, Failed or Canceled."""
    message: str | None = None
    """Why it failed or was cancelled."""
    code: str | None = None
    type: Literal["finish"] = "finish"


Edit = Tag | Untag | AddProperties | Describe | Archive | Start | Finish

_EXIT_STATUS = {
    RunStatus.COMPLETED: ExitStatus.COMPLETED,
    RunStatus.FAILED: ExitStatus.JOB_FAILED,
    RunStatus.CANCELED: ExitStatus.CANCELED,
}


def apply_edit(record: RunRecord, edit: Edit, now: str) -> RunRecord:
    """Give the record after an edit; `now` is UTC text. Raises UserError for what may not be."""
    match edit:
        case Tag(tags):
            return replace(record, tags={**record.tags, **tags})
        case Untag(keys):
            return replace(record, tags={key: value for key, value in record.tags.items() if key not in keys})
        case AddProperties(properties):
            return _with_properties(record, properties)
        case Describe(display_name, description):
            return replace(
                record,
                display_name=record.display_name if display_name is None else display_name,
                description=record.description if description is None else description,
            )
        case Archive(archived):
            if archived and not record.status.is_terminal:
                raise UserError(f"run {record.run_id} is {record.status.value}; only a run that has ended is archived")
            return replace(record, archived=archived)
        case Start():
            check_transition(record.run_id, record.status, RunStatus.RUNNING)
            return replace(record, status=RunStatus.RUNNING, start_time_utc=record.start_time_utc or now)
        case Finish():
            return _finished(record, edit, now)


def _with_properties(record: RunRecord, properties: Mapping[str, str | None]) -> RunRecord:
    for key, value in properties.items():
        if key in record.properties and record.properties[key] != value:
            raise UserError(
                f"property {key!r} of run {record.run_id} is {record.properties[key]!r} and cannot become {value!r}: "
                "properties never change; use a tag for what may"
            )
    return replace(record, properties={**record.properties, **properties})


def _finished(record: RunRecord, edit: Finish, now: str) -> RunRecord:
    if edit.status not in _EXIT_STATUS:
        raise UserError(f"a run does not end as {edit.status.value}; it completes, fails or is cancelled")
    if edit.status is record.status:
        return record
    check_transition(record.run_id, record.status, edit.status)
    error = None
    if edit.status is not RunStatus.COMPLETED:
        message = edit.message or f"marked as {edit.status.value}"
        error = RunError(message, code=edit.code) if record.error is None else replace(record.error, message=message)
        error = replace(error, code=edit.code)
    return replace(
        record,
        status=edit.status,
        error=error,
        exit_status=int(_EXIT_STATUS[edit.status]),
        end_time_utc=record.end_time_utc or now,
    )
