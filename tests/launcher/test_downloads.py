"""`regiment metrics` and `regiment download` on a run whose ranks logged and wrote."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from regiment.jobs.metrics import MetricWriter

from .conftest import GUARD, Lab

# What `Run.log` does in a job; the job's Python is the tests' own.
PROGRAM = """
import os, pathlib
from regiment.jobs.metrics import MetricWriter
rank = int(os.environ["RANK"])
writer = MetricWriter(os.environ["REGIMENT_METRICS"], os.environ["AZUREML_PROCESS_NAME"])
for step in range(3):
    writer.log("loss", 10 * rank + step, step=step)
if rank == 0:
    writer.log("nothing", float("nan"))
    writer.log_row("t", {"x": 1, "y": "a"})
    writer.log_row("t", {"x": 2, "y": "b"})
for folder in ("outputs", "logs"):
    pathlib.Path(folder).mkdir(exist_ok=True)
    pathlib.Path(folder, f"{rank}.txt").write_text(folder)
"""


@pytest.fixture
def run(lab: Lab) -> Lab:
    """A lab with a run `r` of two nodes that has ended."""
    lab.write("src/train.py", PROGRAM)
    job = {"command": "python train.py", "code": "src", "resources": {"instance_count": 2}, "experiment_name": "e"}
    lab.write("job.yml", yaml.safe_dump(job))
    done = lab.run("run", "job.yml", "--name", "r", "-q")
    assert done.returncode == 0, done.stderr
    return lab


def test_metrics_of_all_ranks_are_one_record(run: Lab) -> None:
    found = json.loads(run.run("metrics", "r", "-o", "json").stdout)
    assert sorted(found["loss"]) == [0, 1, 2, 10, 11, 12]
    assert found["nothing"] == "NaN" and found["t"] == {"x": [1, 2], "y": ["a", "b"]}
    assert run.run("metrics", "r", "--query", "max(loss)", "-o", "tsv").stdout == "12\n"
    table = run.run("metrics", "r").stdout.splitlines()
    assert table[0].split() == ["METRIC", "VALUES", "LAST", "SMALLEST", "LARGEST", "STEP"]
    assert any(line.split()[:2] == ["loss", "6"] and line.split()[3:] == ["0", "12", "2"] for line in table)
    values = run.run("metrics", "r", "--name", "loss").stdout.splitlines()
    assert len(values) == 2 + 6 and {line.split()[2] for line in values[2:]} == {"rank_0", "rank_1"}
    rows = run.run("metrics", "r", "--name", "t").stdout.splitlines()
    assert rows[0].split()[-2:] == ["x", "y"] and rows[-1].split()[-2:] == ["2", "b"]
    missing = run.run("metrics", "r", "--name", "no")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "run r has no metric 'no'" in missing.stderr


def test_a_runs_files_are_copied_out_or_put_into_a_zip(run: Lab) -> None:
    def download(*flags: str) -> list[str]:
        done = run.run("download", "r", *flags)
        assert done.returncode == 0, done.stderr
        target = run.folder / done.stdout.strip()
        if target.suffix == ".zip":
            with zipfile.ZipFile(target) as archive:
                return sorted(archive.namelist())
        return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())

    outputs, logs = ["outputs/0.txt", "outputs/1.txt"], ["logs/0.txt", "logs/1.txt"]
    everything = download()
    assert (run.folder / "r" / "outputs" / "1.txt").read_text() == "outputs"
    assert {*outputs, *logs, "azureml-logs/node-1/70_driver_log_1.txt", "logs/azureml/coordinator.log"} < {*everything}
    assert download("--outputs", "--to", "o") == outputs
    assert download("--path", "outputs/1.txt", "--to", "one") == ["outputs/1.txt"]
    assert download("--path", "outputs/", "-p", "two") == outputs
    zipped = download("--logs", "--zip")
    assert (run.folder / "r.zip").exists() and {*logs} < {*zipped} and not {*outputs} & {*zipped}
    assert download("--all", "--zip", "--to", "x/all.zip") == everything
    listed = json.loads(run.run("download", "r", "--list", "--outputs", "-o", "json").stdout)
    assert listed == [{"name": "outputs/0.txt", "bytes": 7}, {"name": "outputs/1.txt", "bytes": 7}]
    missing = run.run("download", "r", "--path", "outputs/2.txt")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no such file or folder 'outputs/2.txt'" in missing.stderr
    assert "\r" not in run.run("download", "r").stderr


def test_a_terminal_sees_how_far_a_download_is(run: Lab) -> None:
    (run.run_folder("r") / "outputs" / "big").write_bytes(bytes(50_000_000))
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "regiment", "download", "r"],
        cwd=run.folder,
        env={**run.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    said = b""
    try:
        while block := os.read(control, 4096):
            said += block
    except OSError:
        pass  # So ends a terminal whose last writer has gone.
    out, _ = process.communicate(timeout=GUARD)
    os.close(control)
    assert (process.returncode, out) == (0, "r\n")
    assert b"MB" in said and "━".encode() in said
    assert (run.folder / "r" / "outputs" / "big").stat().st_size == 50_000_000


def test_metrics_of_a_run_are_seen_while_it_runs(lab: Lab) -> None:
    assert lab.run("run", "--detach", "--name", "r", "--", "sleep", "3600").returncode == 0
    writer = MetricWriter(Path(lab.run_folder("r"), "metrics"))
    writer.log("loss", 1.5)
    assert json.loads(lab.run("metrics", "r", "-o", "json").stdout) == {"loss": 1.5}
    writer.close()
    assert lab.run("cancel", "r", "--force").returncode == 0
    assert lab.run("wait", "r").returncode == 4
