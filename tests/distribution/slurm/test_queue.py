from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.slurm.hosts import host_names
from regiment.distribution.slurm.queue import QueuedJob, fields_of, read_jobs, waiting_text
from regiment.distribution.slurm.states import STATES, meaning
from regiment.jobs.errors import UserError
from regiment.jobs.status import RunStatus

TODAY = "2026-11-29"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("gpu[08-11,07],login", ["gpu08", "gpu09", "gpu10", "gpu11", "gpu07", "login"]),
        ("r[1-2]c[1,3]-ib", ["r1c1-ib", "r1c3-ib", "r2c1-ib", "r2c3-ib"]),
        ("a.example.org,b-[9-10].example.org", ["a.example.org", "b-9.example.org", "b-10.example.org"]),
    ],
)
def test_a_list_of_hosts_is_taken_apart(text: str, names: list[str]) -> None:
    assert list(host_names(text)) == names


@pytest.mark.parametrize(
    "text", ["", "n[", "n]", "n[1-", "n[a-b]", "n[3-1]", "n[]", "n1,,n2", "n[[1]]", "n[1-99999999]"]
)
def test_what_is_no_list_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="list of hosts"):
        host_names(text)


@given(st.text("n1-9[],", max_size=20))
def test_no_text_is_read_as_anything_but_names(text: str) -> None:
    try:
        names = host_names(text)
    except UserError:
        return
    assert all(name and not set(name) & set("[], ") for name in names)


@given(st.text(max_size=20))
def test_only_completed_runs_know_that_they_completed(state: str) -> None:
    assert meaning(state).status is not RunStatus.COMPLETED


def test_no_state_of_slurms_is_a_success() -> None:
    assert RunStatus.COMPLETED not in {meaning(state).status for state in STATES}
    assert meaning("COMPLETED").status is RunStatus.UNKNOWN
    assert meaning(None).status is RunStatus.UNKNOWN
    assert meaning("CANCELLED by 1000") == meaning("CANCELLED+") == STATES["CANCELLED"]


def test_the_queue_is_read_line_by_line() -> None:
    text = (
        "12|PENDING|2026-11-29T14:20:00||Priority\n"
        "13|RUNNING|2026-11-29T10:00:00|n[1-2]|None\n"
        "14|CANCELLED by 0|N/A|None assigned|\n"
        "15_3|PENDING|N/A||ReqNodeNotAvail, UnavailableNodes:n[1|2]\n"
        "slurm_load_jobs error: Invalid job id specified\n"
    )
    assert read_jobs(text) == {
        "12": QueuedJob("12", "PENDING", "2026-11-29T14:20:00", (), "Priority"),
        "13": QueuedJob("13", "RUNNING", "2026-11-29T10:00:00", ("n1", "n2"), None),
        "14": QueuedJob("14", "CANCELLED by 0"),
    }


def test_what_scontrol_shows_of_a_job_is_read_by_its_fields() -> None:
    text = "JobId=12 JobName=r UserId=me(7) JobState=COMPLETING Reason=TimeLimit Requeue=1 Restarts=1 CPUs/Task=3\n"
    found = fields_of(text)
    assert (found["Reason"], found["Restarts"], found["CPUs/Task"]) == ("TimeLimit", "1", "3")


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (QueuedJob("12", "PENDING", "2026-11-29T14:20:31", (), "Priority"), "Priority, starts about 14:20"),
        (
            QueuedJob("12", "PENDING", "2026-12-01T08:00:00", (), "Resources"),
            "Resources, starts about 2026-12-01 08:00",
        ),
        (QueuedJob("12", "PENDING"), "just submitted"),
        (QueuedJob("12", "PENDING", None, (), "ReqNodeNotAvail, UnavailableNodes:n1"), "ReqNodeNotAvail"),
        (
            QueuedJob("12", "PENDING", None, (), "JobHeldUser"),
            "JobHeldUser: it is held; 'scontrol release 12' lets it go",
        ),
    ],
)
def test_a_wait_is_told_with_its_reason_and_its_end(job: QueuedJob, text: str) -> None:
    assert waiting_text(job, TODAY) == text
