"""The run of a process that belongs to none."""

from __future__ import annotations

from pathlib import Path

import pytest

from regiment import Run, ScriptRunConfig, UserError


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGIMENT_SOCKET", raising=False)


def test_it_prints_what_is_logged_and_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.get_context()
    assert run.id.startswith("OfflineRun")
    run.log("loss", 0.5)
    run.log("loss", 0.25)
    run.log_list("steps", [1, 2])
    run.log_list("steps", [3])
    run.log_row("table", x=1, y=2)
    assert capsys.readouterr().out.startswith("Attempted to log scalar metric loss:\n0.5\n")
    assert run.get_metrics() == {"loss": [0.5, 0.25], "steps": [1, 2, 3], "table": {"x": [1], "y": [2]}}
    assert run.get_metrics("loss") == {"loss": [0.5, 0.25]}


def test_it_has_tags_properties_children_and_an_end() -> None:
    with Run.get_context() as run:
        run.tag("a", 1)
        run.add_properties({"p": "1"})
        with pytest.raises(UserError, match="cannot become '2'"):
            run.add_properties({"p": "2"})
        with run.child_run() as child:
            grandchild = child.child_run()
        assert child.parent is not None
        assert child.parent.id == run.id
        assert {each.id for each in run.get_children(recursive=True)} == {child.id, grandchild.id}
        assert [each.id for each in run.get_children(status="Completed")] == [child.id]
    assert (run.get_status(), run.get_tags()) == ("Completed", {"a": "1"})


def test_it_starts_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.get_context()
    run.log("loss", 1)
    run.upload_file("outputs/model", "model")
    with pytest.raises(UserError, match="belongs to no run"):
        run.submit_child(ScriptRunConfig(".", script="train.py"))
    with pytest.raises(UserError, match="belongs to no run"):
        Run.get_context(allow_offline=False)
    assert list(tmp_path.iterdir()) == []
