"""`list`, `tag`, `archive`, `restore`, `experiments` and `reindex` on the command line."""

from __future__ import annotations

import json
import os
import signal

import pytest

from regiment.jobs.edits import AddProperties, Finish, Tag
from regiment.jobs.errors import UserError
from regiment.jobs.record import RunStatus
from regiment.jobs.workspace import Workspace
from regiment.launcher.runs import NewRun, create_runs, edit_run, read_run, this_process

from .conftest import ENDLESS, Lab


def workspace_of(lab: Lab) -> Workspace:
    return Workspace(lab.folder / ".regiment")


def make(lab: Lab, *ids: str, experiment: str = "experiment", parent: str | None = None) -> None:
    """Make runs that have completed."""
    workspace = workspace_of(lab)
    above = None if parent is None else read_run(workspace.run(parent))
    for run_id in ids:
        (folder,) = create_runs(workspace, experiment, [NewRun(run_id)], this_process(), above)
        edit_run(folder, Finish(RunStatus.COMPLETED))


def listed(lab: Lab, *flags: str) -> list[str]:
    result = lab.run("list", *flags, "-o", "json")
    assert result.returncode == 0, result.stderr
    return [row["runId"] for row in json.loads(result.stdout)]


QUERIES = {
    "[?properties.author=='azureml-user']": ["both", "mine"],
    "[?tags.keys(@)[?starts_with(@, 'worth another look')]]": ["later"],
    "[?properties.author=='azureml-user' && tags.quality=='fantastic run']": ["both"],
}
"""The example queries of the documents on managing runs, and what each finds among the runs below."""


@pytest.mark.parametrize("query", QUERIES)
def test_the_documents_example_queries(query: str, lab: Lab) -> None:
    make(lab, "mine", "fine", "both", "later")
    make(lab, "elsewhere", experiment="other")
    folder = workspace_of(lab).run
    for name in ("mine", "both", "elsewhere"):
        edit_run(folder(name), AddProperties({"author": "azureml-user"}))
    for name in ("fine", "both"):
        edit_run(folder(name), Tag({"quality": "fantastic run"}))
    edit_run(folder("later"), Tag({"worth another look": None}))
    assert listed(lab, "--experiment", "experiment", "--query", query) == QUERIES[query]


def test_flags_say_the_same_as_queries(lab: Lab) -> None:
    make(lab, "a", "b")
    assert lab.run("tag", "a", "quality=fantastic run", "seen", "--property", "author=azureml-user").returncode == 0
    assert lab.run("tag", "b", "quality=poor").returncode == 0
    assert listed(lab, "--tag", "quality") == ["b", "a"]
    assert listed(lab, "--tag", "quality=fantastic run", "--tag", "seen", "--property", "author") == ["a"]
    assert listed(lab, "--status", "completed", "--last", "1") == ["b"]
    assert lab.run("tag", "a", "--remove", "quality").returncode == 0
    assert listed(lab, "--tag", "quality") == ["b"]
    assert lab.show("a")["tags"] == {"seen": None}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tag", "a", "--property", "p=2"), "property 'p' of run a is '1' and cannot become '2'"),
        (("tag", "a", "=v"), "has no name before the '='"),
        (("tag", "a", "--property", "p"), "--property needs a value"),
        (("tag", "a"), "say which tags"),
        (("tag", "none", "k"), "there is no run 'none'"),
        (("list", "--status", "Wet"), "--status 'Wet' is none; choose one of NotStarted"),
        (("archive",), "name either a run, or an experiment"),
        (("archive", "a", "--experiment", "experiment"), "name either a run, or an experiment"),
        (("archive", "--experiment", "none"), "there is no experiment 'none'"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], complaint: str, lab: Lab) -> None:
    make(lab, "a")
    edit_run(workspace_of(lab).run("a"), AddProperties({"p": "1"}))
    result = lab.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert complaint in result.stderr


def test_children_are_shown_as_a_tree(lab: Lab) -> None:
    make(lab, "parent", "other")
    make(lab, "first", "second", parent="parent")
    make(lab, "grandchild", parent="first")
    assert listed(lab) == ["other", "parent"]
    assert listed(lab, "--parent", "parent") == ["second", "first"]
    assert listed(lab, "--children") == ["grandchild", "second", "first", "other", "parent"]
    assert listed(lab, "--tree") == ["other", "parent", "first", "grandchild", "second"]
    tree = [line.split("  ")[0] for line in lab.run("list", "--tree").stdout.splitlines()[2:]]
    assert tree == ["other", "parent", "└─ first", "└──── grandchild", "└─ second"]
    shown = lab.run("show", "parent").stdout.splitlines()
    assert [line.split("  ")[0] for line in shown[-3:]] == ["└─ first", "└──── grandchild", "└─ second"]


def test_a_table_has_a_page_and_programs_get_all(lab: Lab) -> None:
    create_runs(workspace_of(lab), "e", [NewRun(f"r{n}") for n in range(60)], this_process())
    page = lab.run("list")
    assert len(page.stdout.splitlines()) == 2 + 50
    assert "these are the newest 50" in page.stderr
    assert len(lab.run("list", "--all").stdout.splitlines()) == 2 + 60
    assert len(lab.run("list", "--last", "55").stdout.splitlines()) == 2 + 55
    assert len(listed(lab)) == 60


def test_archived_runs_and_experiments_are_left_out_and_can_be_restored(lab: Lab) -> None:
    make(lab, "a", "b")
    make(lab, "c", experiment="other")
    assert lab.run("archive", "a").returncode == 0
    assert lab.run("archive", "--experiment", "other").returncode == 0
    assert listed(lab) == ["b"]
    assert listed(lab, "--archived") == ["a"]
    assert listed(lab, "--include-archived") == ["c", "b", "a"]
    assert listed(lab, "--experiment", "other") == ["c"]
    assert lab.run("experiments", "list", "-o", "tsv", "--query", "[].experimentName").stdout == "experiment\n"
    assert lab.run("experiments", "list", "--archived", "--query", "[].experimentName").stdout == "other\n"
    assert lab.run("restore", "a").returncode == 0
    assert lab.run("restore", "--experiment", "other").returncode == 0
    assert listed(lab) == ["c", "b", "a"]


def test_reindex_says_how_many_runs_there_are(lab: Lab) -> None:
    assert "has no runs" in lab.run("reindex").stderr
    make(lab, "a", "b")
    result = lab.run("reindex")
    assert (result.returncode, result.stdout) == (0, "")
    assert "2 runs in the index" in result.stderr


# --- runs with a coordinator ------------------------------------------------------------------------


def running(lab: Lab) -> None:
    result = lab.run("run", "--detach", "--name", "r", "--grace", "1", "--", "sh", "-c", f"touch up; sleep {ENDLESS}")
    assert result.returncode == 0, result.stderr
    lab.wait_until(lambda: (lab.folder / "up").exists())


def test_a_run_is_tagged_while_it_runs_and_keeps_its_tags(lab: Lab) -> None:
    running(lab)
    assert lab.run("tag", "r", "k=v", "--property", "p=1").returncode == 0
    assert listed(lab, "--tag", "k=v", "--status", "running") == ["r"]
    refused = lab.run("tag", "r", "--property", "p=2")
    assert refused.returncode == 2 and "cannot become '2'" in refused.stderr
    assert "only a run that has ended is archived" in lab.run("archive", "r").stderr
    lab.run("cancel", "r")
    assert lab.run("wait", "r").returncode == 4
    assert (lab.show("r")["tags"], lab.show("r")["properties"]["p"]) == ({"k": "v"}, "1")
    assert lab.run("archive", "r").returncode == 0
    assert sorted(os.listdir(lab.run_folder("r") / "requests")) == []


def test_calling_a_run_a_failure_stops_it_first(lab: Lab) -> None:
    running(lab)
    folder = workspace_of(lab).run("r")
    edit_run(folder, Finish(RunStatus.FAILED, "the loss is nan", "nan"))
    assert lab.run("wait", "r").returncode == 1
    record = read_run(folder)
    assert record.status is RunStatus.FAILED and record.error is not None
    assert (record.error.message, record.error.code) == ("the loss is nan", "nan")
    assert not lab.that_run(b"sleep")
    with pytest.raises(UserError, match="is Failed and cannot become Completed"):
        edit_run(folder, Finish(RunStatus.COMPLETED))


def test_a_run_whose_coordinator_was_killed_is_tagged_by_whoever_asks(lab: Lab) -> None:
    running(lab)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    assert lab.run("tag", "r", "k=v").returncode == 0
    assert listed(lab, "--tag", "k=v", "--status", "Failed") == ["r"]
    assert "coordinator lost" in lab.show("r")["error"]["message"]
