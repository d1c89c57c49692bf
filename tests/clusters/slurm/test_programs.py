"""Programs and jobs that submit runs to a Slurm cluster."""

from __future__ import annotations

import pytest

from tests.launcher.conftest import GUARD

from .conftest import SlurmLab

pytestmark = pytest.mark.slurm

PROGRAM = """
from regiment import Experiment, ScriptRunConfig, Workspace

experiment = Experiment(Workspace.from_config(), "e")
run = experiment.submit(ScriptRunConfig(source_directory="code", script="train.py", compute_target="gpu"))
run.wait_for_completion(show_output=True)
print("and it is", run.get_status())
later = experiment.submit(ScriptRunConfig(source_directory="code", script="train.py", compute_target="later"))
print("the other is", later.get_status())
later.cancel()
print("and then", later.wait_for_completion(raise_on_error=False)["status"])
"""


def prepared(lab: SlurmLab) -> SlurmLab:
    lab.write("code/train.py", "import socket\nprint('trained on', socket.gethostname())\n")
    target = ("--type", "slurm", "--partition", "main")
    assert lab.run("compute", "add", "gpu", *target).returncode == 0
    assert lab.run("compute", "add", "later", *target, "--sbatch", "begin=now+1hour").returncode == 0
    return lab


def test_a_program_submits_waits_and_cancels(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab)
    out = lab.script(PROGRAM).stdout
    assert "trained on n1\n" in out
    assert "and it is Completed\nthe other is Queued\nand then Canceled\n" in out
    lab.wait_until(lambda: not lab.cluster.jobs())


def test_a_job_on_slurm_submits_another_and_shows_it(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab)
    inner = "regiment run --name inner --compute gpu -- sh -c 'echo $AZUREML_RUN_ID on $(hostname)'"
    done = lab.start("run", "--name", "outer", "--compute", "gpu", "--", "sh", "-c", f"{inner}; echo ended with $?")
    out, err = done.communicate(timeout=GUARD)
    assert done.returncode == 0, out + err
    assert "inner on n" in out
    assert "ended with 0\n" in out
    records = [lab.show(name) for name in ("outer", "inner")]
    assert records[1]["parentRunId"] == "outer"
    assert len({record["scheduler"]["jobId"] for record in records}) == 2
