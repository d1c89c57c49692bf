"""What a plan says of every process, for every kind of job there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.plan import Plan
from regiment.distribution.planner import make_plan, masked_plan
from regiment.jobs.dataclass import replace
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, ShellCommand, StartMethod, TensorFlow

SPEC = JobSpec(
    command=ShellCommand("python train.py --rank $RANK"),
    experiment_name="mnist",
    instance_count=2,
    distribution=PyTorch(process_count_per_instance=2),
    environment_variables={"HF_TOKEN": "abc", "COLOUR": "blue"},
)


CPUS = tuple(range(8))


def node(index: int, slots: int, gpus: tuple[str, ...] | None = None) -> Node:
    return Node(index, f"node-{index}", f"host{index}", f"10.0.0.{index}", slots, CPUS, "/venv/bin/python", gpus)


def placement(*slots: int) -> Placement:
    return Placement(tuple(node(index, count) for index, count in enumerate(slots)), "4711")


def environ(plan: Plan, rank: int) -> dict[str, str]:
    process = plan.processes[rank]
    return {**plan.nodes[process.node_rank].environ, **process.environ}


def test_every_process_gets_the_whole_contract() -> None:
    plan = make_plan(SPEC, placement(2, 2), "run_1", 0)
    assert environ(plan, 3) == {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "NODE_RANK": "1",
        "GROUP_RANK": "1",
        "MASTER_ADDR": "10.0.0.0",
        "MASTER_PORT": "4711",
        "REGIMENT_RUN_ID": "run_1",
        "REGIMENT_ATTEMPT": "0",
        "REGIMENT_NODE_COUNT": "2",
        "AZUREML_RUN_ID": "run_1",
        "AZUREML_ARM_PROJECT_NAME": "mnist",
        "AZUREML_DATA_CONTAINER_ID": "dcid.run_1",
        "AZUREML_FRAMEWORK": "PyTorch",
        "AZUREML_PROCESS_NAME": "rank_3",
        "AZUREML_NODE_COUNT": "2",
        "AZUREML_CR_NODE_RANK": "1",
        "NODE_COUNT": "2",
        "GPU_PER_NODE_COUNT": "0",
        "AZ_BATCHAI_TASK_TYPE": "rank_",
        "AZ_BATCHAI_TASK_INDEX": "3",
        "AZ_BATCH_NODE_ID": "node-1",
        "AZ_BATCH_HOST_LIST": "10.0.0.0,10.0.0.1",
        "AZ_BATCH_NODE_LIST": "10.0.0.0;10.0.0.1",
        "AZ_BATCH_MASTER_NODE": "10.0.0.0:4711",
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": "false",
        "AZ_BATCHAI_IS_CURRENT_NODE_MASTER": "false",
        "AZ_BATCHAI_JOB_MASTER_NODE_IP": "10.0.0.0",
        "AZ_BATCHAI_MPI_MASTER_NODE": "10.0.0.0",
        "AZ_BATCHAI_NODE_IP": "10.0.0.1",
        "HF_TOKEN": "abc",
        "COLOUR": "blue",
    }


def test_torchrun_gets_its_rendezvous_from_the_same_plan() -> None:
    spec = replace(SPEC, options=Options(torchrun_args=("--log-dir=x", "--max-restarts", "3")))
    launcher = make_plan(spec, placement(2, 2), "run_1", 0).nodes[1].launcher
    assert launcher is not None
    assert launcher.argv == (
        "/venv/bin/python",
        "-c",
        "import sys; sys.argv[0] = sys.path.pop(0) or 'torchrun'; from torch.distributed.run import main; main()",
        "--nnodes=2",
        "--node-rank=1",
        "--nproc-per-node=2",
        "--master-addr=10.0.0.0",
        "--master-port=4711",
        "--log-dir={temporary}",
        "--log-dir=x",
        "--max-restarts",
        "3",
        "--no-python",
        "{wrapper}",
    )
    assert launcher.own_restarts == 3


def test_without_a_process_count_the_command_runs_once_a_node_and_no_launcher_is_started() -> None:
    plan = make_plan(replace(SPEC, distribution=PyTorch()), placement(1, 1), "run_1", 0)
    assert [n.launcher for n in plan.nodes] == [None, None]
    assert [(p.environ["RANK"], p.environ["LOCAL_RANK"]) for p in plan.processes] == [("0", "0"), ("1", "0")]


def test_spawn_starts_the_processes_without_a_launcher() -> None:
    plan = make_plan(replace(SPEC, options=Options(start_method=StartMethod.SPAWN)), placement(2, 2), "r", 0)
    assert [n.launcher for n in plan.nodes] == [None, None]
    assert len(plan.processes) == 4


def test_fork_has_the_modules_imported_on_each_node_torch_where_none_are_named() -> None:
    def preloads(preload: tuple[str, ...] | None) -> list[tuple[str, ...] | None]:
        options = Options(start_method=StartMethod.FORK, preload=preload)
        plan = make_plan(replace(SPEC, options=options), placement(2, 2), "r", 0)
        assert [node.launcher for node in plan.nodes] == [None, None]
        return [node.preload for node in plan.nodes]

    assert preloads(None) == [("torch",)] * 2
    assert preloads(("numpy", "mine")) == [("numpy", "mine")] * 2
    assert preloads(()) == [()] * 2
    assert [node.preload for node in make_plan(SPEC, placement(2, 2), "r", 0).nodes] == [None, None]


def test_a_job_files_command_goes_through_the_shell_and_an_argv_does_not() -> None:
    assert make_plan(SPEC, placement(1), "r", 0).processes[0].argv == ("{shell}", "-c", "python train.py --rank $RANK")
    direct = replace(SPEC, command=ArgvCommand(("python", "a b.py")))
    assert make_plan(direct, placement(1), "r", 0).processes[0].argv == ("python", "a b.py")


def test_logs_lie_in_a_folder_a_node_and_right_at_the_top_where_there_is_just_one() -> None:
    assert [p.log for p in make_plan(SPEC, placement(1, 1), "r", 0).processes] == [
        "node-0/70_driver_log_0.txt",
        "node-1/70_driver_log_1.txt",
    ]
    assert [p.log for p in make_plan(SPEC, placement(2), "r", 0).processes] == [
        "70_driver_log_0.txt",
        "70_driver_log_1.txt",
    ]
    alone = make_plan(SPEC, placement(1), "r", 0).processes[0]
    assert (alone.log, alone.name, alone.environ["AZUREML_PROCESS_NAME"]) == ("70_driver_log.txt", "main", "main")


def test_omp_threads_share_the_nodes_processors_and_never_override_the_users() -> None:
    nodes = make_plan(SPEC, placement(2, 8), "r", 0).nodes
    assert [n.defaults["OMP_NUM_THREADS"] for n in nodes] == ["4", "1"]
    assert "OMP_NUM_THREADS" not in nodes[0].environ


def test_tensorflow_never_has_a_single_inter_op_thread_with_which_its_servers_hang() -> None:
    spec = replace(SPEC, distribution=TensorFlow(worker_count=2))
    one, four = (
        Placement((replace(node(0, 2), cpus=cpus, ports=("1", "2")),), "4711") for cpus in ((5,), (0, 1, 2, 3))
    )
    few, many = (make_plan(spec, given, "r", 0).nodes[0] for given in (one, four))
    assert few.defaults["TF_NUM_INTEROP_THREADS"] == "2"
    assert "TF_NUM_INTEROP_THREADS" not in many.defaults


def test_a_nodes_share_of_gpus_is_visible_to_all_its_processes() -> None:
    place = Placement((node(0, 2, ("0", "1")), node(1, 2, ("2", "3"))), "1")
    plan = make_plan(SPEC, place, "r", 0)
    assert [environ(plan, rank)["CUDA_VISIBLE_DEVICES"] for rank in range(4)] == ["0,1", "0,1", "2,3", "2,3"]
    assert environ(plan, 0)["GPU_PER_NODE_COUNT"] == "2"


def test_secrets_are_masked_where_a_plan_is_shown() -> None:
    shown = masked_plan(make_plan(SPEC, placement(1), "r", 0)).nodes[0].environ
    assert (shown["HF_TOKEN"], shown["COLOUR"]) == ("********", "blue")


def test_a_plan_survives_the_way_through_json() -> None:
    plan = make_plan(SPEC, placement(2, 1), "r", 0)
    assert from_plain(Plan, to_plain(plan)) == plan


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_ranks_are_contiguous_and_node_major_on_nodes_of_any_sizes(slots: list[int]) -> None:
    plan = make_plan(SPEC, placement(*slots), "r", 0)
    assert [p.rank for p in plan.processes] == list(range(sum(slots)))
    assert [p.node_rank for p in plan.processes] == sorted(p.node_rank for p in plan.processes)
    for n in plan.nodes:
        assert [p.local_rank for p in n.processes] == list(range(n.node.slots))
    assert len({p.log for p in plan.processes}) == sum(slots)


def test_an_elastic_torchrun_meets_on_node_0_and_restarts_its_ranks() -> None:
    spec = replace(SPEC, options=Options(min_nodes=1))
    nodes = make_plan(spec, placement(2, 2), "run_1", 0).nodes
    launchers = [node.launcher for node in nodes if node.launcher is not None]
    assert [flag for flag in launchers[0].argv if flag.startswith("--rdzv-conf=is_host=1,")]
    assert [flag for flag in launchers[1].argv if flag.startswith("--rdzv-conf=is_host=0,")]
    for launcher in launchers:
        wanted = {"--nnodes=1:2", "--rdzv-backend=c10d", "--rdzv-endpoint=10.0.0.0:4711", "--max-restarts=3"}
        assert wanted <= set(launcher.argv) and launcher.is_elastic and launcher.own_restarts == 3
    assert nodes[1].processes[1].environ["RANK"] == "{rank}"
