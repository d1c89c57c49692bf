"""What a large run costs grows with its nodes and no faster: counted, for time tells nothing on a busy machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from regiment.distribution.plan import Plan
from regiment.distribution.planner import make_plan, plan_pieces
from regiment.jobs.errors import UserError
from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, StartMethod
from regiment.launcher.coordinator.files import check_files
from regiment.launcher.coordinator.starts import Starts
from regiment.launcher.node import messages

CROWD = Path(__file__).parents[2] / "benchmarks" / "crowd.py"
SPEC = JobSpec(
    command=ArgvCommand(("python", "train.py")),
    experiment_name="e",
    distribution=PyTorch(8),
    options=Options(start_method=StartMethod.SPAWN),
)


def plan_of(nodes: int) -> Plan:
    places = (
        Node(i, f"node-{i:04}", f"h{i:04}", f"10.0.{i >> 8:03}.{i & 255:03}", 8, tuple(range(8)), "/bin/python")
        for i in range(nodes)
    )
    return make_plan(SPEC, Placement(tuple(places), "4711"), "r", 0)


def own_bytes(plan: Plan) -> list[int]:
    """What each agent is told, less what is the same for all."""
    starts = Starts(plan, None)
    lines = [starts.line(node) for node in plan.nodes]
    told = [messages.unpack(messages.Start, json.loads(line)) for line in lines]
    for start, node in zip(told, plan.nodes, strict=True):
        assert {**start.shared_environ, **start.plan.environ} == node.environ
    return [line.rindex(b'nviron":') for line in lines]  # Of `environ` or, where it is long, of `packedEnviron`.


def test_what_is_a_nodes_own_in_its_message_does_not_grow_with_the_other_nodes() -> None:
    few, many = own_bytes(plan_of(16)), own_bytes(plan_of(512))
    assert max(many) - max(few) < 100, "ranks have more digits, and that is all"


def test_the_long_list_of_hosts_takes_a_quarter_of_its_bytes_on_its_way_to_each_node() -> None:
    few, many = plan_of(16), plan_of(2048)
    lists = [many.nodes[0].environ[name] for name in ("AZ_BATCH_HOST_LIST", "AZ_BATCH_NODE_LIST")]
    short, long = (len(Starts(plan, None).line(plan.nodes[0])) for plan in (few, many))
    assert long - short < sum(map(len, lists)) / 4


def test_the_long_list_of_hosts_is_in_the_written_plan_a_few_times_and_not_once_a_node() -> None:
    written = "".join(plan_pieces(plan_of(64)))
    assert json.loads(written)["environ"]["AZ_BATCH_HOST_LIST"].count(",") == 63
    assert written.count("10.0.000.007,10.0.000.008") == 1


def test_all_nodes_share_one_list_of_hosts_in_memory() -> None:
    lists = {id(node.environ["AZ_BATCH_HOST_LIST"]) for node in plan_of(64).nodes}
    assert len(lists) == 1


def test_a_run_with_more_nodes_than_files_may_be_open_says_how_many_it_takes() -> None:
    check_files(400, most=1024)
    with pytest.raises(UserError, match=r"4,096 nodes needs 8,256 open files .* 1,024 are the limit"):
        check_files(4096, most=1024)


@pytest.mark.parametrize(("carrier", "nodes"), [("plain", 160), ("secured", 64)])
def test_many_agents_are_seen_through_from_hello_to_the_end(tmp_path: Path, carrier: str, nodes: int) -> None:
    """Of 160 agents the plan is so long that it is written when there is time for it."""
    command = [sys.executable, str(CROWD), carrier, str(nodes), "8", "2", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["ended"] > 0
    folder = tmp_path / ".regiment" / "runs" / "crowd"
    planned = json.loads((folder / "plan.json").read_text("utf-8"))
    assert len(planned["nodes"]) == nodes and planned["environ"]["MASTER_PORT"].isdecimal()
    logs = folder / "azureml-logs"
    for status in (logs / "process_status.json", *logs.glob("*/process_status.json")):
        rows = json.loads(status.read_text("utf-8"))["processes"]
        assert len(rows) == (8 * nodes if status.parent == logs else 8)
        assert {row["status"] for row in rows} == {"Completed"}
