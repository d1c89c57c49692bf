"""Wrong arguments and wrong files: exit status 2, a sentence with the next step, never a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import regiment
from regiment.launcher.cli.main import DEPENDENCIES
from regiment.launcher.cli.parser import join_flags

from .conftest import Lab

BAD_JOB = """\
comand: python train.py
experiment_name: ../x
resources: {instance_count: 0}
distribution: {type: pytorch, process_count_per_instance: two}
code: nowhere
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "name a job file, or give a command"),
        (["run", "--"], "name a job file, or give a command"),
        (["run", "nowhere.yml"], "nowhere.yml: cannot be read"),
        (["run", "job.yml", "--", "true"], "not both"),
        (["run", "--nodes", "0", "--", "true"], "0 is below 1"),
        (["run", "--nodes", "two", "--", "true"], "expected a number of nodes, or MIN:MAX, found 'two'"),
        (["run", "--nodes", "1:x", "--", "true"], "expected a number of nodes, or MIN:MAX, found 'x'"),
        (["run", "--nproc", "x", "--", "true"], "--nproc-per-node: expected a number of processes, auto or gpu, found"),
        (["run", "--prefix-ranks", "0,a", "--", "true"], "expected ranks with commas between them, such as 0,3, found"),
        (["run", "--workers", "x", "--", "true"], "--workers: expected a whole number, 1 or more, found 'x'"),
        (["run", "--interactive", "x", "--", "true"], "--interactive: expected a whole number, 0 or more, found 'x'"),
        (["run", "--timeout", "0", "--", "true"], "--timeout: expected a time limit above 0 seconds"),
        (["run", "--grace", "soon", "--", "true"], "--grace: expected a number of seconds, 0 or more, found 'soon'"),
        (["run", "--mpirun-arg"], "--mpirun-arg: expected one argument"),
        (["run", "--nproc", "2", "--", "true"], "add --type pytorch"),
        (["run", "--nproc", "gpu", "--type", "pytorch", "--", "true"], "no GPU"),
        (["run", "--name", "../x", "--", "true"], "--name: '../x' cannot be a name"),
        (["run", "--experiment", "a/b", "--", "true"], "--experiment: 'a/b' cannot be a name"),
        (["run", "--env", "NOT_THERE", "--", "true"], "no such variable"),
        (["run", "--env", "=x", "--", "true"], "NAME=VALUE"),
        (["run", "--set", "a=b", "--", "true"], "--set changes keys of a job file"),
        (["run", "--code", "nowhere", "--", "true"], "no such folder"),
        (["run", "--compute", "gpu-cluster", "--", "true"], "gpu-cluster"),
        (["run", "--torchrun-arg=--nnodes=3", "--type", "pytorch", "--nproc", "1", "--", "true"], "--nnodes"),
        (["run", "--timeout", "nan", "--", "true"], "number of seconds"),
        (["run", "--workspace", "/proc/nowhere", "--", "true"], "--workspace"),
        (["run", "--type", "tensorflow", "--workers", "0", "--", "true"], "--workers: 0 is below 1"),
        (["run", "--type", "tensorflow", "--workers", "-1", "--", "true"], "--workers: -1 is below 1"),
        (["run", "--type", "tensorflow", "--parameter-servers", "-1", "--", "true"], "--parameter-servers: -1 is neg"),
        (["run", "--type", "tensorflow", "--stop-when", "never", "--", "true"], "--stop-when: invalid choice: 'never'"),
        (["run", "--type", "tensorflow", "--nproc", "2", "--", "true"], "this job has type tensorflow; use --workers"),
        (
            ["run", "--type", "pytorch", "--chief", "--", "true"],
            "--chief: expected only with type tensorflow; this job",
        ),
        (["run", "--evaluator", "--", "true"], "this job has no distribution; add --type tensorflow"),
        (["run", "--type", "mpi", "--workers", "2", "--", "true"], "--workers: expected only with type tensorflow"),
        (
            ["run", "--stop-when", "all", "--", "true"],
            "--stop-when: expected only with type tensorflow; this job has no",
        ),
        (
            ["run", "--type", "tensorflow", "--nodes", "4", "--workers", "2", "--parameter-servers", "1", "--", "true"],
            "found 3 tasks (2 workers, 1 parameter server) for 4 nodes; ask for fewer nodes, or for more workers",
        ),
        (["run", "--type", "tensorflow", "--workers", "100001", "--", "true"], "at most 100,000 processes in all"),
        (
            ["run", "--type", "mpi", "--start-method", "torchrun", "--", "true"],
            "--start-method: expected only with type",
        ),
        (["run", "--type", "mpi", "--start-method", "spawn", "--", "true"], "pytorch; this job has type mpi"),
        (
            ["run", "--type", "mpi", "--torchrun-arg=--tee=3", "--", "true"],
            "--torchrun-arg: expected only with type py",
        ),
        (["run", "--type", "mpi", "--mpirun-arg=-np", "--", "true"], "--mpirun-arg: Regiment sets -np itself; remove"),
        (["run", "--mpirun-arg=--verbose", "--", "true"], "--mpirun-arg: expected only with type mpi"),
        (["show", "r", "--attempt", "0"], "--attempt: expected only with --timeline or --trace"),
        (["show", "r", "--trace", "t", "--diff", "s"], "--trace: a trace is of one run"),
        (["run", "--type", "pytorch", "--preload", "numpy", "--", "true"], "--preload: expected only with start_meth"),
        (
            ["run", "--type", "pytorch", "--start-method", "fork", "--preload", "a-b", "--", "true"],
            "--preload: expected the name of a module",
        ),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_started(lab: Lab, arguments: list[str], said: str) -> None:
    result = lab.run(*arguments, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert not (lab.folder / ".regiment" / "runs").exists() or not list((lab.folder / ".regiment" / "runs").iterdir())


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_every_fault_of_a_job_file_is_told_at_once_with_its_line(lab: Lab, command: str) -> None:
    lab.write("job.yml", BAD_JOB)
    result = lab.run(command, "job.yml")
    assert result.returncode == 2
    places = [line.split(": ")[0:2] for line in result.stderr.splitlines()]
    assert places == [
        ["job.yml:1", "comand"],
        ["job.yml:1", "command"],
        ["job.yml:2", "experiment_name"],
        ["job.yml:3", "resources.instance_count"],
        ["job.yml:4", "distribution.process_count_per_instance"],
        ["job.yml:5", "code"],
    ]


@pytest.mark.parametrize(
    ("distribution", "more", "fault"),
    [
        ("{type: tensorflow, worker_count: 0}", "", "2: distribution.worker_count: expected at least 1, found 0"),
        ("{type: tensorflow, worker_count: -2}", "", "2: distribution.worker_count: expected at least 1, found -2"),
        ("{type: tensorflow, worker_count: two}", "", "2: distribution.worker_count: expected a whole number"),
        (
            "{type: tensorflow, parameter_server_count: -1}",
            "",
            "2: distribution.parameter_server_count: expected 0 or more, found -1",
        ),
        (
            "{type: tensorflow, worker_count: 0, parameter_server_count: 2}",
            "",
            "2: distribution.worker_count: expected at least 1, found 0",
        ),
        (
            "{type: tensorflow, worker_count: 1, parameter_server_count: 1}",
            "resources: {instance_count: 4}",
            "2: distribution.worker_count: expected at least one task a node, found 2 tasks (1 worker, 1 param",
        ),
        (
            "{type: tensorflow, worker_count: 1}",
            "resources: {instance_count: 4}\nregiment: {chief: true, evaluator: true}",
            "2: distribution.worker_count: expected at least one task a node, found 3 tasks (1 chief, 1 worker,",
        ),
        (
            "{type: tensorflow, process_count_per_instance: 2}",
            "",
            "2: distribution.process_count_per_instance: unknown key",
        ),
        ("{type: pytorch}", "regiment: {chief: true}", "3: regiment.chief: expected only with type tensorflow; this j"),
        ("{type: mpi}", "regiment: {evaluator: true}", "3: regiment.evaluator: expected only with type tensorflow; th"),
        (
            None,
            "regiment: {chief: true}",
            "3: regiment.chief: expected only with type tensorflow; this job has no distr",
        ),
        ("{type: pytorch}", "regiment: {stop_when: all}", "3: regiment.stop_when: expected only with type tensorflow;"),
        ("{type: tensorflow}", "regiment: {stop_when: never}", "3: regiment.stop_when: unknown value 'never'"),
        ("{type: tensorflow}", "regiment: {chief: 2}", "3: regiment.chief: expected true or false"),
        (
            "{type: tensorflow}",
            "regiment: {nodes: '1:4'}",
            "3: regiment.nodes: elastic nodes are torchrun's: they need",
        ),
    ],
)
def test_what_does_not_fit_a_tensorflow_job_is_named_with_line_and_key(
    lab: Lab, distribution: str | None, more: str, fault: str
) -> None:
    line = "experiment_name: e" if distribution is None else f"distribution: {distribution}"
    lab.write("job.yml", f"command: echo hi\n{line}\n{more}\n")
    for command in ("validate", "run"):
        result = lab.run(command, "job.yml")
        assert result.returncode == 2
        assert result.stderr.startswith(f"job.yml:{fault}"), result.stderr
        assert result.stderr.count("\n") == 1


def test_an_option_that_a_flag_makes_wrong_is_named_where_it_stands(lab: Lab) -> None:
    lab.write("job.yml", "command: echo\ndistribution: {type: pytorch}\nregiment:\n  start_method: spawn\n")
    fault = "regiment.start_method: expected only with type pytorch; this job has type mpi\n"
    assert lab.run("plan", "job.yml", "--type", "mpi").stderr == f"job.yml:4: {fault}"


@pytest.mark.parametrize("flag", ["--torchrun-arg", "--mpirun-arg"])
def test_a_flag_for_another_program_may_be_a_word_of_its_own(flag: str) -> None:
    assert join_flags(["run", flag, "--bind-to", f"{flag}=none", "--name", "r"]) == [
        *("run", f"{flag}=--bind-to", f"{flag}=none", "--name", "r")
    ]
    assert join_flags(["run", flag]) == ["run", flag]


def test_a_plan_takes_the_flags_of_a_run(lab: Lab) -> None:
    result = lab.run("plan", "--interactive", "0", "--quiet", "--pass-exit-code", "--detach", "--", "true")
    assert (result.returncode, result.stderr) == (0, "")


def test_flags_go_over_the_tasks_of_a_tensorflow_job(lab: Lab) -> None:
    lab.write("job.yml", "command: echo hi\ndistribution: {type: tensorflow, parameter_server_count: 2}\n")
    query = ("--query", "nodes[].processes[].name", "-o", "json")
    plan = lab.run("plan", "job.yml", "--workers", "2", "--parameter-servers", "0", "--chief", *query)
    assert plan.stdout.split() == ["[", '"chief_0",', '"worker_0",', '"worker_1"', "]"]


def test_a_plain_script_that_is_not_in_the_snapshot_is_found_before_anything_runs(lab: Lab) -> None:
    lab.write("src/other.py", "")
    lab.write("job.yml", "command: python train.py --lr 0.1\ncode: src\n")
    result = lab.run("run", "job.yml")
    assert result.returncode == 2
    assert result.stderr.startswith("job.yml:1: command: ") and "train.py" in result.stderr


def test_a_plan_starts_nothing_and_makes_no_workspace(lab: Lab) -> None:
    result = lab.run("plan", "--nodes", "2", "--env", "MY_TOKEN=hidden", "--", "python", "x.py", RANK="3")
    assert result.returncode == 0
    assert "rank 1" in result.stdout and "NODE_RANK=1" in result.stdout
    assert "hidden" not in result.stdout
    assert "but for: RANK" in result.stdout
    assert list(lab.folder.iterdir()) == []


def test_a_valid_file_is_called_valid(lab: Lab) -> None:
    lab.write("job.yml", "command: echo hi\n")
    result = lab.run("validate", "job.yml")
    assert (result.returncode, result.stdout) == (0, "job.yml: valid\n")


def test_the_callers_gpus_are_shared_among_the_nodes(lab: Lab) -> None:
    command = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES $GPU_PER_NODE_COUNT")
    result = lab.run("run", "--name", "r", "--nodes", "2", "--", *command, CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert sorted(result.stdout.splitlines()) == ["[node-0 rank 0] 0,1 2", "[node-1 rank 1] 2,3 2"]


@pytest.mark.parametrize(
    ("arguments", "missing"), [(["list", "--query", "[0]"], "jmespath"), (["plan", "job.yml"], "PyYAML")]
)
def test_a_missing_dependency_is_no_fault_of_ours(lab: Lab, arguments: list[str], missing: str) -> None:
    lab.write("job.yml", "command: true\n")
    (lab.folder / "only").mkdir()
    (lab.folder / "only" / "regiment").symlink_to(Path(regiment.__path__[0]))
    result = subprocess.run(
        [sys.executable, "-S", "-m", "regiment", *arguments],  # -S: no installed package is found
        cwd=lab.folder,
        env={**lab.environ, "PYTHONPATH": str(lab.folder / "only")},
        capture_output=True,
        text=True,
        check=False,
    )
    what = f"Regiment's dependency '{missing}' is not installed in {sys.executable}; reinstall regiment there"
    assert (result.returncode, result.stderr) == (2, f"regiment: {what}\n")


def test_all_dependencies_are_known_by_their_modules() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    declared = project.partition("\ndependencies = [\n")[2].partition("\n]")[0]
    assert sorted(re.findall(r'^ *"([A-Za-z]+)', declared, re.MULTILINE)) == sorted(DEPENDENCIES.values())


def test_a_container_is_refused_where_nothing_would_make_it(lab: Lab) -> None:
    lab.write("job.yml", "command: echo\nregiment: {container: {runtime: pyxis, image: a}}\n")
    done = lab.run("run", "job.yml")
    assert done.returncode == 2
    assert "regiment.container: only nodes of Slurm's are put into a container" in done.stderr
