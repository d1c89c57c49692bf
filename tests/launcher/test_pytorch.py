"""`type: pytorch` with the real torch: torchrun on two emulated nodes, real collectives."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import regiment.jobs as jobs

from .conftest import ENDLESS, GUARD, Lab

pytestmark = [pytest.mark.torch, pytest.mark.slow]

GRADIENTS = """\
import os, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
rank = dist.get_rank()
model = DistributedDataParallel(torch.nn.Linear(3, 1, bias=False))
model(torch.full((1, 3), float(rank + 1))).sum().backward()
gradient = model.module.weight.grad * dist.get_world_size()
print("sum of gradients", gradient.tolist(), flush=True)
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK")
print("environ", {name: os.environ[name] for name in names}, flush=True)
dist.destroy_process_group()
"""

ONE_FAILS = """\
import os, sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
if dist.get_rank() == 1:
    print("I am the one", flush=True); sys.exit(7)
dist.all_reduce(torch.ones(1))
time.sleep(3600)
"""

JOB = """\
command: python train.py
code: src
resources: {instance_count: 2}
distribution: {type: pytorch, process_count_per_instance: 2}
"""


def two_by_two(lab: Lab, program: str, *flags: str) -> tuple[str, ...]:
    lab.write("train.py", program)
    return (
        "run",
        "--name",
        "r",
        "--nodes",
        "2",
        "--nproc",
        "2",
        "--type",
        "pytorch",
        *flags,
        "--",
        "python",
        "train.py",
    )


def test_four_ranks_on_two_nodes_agree_on_the_summed_gradient(lab: Lab) -> None:
    lab.write("job.yml", JOB)
    lab.write("src/train.py", GRADIENTS)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    lines = sorted(line for line in result.stdout.splitlines() if "sum of" in line)
    # Each rank's own gradient is rank + 1 everywhere; 1 + 2 + 3 + 4 = 10 only if all four took part.
    assert lines == [f"[node-{r // 2} rank {r}] sum of gradients [[10.0, 10.0, 10.0]]" for r in range(4)]
    environs = [eval(line.partition("environ ")[2]) for line in sorted(result.stdout.splitlines()) if "environ" in line]
    assert environs == [
        {
            "RANK": f"{r}",
            "LOCAL_RANK": f"{r % 2}",
            "WORLD_SIZE": "4",
            "NODE_RANK": f"{r // 2}",
            "GROUP_RANK": f"{r // 2}",
        }
        for r in range(4)
    ]


def test_the_same_program_runs_without_torchrun(lab: Lab) -> None:
    result = lab.run(*two_by_two(lab, GRADIENTS, "--start-method", "spawn"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("[[10.0, 10.0, 10.0]]") == 4


def test_the_rank_that_failed_first_is_named_although_torchrun_hides_it(lab: Lab) -> None:
    result = lab.run(*two_by_two(lab, ONE_FAILS))
    assert result.returncode == 1
    assert "rank 1 on node-0 failed first: exit code 7" in result.stderr
    assert "I am the one" in result.stderr.rpartition("failed first")[2]
    rows = lab.status("r")
    assert [row["firstFailure"] for row in rows] == [False, True, False, False]
    assert rows[1]["exitCode"] == 7
    assert {row["status"] for row in rows if row["rank"] != 1} <= {"Stopped", "Failed"}


def test_the_ranks_of_other_torchruns_are_stopped_within_a_second(lab: Lab) -> None:
    took = []
    # The quickest of a few, for a busy machine may need a second for anything.
    for name in "abc":
        assert lab.run(*two_by_two(lab, ONE_FAILS, "--name", name, "--grace", ENDLESS)).returncode == 1
        ends = {event["rank"]: event["at"] for event in lab.events(name, "process_exited")}
        took.append(max(ends.values()) - ends[1])
        if took[-1] < 1.0:
            break
    assert min(took) < 1.0


def test_a_rank_that_is_killed_under_torchrun_is_reported_by_its_signal(lab: Lab) -> None:
    process = lab.start(*two_by_two(lab, ONE_FAILS.replace("== 1", "== 9")))
    lab.wait_until_running("r", 4)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    os.kill(lab.status("r")[3]["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert "rank 3 on node-1 failed first: killed by SIGKILL" in err


def test_a_torchrun_that_is_killed_leaves_no_rank_behind_and_is_named(lab: Lab) -> None:
    process = lab.start(*two_by_two(lab, ONE_FAILS.replace("== 1", "== 9"), "--grace", "1"))
    lab.wait_until_running("r", 4)
    os.kill(lab.that_run(b"torch.distributed.run")[0], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert "torchrun on node-" in err and "killed by SIGKILL" in err
    assert lab.processes() == []


def test_ctrl_c_while_torchrun_is_still_importing_torch_leaves_nothing_behind(lab: Lab) -> None:
    process = lab.start(*two_by_two(lab, GRADIENTS, "--grace", ENDLESS))
    lab.wait_until(lambda: lab.that_run(b"torch.distributed.run"))
    process.send_signal(signal.SIGINT)
    lab.wait_until(lambda: process.poll() is not None)  # and not for the grace of an hour
    assert process.returncode == 130
    assert {row["status"] for row in lab.status("r")} == {"NotStarted"}


def test_a_flag_torchrun_does_not_know_is_shown_in_its_own_words(lab: Lab) -> None:
    result = lab.run(*two_by_two(lab, GRADIENTS, "--torchrun-arg=--no-such-flag"))
    assert result.returncode == 1
    assert "torchrun on node-" in result.stderr and "before it started its processes" in result.stderr
    assert "no-such-flag" in result.stderr.rpartition("before it started")[2]


def test_torchruns_own_flags_pass_through_from_the_job_file(lab: Lab) -> None:
    lab.write("job.yml", JOB + "regiment: {torchrun_args: [--role=trainer]}\n")
    lab.write("src/train.py", "import os; print(os.environ['ROLE_NAME'])")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("trainer") == 4


def test_torchruns_own_restarts_work_when_asked_for(lab: Lab) -> None:
    lab.write(
        "train.py",
        "import os, sys; n = os.environ['TORCHELASTIC_RESTART_COUNT']; print('round', n)\n"
        "sys.exit(n == '0' and os.environ['RANK'] == '0')",
    )
    result = lab.run(
        *("run", "--name", "r", "--nproc", "2", "--type", "pytorch", "--torchrun-arg=--max-restarts=1"),
        *("--", "python", "train.py"),
    )
    assert result.returncode == 0, result.stderr
    assert sorted(lab.log("r", "70_driver_log_0.txt").split("\n"))[1:] == ["round 0", "round 1"]
    assert [row["status"] for row in lab.status("r")] == ["Completed", "Completed"]


def test_each_process_has_its_own_log_and_torchruns_words_are_in_the_nodes(lab: Lab) -> None:
    result = lab.run(*two_by_two(lab, GRADIENTS))
    assert result.returncode == 0
    for rank in range(4):
        log = lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt")
        assert log.startswith("sum of gradients") and len(log.splitlines()) == 2
    assert "torch.distributed.run" in lab.log("r", "node-1/55_azureml-execution-node-1.txt")


def test_without_a_process_count_the_users_own_torchrun_runs_once_a_node(lab: Lab) -> None:
    lab.write("train.py", GRADIENTS)
    command = (
        "python -m torch.distributed.run --nnodes $REGIMENT_NODE_COUNT --node-rank $NODE_RANK --nproc-per-node 2 "
        "--master-addr $MASTER_ADDR --master-port $MASTER_PORT train.py"
    )
    result = lab.run("run", "--name", "r", "--nodes", "2", "--type", "pytorch", "--", "sh", "-c", command)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("[[10.0, 10.0, 10.0]]") == 4
    info = json.loads((lab.run_folder("r") / "azureml-logs" / "process_info.json").read_text())
    assert len(info["processes"]) == 2


def test_the_reason_is_shown_although_the_users_own_torchrun_has_the_last_word(lab: Lab) -> None:
    lab.write("train.py", "raise ValueError('bad batch')")
    command = "python -m torch.distributed.run --nproc-per-node 2 --master-port $MASTER_PORT train.py"
    result = lab.run("run", "--name", "r", "--type", "pytorch", "--", "sh", "-c", command)
    assert result.returncode == 1
    assert "ValueError: bad batch" in result.stderr.partition("the process failed: exit code 1")[2]


def test_two_runs_at_once_do_not_take_each_others_port(lab: Lab) -> None:
    lab.write("train.py", GRADIENTS)
    flags = ("--nproc", "2", "--type", "pytorch", "--", "python", "train.py")
    both = [lab.start("run", "--name", name, *flags) for name in ("a", "b")]
    for process in both:
        out, err = process.communicate(timeout=GUARD)
        assert process.returncode == 0, err
        assert out.count("[[3.0, 3.0, 3.0]]") == 2


@pytest.mark.parametrize("guilty", [0, 3])
def test_a_rank_that_closes_its_connections_before_it_ends_is_still_the_one_to_blame(lab: Lab, guilty: int) -> None:
    lab.write(
        "train.py",
        "import time, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "try:\n"
        "    for step in range(1000):\n"
        f"        if dist.get_rank() == {guilty} and step == 5: raise ValueError('bad batch')\n"
        "        dist.all_reduce(torch.ones(1)); time.sleep(0.01)\n"
        "finally:\n"
        "    dist.destroy_process_group()\n",
    )
    shape = ("--nodes", "2", "--nproc", "2", "--type", "pytorch", "--start-method", "spawn")
    result = lab.run("run", "--name", "r", *shape, "--", "python", "train.py")
    assert result.returncode == 1
    assert lab.show("r")["error"]["rank"] == guilty, result.stderr
    assert "ValueError: bad batch" in result.stderr


def test_a_file_of_the_users_that_is_named_like_a_module_does_not_hide_it_from_torchrun(lab: Lab) -> None:
    lab.write("queue.py", "raise SystemExit('hidden')")
    lab.write("src/train.py", "print('fine')")
    result = lab.run("run", "--name", "r", "--nproc", "2", "--type", "pytorch", "--", "python", "src/train.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("fine") == 2


def test_a_rank_whose_wrapper_is_killed_ends_and_the_run_with_it(lab: Lab) -> None:
    process = lab.start(*two_by_two(lab, ONE_FAILS.replace("== 1", "== 9"), "--grace", "1"))
    lab.wait_until_running("r", 4)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    rank = lab.status("r")[2]["pid"]
    wrapper = lab.parent(rank)
    assert wrapper is not None
    os.kill(wrapper, signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert "rank 2 on node-1 failed first: killed by SIGKILL" in err


def test_the_example_trains_and_its_four_ranks_agree_on_parameters_and_gradients(lab: Lab) -> None:
    example = Path(next(iter(jobs.__path__))) / "examples" / "pytorch-ddp" / "job.yml"
    short = "command=python train.py --epochs 2 --images 2000 --check"
    result = lab.run("run", str(example), "--name", "r", "--set", short)
    assert result.returncode == 0, result.stderr
    assert "check: all 4 ranks hold the same parameters and gradients" in result.stdout
    losses = [float(line.split("loss ")[1].split()[0]) for line in result.stdout.splitlines() if "loss" in line]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert (lab.run_folder("r") / "outputs" / "model.pt").stat().st_size > 10_000


def test_a_rank_under_torchrun_has_no_files_open_but_its_own(lab: Lab) -> None:
    program = "import os; print([fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')])"
    flags = ("--name", "r", "--nproc", "1", "--type", "pytorch")
    result = lab.run("run", *flags, "--", "python", "-c", program)
    assert result.returncode == 0, result.stderr
    assert lab.log("r", "70_driver_log.txt") == "['0', '1', '2']\n"
