"""`type: tensorflow` with the real TensorFlow: its strategies and its servers, on two emulated nodes."""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import ENDLESS, GUARD, Lab

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

ALL_REDUCE = """\
import json, os
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
resolver = strategy.cluster_resolver

@tf.function
def step():
    own = strategy.run(lambda: tf.constant(resolver.task_id + 1.0))
    return strategy.reduce("sum", own, axis=None)

print("sum", float(step()), "of", strategy.num_replicas_in_sync, flush=True)
print("rank", os.environ["RANK"], "is", resolver.task_type, resolver.task_id, flush=True)
"""

SERVERS = """\
import os, sys, time
import tensorflow as tf
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
kind, index = resolver.task_type, resolver.task_id
if kind in ("worker", "ps"):
    server = tf.distribute.Server(resolver.cluster_spec(), job_name=kind, task_index=index, protocol="grpc")
    print(kind, index, "serves", flush=True)
    server.join()
"""

PARAMETER_SERVER_JOB = (
    SERVERS
    + """\
strategy = tf.distribute.experimental.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    weight = tf.Variable(0.0)
print("the weight is on", weight.device, flush=True)

@tf.function
def step():
    return strategy.run(lambda: weight.assign_add(1.0))

for _ in range(20):
    coordinator.schedule(step)
coordinator.join()
print("the weight is", float(weight.read_value()), flush=True)
"""
)

EVALUATOR = """\
import os, time
import tensorflow as tf
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
cluster = {kind: len(found) for kind, found in resolver.cluster_spec().as_dict().items()}
print(resolver.task_type, resolver.task_id, "sees", cluster, flush=True)
if resolver.task_type == "evaluator":
    open("evaluated", "w").close()
    time.sleep(3600)  # As an evaluator does that waits for the next checkpoint.
while not os.path.exists("evaluated"):
    time.sleep(0.1)
"""


@pytest.fixture
def lab_of_tf(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab in which TensorFlow says little, takes no GPU and leaves the other processes some processor time."""
    for name, value in {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    return lab


def run_arguments(lab: Lab, program: str, *flags: str, nodes: int = 2) -> tuple[str, ...]:
    lab.write("train.py", program)
    shape = ("run", "--name", "r", "--nodes", str(nodes), "--type", "tensorflow")
    return (*shape, *flags, "--", "python", "train.py")


@pytest.mark.parametrize("workers", [2, 4])
def test_all_workers_of_a_mirrored_strategy_take_part_in_the_sum(lab_of_tf: Lab, workers: int) -> None:
    lab = lab_of_tf
    result = lab.run(*run_arguments(lab, ALL_REDUCE, "--workers", str(workers)))
    assert result.returncode == 0, result.stderr
    expected = sum(range(1, workers + 1))
    assert result.stdout.count(f"sum {expected:.1f} of {workers}\n") == workers
    for rank in range(workers):
        assert f"[node-{rank * 2 // workers} rank {rank}] rank {rank} is worker {rank}\n" in result.stdout
    assert set(lab.statuses().values()) == {"Completed"}


def test_a_single_worker_runs_as_well(lab_of_tf: Lab) -> None:
    result = lab_of_tf.run(*run_arguments(lab_of_tf, ALL_REDUCE, nodes=1))
    assert result.returncode == 0, result.stderr
    assert "sum 1.0 of 1\n" in result.stdout


def test_a_parameter_server_job_completes_although_its_servers_never_end(lab_of_tf: Lab) -> None:
    lab = lab_of_tf
    flags = ("--chief", "--workers", "2", "--parameter-servers", "1")
    result = lab.run(*run_arguments(lab, PARAMETER_SERVER_JOB, *flags))
    assert result.returncode == 0, result.stderr
    assert "the weight is 20.0" in result.stdout
    assert "/job:ps/" in result.stdout
    assert lab.statuses() == {"chief_0": "Completed", "worker_0": "Stopped", "worker_1": "Stopped", "ps_0": "Stopped"}
    assert lab.show("r")["status"] == "Completed"
    assert lab.processes() == []


def test_tensorflows_servers_end_at_once_when_they_are_stopped(lab_of_tf: Lab) -> None:
    lab = lab_of_tf
    flags = ("--chief", "--workers", "1", "--parameter-servers", "1", "--grace", ENDLESS)
    result = lab.run(*run_arguments(lab, PARAMETER_SERVER_JOB, *flags))
    assert result.returncode == 0, result.stderr
    assert lab.statuses() == {"chief_0": "Completed", "worker_0": "Stopped", "ps_0": "Stopped"}


def test_an_evaluator_knows_the_cluster_and_is_not_in_it(lab_of_tf: Lab) -> None:
    lab = lab_of_tf
    flags = ("--chief", "--workers", "1", "--evaluator", "--stop-when", "workers")
    result = lab.run(*run_arguments(lab, EVALUATOR, *flags))
    assert result.returncode == 0, result.stderr
    seen = {line.partition("] ")[2] for line in result.stdout.splitlines() if " sees " in line}
    assert seen == {f"{task} 0 sees {{'chief': 1, 'worker': 1}}" for task in ("chief", "worker", "evaluator")}
    assert lab.statuses() == {"chief_0": "Completed", "worker_0": "Completed", "evaluator_0": "Stopped"}


def test_a_worker_that_raises_is_the_cause_and_nothing_is_left(lab_of_tf: Lab) -> None:
    lab = lab_of_tf
    guilty = "if resolver.task_id == 2: raise ValueError('bad batch')\nwhile True: step()\n"
    result = lab.run(*run_arguments(lab, ALL_REDUCE + guilty, "--workers", "4", "--grace", "5"))
    assert result.returncode == 1
    assert lab.show("r")["error"]["rank"] == 2, result.stderr
    assert "rank 2 on node-1 failed first: exit code 1" in result.stderr
    assert "ValueError: bad batch" in result.stderr
    assert lab.processes() == []


def test_a_parameter_server_that_is_killed_is_the_cause(lab_of_tf: Lab) -> None:
    lab = lab_of_tf
    for_ever = PARAMETER_SERVER_JOB.replace("range(20)", "iter(int, 1)").replace("(step)", "(step); time.sleep(0.01)")
    flags = ("--chief", "--workers", "1", "--parameter-servers", "1", "--grace", "5")
    process = lab.start(*run_arguments(lab, for_ever, *flags))
    chief = lab.run_folder("r") / "azureml-logs/node-0/70_driver_log_0.txt"
    lab.wait_until(lambda: chief.exists() and "the weight is on" in chief.read_text())
    server = next(row for row in lab.status("r") if row["name"] == "ps_0")
    os.kill(server["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert f"rank {server['rank']} on {server['nodeId']} failed first: killed by SIGKILL" in err
    assert lab.processes() == []


TAKE_ALL_PORTS = """\
import json, os, socket, sys, time
config = json.loads(os.environ["TF_CONFIG"])
addresses = config["cluster"]["worker"]
if config["task"]["index"]:
    time.sleep(3600)
import tensorflow as tf
servers = []
for index, address in enumerate(addresses):
    host, _, port = address.rpartition(":")
    try:
        socket.socket().bind(("", int(port)))
        sys.exit(f"nobody holds port {port}")
    except OSError:
        pass
    servers.append(tf.distribute.Server(config["cluster"], job_name="worker", task_index=index, protocol="grpc"))
    socket.create_connection((host, int(port))).close()
print(len(servers), "servers took their ports", flush=True)
"""


def test_each_port_that_is_held_can_be_taken_by_a_server_of_tensorflows_and_by_no_plain_binder(lab_of_tf: Lab) -> None:
    """Each holder is a bound socket of an agent's that does not listen; gRPC has to be able to bind beside it."""
    lab = lab_of_tf
    flags = ("--workers", "20", "--stop-when", "chief")
    result = lab.run(*run_arguments(lab, TAKE_ALL_PORTS, *flags))
    assert result.returncode == 0, result.stderr
    assert "20 servers took their ports" in result.stdout
