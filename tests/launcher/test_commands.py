"""Whatever the command is, it runs as it would by hand: scripts, modules, shell lines, binaries, other launchers."""

from __future__ import annotations

import pytest

from .conftest import Lab

JOB = """\
command: COMMAND
code: src
resources: {instance_count: 2}
distribution: {type: pytorch, process_count_per_instance: 2}
"""
OWN_LAUNCHER = """\
command: COMMAND
code: src
resources: {instance_count: 2}
distribution: {type: pytorch}
"""
"""Without a process count the command runs once a node."""

TORCHRUN = """\
>-
  torchrun --nnodes $REGIMENT_NODE_COUNT --node-rank $NODE_RANK
  --master-addr $MASTER_ADDR --master-port $MASTER_PORT --nproc-per-node 2 train.py --lr 0.1
"""
# --cpu would make it start one process only; the script says that it wants none of the GPUs.
ACCELERATE = """\
>-
  accelerate launch --multi_gpu --num_machines $REGIMENT_NODE_COUNT --num_processes 4 --machine_rank $NODE_RANK
  --main_process_ip $MASTER_ADDR --main_process_port $MASTER_PORT --mixed_precision no --dynamo_backend no train.py
"""

SUM = """\
import sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
sys.stdout.write(f"sum {total.item()} of {dist.get_world_size()} {sys.argv[1:]}\\n")
dist.destroy_process_group()
"""
ACCELERATED = """\
import sys, torch
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
total = accelerator.reduce(torch.tensor([accelerator.process_index + 1.0]))
sys.stdout.write(f"sum {total.item()} of {accelerator.num_processes}\\n")
accelerator.end_training()
"""


def logs(lab: Lab, count: int = 4) -> list[str]:
    """Give the logs of a run's ranks; half of them on each of two nodes."""
    return [lab.log("r", f"node-{rank * 2 // count}/70_driver_log_{rank}.txt") for rank in range(count)]


def run(lab: Lab, job: str, command: str) -> None:
    lab.write("job.yml", job.replace("COMMAND\n", f"{command.rstrip()}\n"))
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr


@pytest.mark.torch
@pytest.mark.slow
def test_a_script(lab: Lab) -> None:
    lab.write("src/train.py", SUM)
    run(lab, JOB, "python train.py --lr 0.1")
    assert logs(lab) == ["sum 10.0 of 4 ['--lr', '0.1']\n"] * 4


@pytest.mark.torch
@pytest.mark.slow
def test_a_module_of_the_snapshot(lab: Lab) -> None:
    lab.write("src/pkg/__init__.py", "RATE = 0.1\n")
    lab.write("src/pkg/train.py", "import os\nfrom . import RATE\nprint(__package__, RATE, os.environ['RANK'])\n")
    run(lab, JOB, "python -m pkg.train")
    assert logs(lab) == [f"pkg 0.1 {rank}\n" for rank in range(4)]


@pytest.mark.torch
@pytest.mark.slow
def test_a_shell_line(lab: Lab) -> None:
    lab.write("src/names", "one\ntwo\n")
    run(lab, JOB, "test -f names && sed -n $((LOCAL_RANK + 1))p names | tr a-z A-Z; echo \"$RANK 'of' $WORLD_SIZE\"")
    words = ["ONE", "TWO"] * 2
    assert logs(lab) == [f"{word}\n{rank} 'of' 4\n" for rank, word in enumerate(words)]


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("command", ["./work here", "/usr/bin/env WHAT=here sh work $WHAT here"])
def test_a_program_that_is_not_python(lab: Lab, command: str) -> None:
    lab.write("src/work", '#!/bin/sh\necho "$1 $RANK"\n').chmod(0o755)
    run(lab, JOB, command)
    assert logs(lab) == [f"here {rank}\n" for rank in range(4)]


@pytest.mark.torch
@pytest.mark.slow
def test_a_torchrun_of_ones_own_on_each_node(lab: Lab) -> None:
    lab.write("src/train.py", SUM)
    run(lab, OWN_LAUNCHER, TORCHRUN)
    lines = [line for log in logs(lab, 2) for line in log.splitlines() if line.startswith("sum")]
    assert lines == ["sum 10.0 of 4 ['--lr', '0.1']"] * 4
    assert [row["status"] for row in lab.status("r")] == ["Completed"] * 2


@pytest.mark.torch
@pytest.mark.slow
def test_accelerate_on_each_node(lab: Lab) -> None:
    lab.write("src/train.py", ACCELERATED)
    run(lab, OWN_LAUNCHER, ACCELERATE)
    lines = [line for log in logs(lab, 2) for line in log.splitlines() if line.startswith("sum")]
    assert lines == ["sum 10.0 of 4"] * 4
