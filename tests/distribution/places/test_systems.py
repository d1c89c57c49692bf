"""Each system's parser, on what nodes of real ones have in their environment, and on garbage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regiment.distribution.places import azure, hostlist, machine
from regiment.distribution.places.find import SYSTEMS, explain
from regiment.distribution.places.place import Found, Read, What
from regiment.jobs.errors import UserError

from .samples import CLUSTER_SPEC, HOSTFILE, SAMPLES, SLURM_SCRIPT, SLURM_SHELL, SLURM_STEP, TF_CONFIG, Sample


def reader(files: Mapping[str, str]) -> Read:
    return files.get


def parsed(environ: Mapping[str, str], files: Mapping[str, str] | None = None) -> list[Found]:
    found = [parse(environ, reader(files or {})) for parse in SYSTEMS.values()]
    return [item for item in found if item is not None]


def value(found: list[Found], what: What) -> str | None:
    return next((said.value for item in found if (said := item.of(what))), None)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_node_of_a_system_finds_its_place(sample: Sample) -> None:
    found = parsed(sample.environ, sample.files)
    assert {
        "nodes": value(found, What.NODES),
        "rank": value(found, What.RANK),
        "host": value(found, What.HOST),
        "port": value(found, What.PORT),
        "job": next((item.job for item in found if item.job), None),
    } == {
        "nodes": None if sample.nodes is None else str(sample.nodes),
        "rank": None if sample.rank is None else str(sample.rank),
        "host": sample.host,
        "port": None if sample.port is None else str(sample.port),
        "job": sample.job,
    }


def test_a_machine_of_no_system_is_told_nothing() -> None:
    assert parsed({"PATH": "/bin", "HOME": "/root", "HOSTNAME": "laptop", "RANK": "3", "MASTER_ADDR": "10.0.0.1"}) == []


@pytest.mark.parametrize(
    ("environ", "files", "sentence"),
    [
        (
            SLURM_SCRIPT,
            {},
            r"script or shell of a job with 4 nodes; start it with 'srun --ntasks-per-node=1 regiment ag",
        ),
        (SLURM_SHELL | {"SLURM_JOB_NUM_NODES": "2"}, {}, "script or shell of a job with 2 nodes; start it with 'srun"),
        (SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "8"}, {}, "Slurm starts 8 tasks on 2 nodes; start it with 'srun"),
        (SLURM_STEP | {"SLURM_STEP_NODELIST": "n[2-5]"}, {}, "SLURM_STEP_NODELIST has 4 nodes, but"),
        ({"TF_CONFIG": TF_CONFIG.replace('"worker","index"', '"evaluator","index"')}, {}, "--evaluator"),
        (
            {"TF_CONFIG": TF_CONFIG.replace('"index":1', '"index":2')},
            {},
            "TF_CONFIG says that this node is worker '2' of 2",
        ),
        ({"TF_CONFIG": "{"}, {}, "TF_CONFIG is not a JSON object; it begins with '{'"),
        ({"CLUSTER_SPEC": CLUSTER_SPEC.replace('"task"', '"tusk"')}, {}, "no 'task'"),
        ({"JOB_COMPLETION_INDEX": "one"}, {}, "JOB_COMPLETION_INDEX must be a whole number from 0 to .*; it is 'one'"),
        ({"AWS_BATCH_JOB_NODE_INDEX": "1"}, {}, "AWS_BATCH_JOB_NUM_NODES must be a whole number"),
        ({"PET_NNODES": "2", "PET_MASTER_ADDR": "; rm"}, {}, "PET_MASTER_ADDR must be a host's name"),
        (
            {"K_MPI_JOB_ROLE": "launcher", "HOSTNAME": "pi-launcher-x7"},
            {"/etc/mpi/hostfile": HOSTFILE},
            "'pi-launcher-x7', 0 times among 2 hosts; start the agent in the MPIJob's workers",
        ),
        (
            {},
            {"/opt/ml/input/config/resourceconfig.json": '{"hosts": ["a"]}'},
            "'current_host' in /opt/ml/.* is 'None'",
        ),
        ({"AZUREML_RUN_ID": "r", "LOCAL_RANK": "3"}, {}, "not the first process of its node"),
        ({"RAY_JOB_ID": "1", "WORLD_SIZE": "8", "NODE_RANK": "0", "LOCAL_WORLD_SIZE": "4"}, {}, "use one a node"),
    ],
)
def test_what_cannot_be_a_place_is_a_sentence(environ: dict[str, str], files: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parsed(environ, files)


@pytest.mark.parametrize("main", range(4))
def test_the_ranks_of_an_aws_batch_job_are_a_permutation_with_its_main_node_first(main: int) -> None:
    def rank(index: int) -> int:
        names = {"NODE_INDEX": index, "MAIN_NODE_INDEX": main, "NUM_NODES": 4}
        return int(value(parsed({f"AWS_BATCH_JOB_{name}": str(n) for name, n in names.items()}), What.RANK) or -1)

    assert sorted(map(rank, range(4))) == [0, 1, 2, 3]
    assert rank(main) == 0


def test_a_vertex_replica_has_the_same_place_by_either_of_its_variables() -> None:
    replica = json.loads(CLUSTER_SPEC)
    kinds = {"workerpool0": "chief", "workerpool1": "worker"}
    replica["cluster"] = {kinds[pool]: hosts for pool, hosts in replica["cluster"].items()}
    replica["task"]["type"] = "worker"
    (one,), (other,) = parsed({"CLUSTER_SPEC": CLUSTER_SPEC}), parsed({"TF_CONFIG": json.dumps(replica)})
    assert (one.system, other.system) == ("Vertex AI", "TF_CONFIG")
    assert [said.value for said in one.said] == [said.value for said in other.said]


def test_the_evaluators_of_vertex_are_nodes_though_its_tf_config_knows_none() -> None:
    # https://docs.cloud.google.com/vertex-ai/docs/training/distributed-training: every replica has both variables.
    spec = json.loads(CLUSTER_SPEC)
    spec["cluster"]["workerpool3"] = ["cmle-training-workerpool3-b644f12a34-0:2222"]
    spec["task"] = {"type": "workerpool3", "index": 0}
    evaluator = TF_CONFIG.replace('"worker","index":1', '"evaluator","index":0')
    (found,) = parsed({"CLUSTER_SPEC": json.dumps(spec), "TF_CONFIG": evaluator})
    assert (value([found], What.NODES), value([found], What.RANK)) == ("4", "3")


def test_an_azure_task_whose_address_is_not_listed_has_no_rank() -> None:
    sample = SAMPLES["azure batch subtask"]
    found = azure.azure_batch(sample.environ, reader({}))
    assert found is not None
    assert found.of(What.RANK) is None
    assert found.advice is not None
    assert "REGIMENT_NODE_RANK" in found.advice


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("login", ["login"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[2,4],gpu[008-010]", ["n2", "n4", "gpu008", "gpu009", "gpu010"]),
        ("r[1-2]n[01-02]-ib,x", ["r1n01-ib", "r1n02-ib", "r2n01-ib", "r2n02-ib", "x"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_a_list_of_slurm_hosts_is_expanded(text: str, names: list[str]) -> None:
    assert list(hostlist.expand(text, "L")) == names


@pytest.mark.parametrize(
    "text", ["", ",", "n[", "n]", "n[1", "n[3-1]", "n[a]", "n,", "n[1-999999999]", "n[[1]]", "a,,b"]
)
def test_what_is_no_list_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="L is no list of hosts"):
        hostlist.expand(text, "L")


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=30, unique=True), st.sampled_from(["", "0", "00"]))
def test_every_list_of_numbered_hosts_comes_back(numbers: list[int], zeros: str) -> None:
    inside = ",".join(f"{zeros}{number}" for number in numbers)
    assert hostlist.expand(f"n[{inside}]-x", "L") == tuple(f"n{zeros}{number}-x" for number in numbers)


def test_a_machine_s_first_address_is_on_the_way_to_everywhere() -> None:
    files = SAMPLES["aws batch main"].files
    turned = dict(files)
    # The link of the container agent's first, as some kernels order them.
    head, main, rest = files["/proc/net/fib_trie"].partition("     +-- 10.0.0.0/24")
    turned["/proc/net/fib_trie"] = head + rest.partition("     +-- 169")[2] + main + rest
    assert machine.own_addresses(reader(files)) == ("10.0.0.17", "169.254.172.2")
    assert machine.own_addresses(reader(turned)) == ("10.0.0.17", "169.254.172.2")


# --- garbage ------------------------------------------------------------------------------------------

_NAMES = sorted(
    {name for sample in SAMPLES.values() for name in sample.environ} | {"REGIMENT_NODES", "REGIMENT_MASTER"}
)
_PATHS = sorted({path for sample in SAMPLES.values() for path in sample.files})
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["cluster", "task", "type", "index", "hosts", "worker"]), inner, max_size=4)
    ),
    max_leaves=8,
)
_GARBAGE = (
    st.text(max_size=30)
    | st.sampled_from([text for sample in SAMPLES.values() for text in sample.environ.values()])
    | st.sampled_from(["0", "1", "-1", "٣", "1e3", "9" * 5000, "[", "a[1-", "{}", "[" * 5000, "\ud800", "localhost:0"])
    | _JSON.map(json.dumps)
)


@given(st.dictionaries(st.sampled_from(_NAMES), _GARBAGE), st.dictionaries(st.sampled_from(_PATHS), _GARBAGE))
@example({"TF_CONFIG": "[" * 100_000}, {})
@example({"TF_CONFIG": '{"cluster": {"worker": ["a"]}, "task": {"type": [], "index": {}}}'}, {})
def test_garbage_is_never_more_than_a_sentence(environ: dict[str, str], files: dict[str, str]) -> None:
    explanation = explain(environ, {}, reader(files))
    assert (explanation.place is None) == (explanation.error is not None)


@given(st.data())
def test_a_real_environment_with_one_thing_changed_is_never_more_than_a_sentence(data: Any) -> None:
    sample = data.draw(st.sampled_from(list(SAMPLES.values())))
    environ, files = dict(sample.environ), dict(sample.files)
    changed: dict[str, str] = data.draw(st.sampled_from([kept for kept in (environ, files) if kept]))
    changed[data.draw(st.sampled_from(sorted(changed)))] = data.draw(_GARBAGE)
    explain(environ, {"key_file": "k"}, reader(files))
