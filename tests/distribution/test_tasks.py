"""Properties of every plan: who runs where, under which rank, and what TensorFlow is told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.mpirun import mpi_flavour
from regiment.distribution.plan import Plan
from regiment.distribution.planner import make_plan
from regiment.distribution.tasks import Task, node_slots
from regiment.jobs.errors import UserError
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.spec import (
    Distribution,
    JobSpec,
    Mpi,
    Options,
    Plain,
    PyTorch,
    ShellCommand,
    StartMethod,
    StopWhen,
    TensorFlow,
)

MPIRUN = mpi_flavour("/usr/bin/mpirun", "mpirun (Open MPI) 5.0.11")


def job(distribution: Distribution, nodes: int = 1, **options: Any) -> JobSpec:
    return JobSpec(ShellCommand("x"), "e", distribution=distribution, instance_count=nodes, options=Options(**options))


def placed(slots: tuple[int, ...], gpus: tuple[str, ...] | None = None) -> Placement:
    """Nodes with addresses and ports of their own, as they are once a run has begun."""
    nodes = [
        Node(
            index=index,
            node_id=f"node-{index}",
            host=f"host{index}",
            address=f"10.0.{index // 256}.{index % 256}",
            slots=count,
            cpus=tuple(range(8)),
            python="/venv/bin/python",
            gpus=gpus,
            ports=tuple(str(20000 + port) for port in range(count)),
        )
        for index, count in enumerate(slots)
    ]
    return Placement(tuple(nodes), "4711")


def planned(spec: JobSpec, slots: tuple[int, ...], gpus: tuple[str, ...] | None = None) -> Plan:
    return make_plan(spec, placed(slots, gpus), "r", 0, MPIRUN)


def tasks_of(plan: Plan) -> list[list[str]]:
    return [[f"{process.task.type} {process.task.index}" for process in node.processes] for node in plan.nodes]


@st.composite
def any_jobs(draw: st.DrawFn) -> tuple[JobSpec, tuple[int, ...]]:
    """A job of any type, and how many processes each of its nodes runs, which need not be even."""
    slots = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=8)))
    total = sum(slots)
    chief, evaluator = draw(st.booleans()) and total > 1, draw(st.booleans()) and total > 2
    workers = draw(st.integers(1, total - chief - evaluator))
    tensorflow = TensorFlow(workers, total - workers - chief - evaluator, chief, evaluator)
    kinds: list[Distribution] = [PyTorch(1), PyTorch(), Mpi(1), Plain(), tensorflow]
    kind = draw(st.sampled_from(kinds))
    method = draw(st.sampled_from(StartMethod))
    stop_when = draw(st.none() | st.sampled_from(StopWhen)) if kind is tensorflow else None
    return job(kind, len(slots), start_method=method, stop_when=stop_when), slots


@given(any_jobs())
def test_ranks_count_node_by_node_and_local_ranks_from_0_on_each(drawn: tuple[JobSpec, tuple[int, ...]]) -> None:
    spec, slots = drawn
    plan = planned(spec, slots)
    assert [process.rank for process in plan.processes] == list(range(sum(slots)))
    for node, count in zip(plan.nodes, slots, strict=True):
        assert [process.local_rank for process in node.processes] == list(range(count))
        assert {process.node_rank for process in node.processes} == {node.node.index}
        assert node.environ["LOCAL_WORLD_SIZE"] == str(count)
    for process in plan.processes:
        assert (process.environ["RANK"], process.environ["LOCAL_RANK"]) == (f"{process.rank}", f"{process.local_rank}")
    assert len({process.name for process in plan.processes}) == len({p.log for p in plan.processes}) == sum(slots)


@given(any_jobs())
def test_the_plan_is_the_same_whoever_computes_it(drawn: tuple[JobSpec, tuple[int, ...]]) -> None:
    spec, slots = drawn
    plan = planned(spec, slots)
    assert planned(spec, slots) == plan
    assert from_plain(Plan, json.loads(json.dumps(to_plain(plan)))) == plan


@given(any_jobs())
def test_some_process_always_ends_the_run(drawn: tuple[JobSpec, tuple[int, ...]]) -> None:
    spec, slots = drawn
    ending = [process for process in planned(spec, slots).processes if process.ends_run]
    assert ending
    if not isinstance(spec.distribution, TensorFlow) or spec.options.stop_when is StopWhen.ALL:
        assert len(ending) == sum(slots)


tensorflow_jobs = any_jobs().filter(lambda drawn: isinstance(drawn[0].distribution, TensorFlow))


@given(tensorflow_jobs)
def test_workers_stand_in_their_order_along_the_ranks_and_the_chief_is_rank_0(
    drawn: tuple[JobSpec, tuple[int, ...]],
) -> None:
    spec, slots = drawn
    plan = planned(spec, slots)
    assert isinstance(spec.distribution, TensorFlow)
    for kind, count in (
        ("worker", spec.distribution.worker_count),
        ("ps", spec.distribution.parameter_server_count),
        ("chief", int(spec.distribution.chief)),
        ("evaluator", int(spec.distribution.evaluator)),
    ):
        assert [p.task.index for p in plan.processes if p.task.type == kind] == list(range(count))
    assert plan.processes[0].task == Task("chief" if spec.distribution.chief else "worker", 0)
    for node in plan.nodes:
        trains = [process.task.type in ("chief", "worker") for process in node.processes]
        assert trains == sorted(trains, reverse=True), "on each node those that train come first"


@given(tensorflow_jobs)
def test_all_tf_configs_describe_one_cluster_and_tasks_of_it(drawn: tuple[JobSpec, tuple[int, ...]]) -> None:
    plan = planned(*drawn)
    configs = [json.loads(process.environ["TF_CONFIG"]) for process in plan.processes]
    cluster = configs[0]["cluster"]
    assert all(config["cluster"] == cluster and config["environment"] == "cloud" for config in configs)
    assert "evaluator" not in cluster
    addresses = [address for found in cluster.values() for address in found]
    assert len(set(addresses)) == len(addresses)
    named = {(kind, index) for kind, found in cluster.items() for index in range(len(found))}
    told = [(config["task"]["type"], config["task"]["index"]) for config in configs]
    assert len(set(told)) == len(told)
    assert {task for task in told if task[0] != "evaluator"} == named
    for process, (kind, index) in zip(plan.processes, told, strict=True):
        assert process.task == Task(kind, index)
        node = plan.nodes[process.node_rank].node
        if kind != "evaluator":
            assert cluster[kind][index] == f"{node.address}:{node.ports[process.local_rank]}"


@given(st.integers(1, 12), st.integers(0, 12), st.booleans(), st.booleans(), st.integers(1, 40))
def test_tasks_are_spread_evenly_and_those_that_train_too(
    workers: int, servers: int, chief: bool, evaluator: bool, nodes: int
) -> None:
    kind = TensorFlow(workers, servers, chief, evaluator)
    spec = job(kind, nodes)
    slots = node_slots(spec)
    if kind.task_count < nodes:
        with pytest.raises(UserError, match=f"^{kind.task_count} TensorFlow tasks do not fit nodes that run"):
            planned(spec, slots)
        return
    assert sum(slots) == kind.task_count
    assert min(slots) >= 1 and max(slots) - min(slots) <= 1
    training = [sum(p.task.type in ("chief", "worker") for p in n.processes) for n in planned(spec, slots).nodes]
    assert max(training) - min(training) <= 1


def test_tasks_follow_nodes_that_differ() -> None:
    assert tasks_of(planned(job(TensorFlow(2, 1, chief=True)), (3, 1))) == [
        ["chief 0", "worker 0", "ps 0"],
        ["worker 1"],
    ]
    assert tasks_of(planned(job(TensorFlow(4)), (1, 3))) == [["worker 0"], ["worker 1", "worker 2", "worker 3"]]
    assert tasks_of(planned(job(PyTorch(1)), (3, 1))) == [["rank 0", "rank 1", "rank 2"], ["rank 3"]]


def test_tasks_that_nodes_have_no_place_for_are_refused_with_the_numbers() -> None:
    with pytest.raises(UserError, match="3 TensorFlow tasks do not fit nodes that run 2, 2 processes"):
        planned(job(TensorFlow(3)), (2, 2))


def test_a_parameter_server_shares_a_node_and_gets_none_of_its_gpus() -> None:
    plan = planned(job(TensorFlow(2, 1), 1), (3,), gpus=("0", "1", "2", "3"))
    assert [p.environ["CUDA_VISIBLE_DEVICES"] for p in plan.processes] == ["0,1", "2,3", "-1"]
    plan = planned(job(TensorFlow(2), 1), (2,), gpus=())
    assert [p.environ["CUDA_VISIBLE_DEVICES"] for p in plan.processes] == ["-1", "-1"]


@pytest.mark.parametrize(
    ("kind", "stop_when", "ending"),
    [
        (TensorFlow(2, 1), None, ["worker 0", "worker 1"]),
        (TensorFlow(2, 1), StopWhen.CHIEF, ["worker 0"]),
        (TensorFlow(2, 1, chief=True), None, ["chief 0"]),
        (TensorFlow(2, 1, chief=True), StopWhen.WORKERS, ["chief 0", "worker 0", "worker 1"]),
        (TensorFlow(1, 1, chief=True, evaluator=True), StopWhen.ALL, ["chief 0", "worker 0", "ps 0", "evaluator 0"]),
        (TensorFlow(1, 0, evaluator=True), None, ["worker 0"]),
    ],
)
def test_which_tasks_a_run_waits_for(kind: TensorFlow, stop_when: StopWhen | None, ending: list[str]) -> None:
    plan = planned(job(kind, stop_when=stop_when), (kind.task_count,))
    assert [f"{p.task.type} {p.task.index}" for p in plan.processes if p.ends_run] == ending


def test_a_big_cluster_is_planned_at_once() -> None:
    """Each TF_CONFIG names every task; the cluster is put together once for all of them."""
    spec = job(TensorFlow(900, 100), 100)
    assert len(planned(spec, node_slots(spec)).processes) == 1000
