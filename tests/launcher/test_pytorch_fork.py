"""Ranks that are forked after `import torch`: as good as those that import it themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Lab
from .node.test_forks import both_ways, comparable, script

pytestmark = [pytest.mark.torch, pytest.mark.slow]

FORK = ("--type", "pytorch", "--start-method", "fork")
TRAINING = """\
import os, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(3, 1, bias=False))
model(torch.full((1, 3), float(dist.get_rank() + 1))).sum().backward()
print("sum of gradients", (model.module.weight.grad * dist.get_world_size()).tolist(), flush=True)
dist.destroy_process_group()
"""
CALCULATING = """\
import os, sys, torch, numpy
def threads():
    return len(os.listdir("/proc/self/task"))
class Squares(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.tensor(float(i * i))
if __name__ == "__main__":
    print("before", torch.get_num_threads(), torch.get_num_interop_threads(), threads(), torch.cuda.is_initialized())
    numpy.ones((300, 300)) @ numpy.ones((300, 300))
    print("with numpy's", threads())
    x = torch.ones(1000, 1000, requires_grad=True)
    (x @ x).sigmoid().sum().backward()
    print("with torch's", threads(), float(x.grad.sum()))
    for method in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(Squares(), 4, num_workers=2, multiprocessing_context=method)
        print(method, [batch.tolist() for batch in loader])
"""


def test_four_forked_ranks_on_two_nodes_agree_on_the_summed_gradient(lab: Lab) -> None:
    lab.write("train.py", TRAINING)
    result = lab.run("run", "--name", "r", "--nodes", "2", "--nproc", "2", *FORK, "--", "python", "train.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("[[10.0, 10.0, 10.0]]") == 4
    assert lab.events("r", "note") == []


def test_a_forked_rank_calculates_loads_and_ends_as_one_that_was_started(tmp_path: Path) -> None:
    case = script(CALCULATING, preload=["torch"], ranks=2, environ={"OMP_NUM_THREADS": "2"})
    outcome = both_ways(tmp_path, {"calculating": case})["calculating"]
    assert outcome["fork"]["notes"] == []
    assert outcome["fork"]["ends"] == [[0, None]] * 2 == outcome["spawn"]["ends"]
    logs = {way: [comparable(log) for log in outcome[way]["logs"]] for way in outcome}
    assert logs["fork"] == logs["spawn"]


def test_chance_is_each_ranks_own_in_torch_and_numpy_too(tmp_path: Path) -> None:
    program = "import random, numpy, torch; print(torch.rand(1).item(), numpy.random.rand(), random.random())"
    case = script(program, preload=["torch"], ranks=3)
    outcome = both_ways(tmp_path, {"chance": case})["chance"]["fork"]
    assert outcome["notes"] == []
    assert len({word for log in outcome["logs"] for word in log.split()}) == 9
