"""Where inputs and outputs lie on a node, and what a job is told of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.data import InputPlan, data_plan, data_values, with_values
from regiment.distribution.planner import make_plan, masked_plan
from regiment.jobs.data import DataInput, DataMode, LiteralInput, Output
from regiment.jobs.locations import file_name, scheme, shown
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.spec import ArgvCommand, JobSpec, ShellCommand

SPEC = JobSpec(
    command=ShellCommand("train ${{inputs.folder}} ${{inputs.file}} ${{inputs.rate}} ${{outputs.model}}"),
    experiment_name="e",
    instance_count=2,
    environment_variables={"TABLE": "${{outputs.table}}"},
    inputs={
        "folder": DataInput("/big/set"),
        "file": DataInput("https://host/a%20b.csv?sig=s", "uri_file", DataMode.DOWNLOAD),
        "rate": LiteralInput(0.1, "0.10"),
    },
    outputs={"model": Output(), "table": Output("uri_file")},
)


CPUS = tuple(range(8))


def node(index: int) -> Node:
    return Node(index, f"node-{index}", "host", "10.0.0.1", 1, CPUS, "/bin/python", data=f"/scratch/node-{index}")


def test_each_node_is_told_its_own_paths() -> None:
    plan = make_plan(SPEC, Placement((node(0), node(1)), "1"), "r", 0)
    for index, process in enumerate(plan.processes):
        own = f"/scratch/node-{index}"
        line = f"train {own}/inputs/folder '{own}/inputs/file/a b.csv' 0.10 {own}/outputs/model"
        assert process.argv[-1] == line
        assert plan.nodes[index].environ["TABLE"] == f"{own}/outputs/table/table"


def test_a_plan_with_data_survives_the_way_to_the_node_and_shows_no_keys() -> None:
    plan = make_plan(SPEC, Placement((node(0),), "1"), "r", 0)
    assert from_plain(type(plan), to_plain(plan)) == plan
    assert masked_plan(plan).nodes[0].data.inputs[1].source == "https://host/a%20b.csv?..."


def test_direct_data_is_named_as_it_is_and_not_collected() -> None:
    spec = JobSpec(
        command=ShellCommand(""),
        experiment_name="e",
        inputs={"x": DataInput("s3://b/k", mode=DataMode.DIRECT)},
        outputs={"y": Output(mode=DataMode.DIRECT, path="s3://b/out")},
    )
    plan = data_plan(spec, "/d")
    assert plan.inputs == (InputPlan("x", "s3://b/k", False, DataMode.DIRECT, "s3://b/k"),)
    assert plan.outputs == ()
    assert data_values(spec, plan) == {"inputs.x": "s3://b/k", "outputs.y": "s3://b/out"}


def test_an_argv_gets_values_bare_and_keeps_what_nobody_knows() -> None:
    command = ArgvCommand(("cat", "${{inputs.x}}/a", "${{ inputs.y }}"))
    assert with_values(command, {"inputs.x": "/a b"}) == ArgvCommand(("cat", "/a b/a", "${{ inputs.y }}"))


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/a/b c.csv", "b c.csv"),
        ("/a/b/", "b"),
        ("https://h/a/b.csv?x=/y#z", "b.csv"),
        ("https://h/a%2Fb", "data"),
        ("https://h/..", "data"),
        ("https://h", "data"),
        ("https://h/%00", "data"),
    ],
)
def test_a_files_name_is_one_safe_component(location: str, name: str) -> None:
    assert file_name(location) == name


@given(st.text())
def test_no_url_leads_out_of_its_folder(rest: str) -> None:
    name = file_name(f"https://host/{rest}")
    assert name not in ("", ".", "..") and "/" not in name and "\0" not in name


def test_urls_are_shown_without_user_and_query() -> None:
    assert shown("https://me:secret@host/a@b?sig=1") == "https://host/a@b?..."
    assert shown("/a?b") == "/a?b"
    assert (scheme("S3://b"), scheme("/a"), scheme("azureml:a:1")) == ("s3", None, None)
