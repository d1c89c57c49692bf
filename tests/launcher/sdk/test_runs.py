"""Runs that Python code keeps: made, described, ended and found again, in this very process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from regiment import Experiment, RegimentError, Run, UserError, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / ".regiment")


@pytest.fixture
def experiment(workspace: Workspace) -> Experiment:
    return Experiment(workspace, "explore-runs")


def test_a_run_is_running_until_it_is_completed(experiment: Experiment) -> None:
    run = experiment.start_logging()
    assert (run.get_status(), run.type, run.experiment.name) == ("Running", "interactive", "explore-runs")
    run.complete()
    run.complete()
    assert run.get_status() == run.status == "Completed"


def test_a_block_completes_its_run(experiment: Experiment) -> None:
    with experiment.start_logging() as run:
        run.log(name="message", value="Hello from run!")
        assert run.get_status() == "Running"
    assert run.get_status() == "Completed"
    assert run.get_metrics() == {"message": "Hello from run!"}


def test_an_exception_in_the_block_fails_its_run_and_goes_on(experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="shapes"), experiment.start_logging() as run:
        raise ValueError("shapes do not match")
    assert run.get_status() == "Failed"
    assert run.get_details()["error"]["message"] == "ValueError: shapes do not match"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "Canceled"),
        (SystemExit(0), "Completed"),
        (SystemExit(), "Completed"),
        (SystemExit(3), "Failed"),
    ],
)
def test_what_ends_a_program_in_the_block_ends_its_run_alike(
    experiment: Experiment, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), experiment.start_logging() as run:
        raise error
    assert run.get_status() == status


def complete_and_raise(run: Run) -> None:
    with run:
        run.complete()
        raise ValueError("afterwards")


def test_a_run_that_was_ended_in_the_block_stays_as_it_is(experiment: Experiment) -> None:
    with experiment.start_logging() as run:
        run.cancel()
    done = experiment.start_logging()
    with pytest.raises(ValueError, match="afterwards"):
        complete_and_raise(done)
    assert (run.get_status(), done.get_status()) == ("Canceled", "Completed")


def test_a_completed_run_may_be_failed_with_a_reason_and_a_code(experiment: Experiment) -> None:
    with experiment.start_logging() as run:
        pass
    run.fail("the labels were wrong", "BadLabels")
    error = run.get_details()["error"]
    assert (run.get_status(), error["message"], error["code"]) == ("Failed", "the labels were wrong", "BadLabels")
    with pytest.raises(UserError, match="Failed and cannot become Completed"):
        run.complete()


def test_a_tag_changes_and_a_property_never_does(experiment: Experiment) -> None:
    run = experiment.start_logging()
    run.add_properties({"author": "azureml-user"})
    run.add_properties({"author": "azureml-user"})
    with pytest.raises(UserError, match="cannot become 'different-user'"):
        run.add_properties({"author": "different-user"})
    run.tag("quality", "great run")
    run.tag("quality", "fantastic run")
    run.tag("worth another look")
    run.set_tags({"a": 1, "b": None})
    run.remove_tags(["a", "no such tag"])
    assert run.get_properties() == {"author": "azureml-user"}
    assert run.get_tags() == {"quality": "fantastic run", "worth another look": None, "b": None}


def test_runs_are_found_by_tags_properties_type_and_status(experiment: Experiment) -> None:
    first, second = (experiment.start_logging(tags={"n": str(n)}) for n in (1, 2))
    first.add_properties({"author": "azureml-user"})
    first.tag("worth another look")
    second.complete()

    def found(**wanted: object) -> list[str]:
        return [run.id for run in experiment.get_runs(**wanted)]  # type: ignore[arg-type]

    assert found() == [second.id, first.id]
    assert found(properties={"author": "azureml-user"}, tags="worth another look") == [first.id]
    assert found(tags={"n": "2"}) == [second.id]
    assert found(tags={"n": "2"}, properties="author") == []
    assert found(type="interactive") == [second.id, first.id]
    assert [run.id for run in Run.list(experiment, status="Completed")] == [second.id]
    with pytest.raises(UserError, match="no type of a run"):
        found(type="automl")


def test_a_run_is_looked_up_by_its_id(workspace: Workspace, experiment: Experiment) -> None:
    made = experiment.start_logging(run_id="r", display_name="first try")
    for run in (Run(experiment, "r"), workspace.get_run("r"), Run.get(workspace, "r")):
        assert (run.id, run.name, run.get_status()) == (made.id, "first try", "Running")
    with pytest.raises(UserError, match="no run 'other'"):
        workspace.get_run("other")
    with pytest.raises(UserError, match="belongs to the experiment 'explore-runs'"):
        Run(Experiment(workspace, "another"), "r")
    with pytest.raises(UserError, match="already"):
        experiment.start_logging(run_id="r")


# --- children -----------------------------------------------------------------------------------------


def test_children_know_their_parent_and_are_found_at_every_depth(experiment: Experiment) -> None:
    with experiment.start_logging() as parent:
        with parent.child_run(name="first") as child:
            child.log(name="Hello from child run", value=1)
            grandchild = child.child_run()
        assert child.parent is not None
        assert child.parent.id == parent.id
    assert parent.parent is None
    assert [run.id for run in parent.get_children()] == [child.id]
    assert {run.id for run in parent.get_children(recursive=True)} == {child.id, grandchild.id}
    assert [run.id for run in child.get_children(recursive=True)] == [grandchild.id]
    assert [run.id for run in parent.get_children(recursive=True, status="Running")] == [grandchild.id]
    assert [run.id for run in experiment.get_runs()] == [parent.id]
    assert len(list(experiment.get_runs(include_children=True))) == 3
    assert parent.get_metrics(recursive=True)[child.id] == {"Hello from child run": 1}


def test_many_children_are_made_at_once(experiment: Experiment) -> None:
    parent = experiment.start_logging()
    assert len(parent.create_children(count=3)) == 3
    tagged = parent.create_children(tag_key="fruit", tag_values=["apple", "banana"])
    assert [run.get_tags() for run in tagged] == [{"fruit": "apple"}, {"fruit": "banana"}]
    assert [run.id for run in parent.get_children(tags={"fruit": "banana"})] == [tagged[1].id]
    assert len(list(parent.get_children(tags="fruit"))) == 2
    tagged[0].complete()
    assert [run.id for run in parent.get_children(status="Completed")] == [tagged[0].id]


def test_a_run_that_nothing_stands_for_any_more_holds_no_file(experiment: Experiment) -> None:
    parent = experiment.start_logging()
    parent.log("number", 0)
    gc.collect()  # What earlier tests have left holds files as well.
    before = len(os.listdir("/proc/self/fd"))
    for number, child in enumerate(parent.create_children(count=20)):
        child.log("number", number)
    del child
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert sorted(run.get_metrics()["number"] for run in parent.get_children()) == list(range(20))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"count": 3, "tag_key": "k", "tag_values": ["v"]}, {"count": 1, "tag_key": "k"}, {"tag_values": ["v"]}],
)
def test_counts_of_children_that_do_not_agree_are_refused(experiment: Experiment, wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="create_children"):
        experiment.start_logging().create_children(**wrong)  # type: ignore[arg-type]


# --- processes and threads ----------------------------------------------------------------------------


def test_a_forked_process_and_threads_use_the_run_as_well(experiment: Experiment) -> None:
    run = experiment.start_logging()
    run.log("loss", 0)
    child = os.fork()
    if child == 0:
        try:
            run.log("loss", 1)
            run.tag("from", "the child")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    def log() -> None:
        for step in range(100):
            run.log("step", step)

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics = run.get_metrics()
    assert (metrics["loss"], len(metrics["step"]), run.get_tags()) == ([0, 1], 400, {"from": "the child"})
    assert run.get_status() == "Running"


def test_a_run_whose_process_died_without_ending_it_has_failed(workspace: Workspace, experiment: Experiment) -> None:
    program = "import sys; from regiment import *; Experiment(Workspace(sys.argv[1]), 'explore-runs').start_logging()"
    subprocess.run([sys.executable, "-c", program, workspace.get_details()["folder"]], check=True, timeout=60)
    (run,) = experiment.get_runs()
    assert run.get_status() == "Failed"
    assert "ended without" in run.get_details()["error"]["message"]
    assert run.get_details()["exitStatus"] not in (0, None)


# --- workspaces ---------------------------------------------------------------------------------------


def test_the_workspace_is_found_upward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGIMENT_WORKSPACE", raising=False)
    below = tmp_path / "project" / "src"
    below.mkdir(parents=True)
    Workspace(tmp_path / "project" / ".regiment", "mine").write_config(tmp_path / "project")
    found = Workspace.from_config(below)
    assert (found.name, found.get_details()["folder"]) == ("mine", str(tmp_path / "project" / ".regiment"))
    (below / ".regiment").mkdir()
    monkeypatch.chdir(below)
    assert Workspace.from_config().get_details() == {"name": "src", "folder": str(below / ".regiment")}
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="workspace_name"):
        Workspace.from_config(tmp_path / "config.json")


def test_an_unknown_compute_target_is_told_and_still_a_key_error(workspace: Workspace) -> None:
    assert workspace.compute_targets["local"].type == "local"
    assert "gpu-cluster" not in workspace.compute_targets
    with pytest.raises(KeyError) as caught:
        workspace.compute_targets["gpu-cluster"]
    assert isinstance(caught.value, RegimentError)
    assert str(caught.value).startswith("there is no compute target 'gpu-cluster'; the workspace has local")


def test_an_experiment_is_hidden_and_shown_again(workspace: Workspace, experiment: Experiment) -> None:
    experiment.start_logging().complete()
    assert list(workspace.experiments) == ["explore-runs"]
    experiment.archive()
    assert list(workspace.experiments) == []
    experiment.reactivate()
    assert list(workspace.experiments) == ["explore-runs"]
    with pytest.raises(UserError, match="cannot name an experiment"):
        Experiment(workspace, "no/name")
