"""The loader: what a job file means, and what a user reads when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.checks import check_mpirun_args, check_torchrun_args, default_experiment_name
from regiment.jobs.errors import JobFileError, UserError
from regiment.jobs.loader import LoadedJob, load_job
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.program import plain_script
from regiment.jobs.spec import Environment, JobSpec, Options, Plain, PyTorch, ShellCommand, StartMethod
from regiment.jobs.workspace import is_name
from tests.timing import fastest

FULL = """\
$schema: https://example.org/commandJob.schema.json
type: Command
name: run-1
display_name: A run
experiment_name: digits
description: about it
tags: {lr: 0.10, empty: null}
properties: {team: vision}
command: >-
  python train.py --epochs 2
code: src
environment: azureml:torch:1
environment_variables:
  FLAG: true
  ONE: 1
  RATE: 0.10
  TEXT: "on"
compute: local
resources:
  instance_count: 2
  shm_size: 4g
distribution:
  type: PyTorch
  process_count_per_instance: 4
limits:
  timeout: 3600
regiment:
  start_method: torchrun
  torchrun_args: [--max-restarts, 3, --tee=3]
  grace: 2.5
status: Completed
creation_context: {x: 1}
"""
RANKS = "distribution: {type: pytorch, process_count_per_instance: 1}"
MPI = "distribution: {type: mpi}"


def load(folder: Path, text: str, *overrides: str, files: Mapping[str, str] | None = None) -> LoadedJob:
    """Write a job file, with other files beside it, and load it."""
    for name, content in {"src/train.py": "", **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "job.yml").write_text(text)
    return load_job(Path("job.yml"), overrides, folder)


def faults(folder: Path, text: str, *overrides: str, files: Mapping[str, str] | None = None) -> list[str]:
    """Load a job file that is wrong and give its faults as a user sees them."""
    with pytest.raises(JobFileError) as caught:
        load(folder, text, *overrides, files=files)
    return str(caught.value).splitlines()


def test_every_field_arrives_in_the_spec(tmp_path: Path) -> None:
    job = load(tmp_path, FULL)
    assert job.spec == JobSpec(
        command=ShellCommand("python train.py --epochs 2"),
        experiment_name="digits",
        name="run-1",
        display_name="A run",
        description="about it",
        tags={"lr": "0.10", "empty": None},
        properties={"team": "vision"},
        code=str(tmp_path / "src"),
        environment=Environment(name="azureml:torch:1"),
        environment_variables={"FLAG": "true", "ONE": "1", "RATE": "0.10", "TEXT": "on"},
        compute="local",
        instance_count=2,
        distribution=PyTorch(4),
        timeout=3600.0,
        options=Options(StartMethod.TORCHRUN, ("--max-restarts", "3", "--tee=3"), 2.5),
    )
    assert job.notes == ("job.yml:21: accepted, but not used here: resources.shm_size",)
    assert job.text == FULL
    assert from_plain(JobSpec, to_plain(job.spec)) == job.spec


def test_the_smallest_job_has_the_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "My Project!"
    folder.mkdir()
    job = load(folder, "command: echo hi\n")
    assert job.spec == JobSpec(ShellCommand("echo hi"), "MyProject-", working_folder=str(folder))
    assert job.spec.distribution == Plain()
    assert job.notes == ()


def test_the_code_folder_starts_from_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "jobs" / "job.yml").write_text("command: echo\ncode: ../src\n")
    assert load_job(Path("jobs/job.yml"), (), tmp_path).spec.code == str(tmp_path / "src")
    assert load_job(tmp_path / "jobs/job.yml", (), Path("/")).spec.code == str(tmp_path / "src")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("distribution: {type: pytorch, process_count_per_instnce: 2}", "did you mean 'process_count_per_instance'?"),
        ("comand: x", "comand: unknown key; did you mean 'command'?"),
        ("zzz: x", "zzz: unknown key; known here: code, command,"),
        ("limits: {zzz: 1}", "limits.zzz: unknown key; known here: timeout"),
        ("command: 12", "command: expected text, found the number 12; put it in quotes"),
        ("command: [a]", "command: expected text, found a list"),
        ("command:", "command: expected text, found nothing"),
        ("command: ' '", "command: the command is empty"),
        (
            "command: 'echo ${{inputs.x}}'",
            "command: '${{inputs.x}}' stands for nothing, for the job has no inputs; add 'inputs:' with 'x'",
        ),
        ("name: ../x", "name: '../x' cannot be a name here; a name is 1 to 128 letters"),
        ("experiment_name: ../../x", "experiment_name: '../../x' cannot be a name here"),
        ("resources: {instance_count: 0}", "resources.instance_count: expected at least 1, found 0"),
        ("resources: {instance_count: 100001}", "resources.instance_count: expected at most 100,000"),
        ("resources: {instance_count: '2'}", "expected a whole number, found the text '2'; remove the quotes"),
        ("resources: {instance_count: true}", "expected a whole number, found true"),
        ("resources: {instance_count: 2.0}", "expected a whole number, found the number 2.0"),
        ("resources: {instance_count: 1:2}", 'found 1:2; for elastic nodes write regiment: {nodes: "1:2"}'),
        ("resources: {instance_count: '1:2'}", 'found 1:2; for elastic nodes write regiment: {nodes: "1:2"}'),
        ("compute: {target: local, instance_count: 2:4}", 'for elastic nodes write regiment: {nodes: "2:4"}'),
        (
            "distribution: {type: mpi, process_count_per_instance: 1:30}",
            "process_count_per_instance: expected a whole number, found 1:30, which is 90 to YAML; write 90 if",
        ),
        ("resources: 2", "resources: expected a mapping, found the number 2"),
        ("distribution: pytorch", "distribution: expected a mapping, found the text 'pytorch'"),
        ("distribution: {process_count_per_instance: 1}", "distribution: 'type' is missing"),
        ("distribution: {type: torch}", "distribution.type: unknown type 'torch'; did you mean 'pytorch'?"),
        ("limits: {timeout: 0}", "limits.timeout: expected a time limit above 0 seconds, found 0"),
        ("limits: {timeout: 1.0e+300}", "limits.timeout: expected at most 1,000,000,000 seconds"),
        ("regiment: {grace: -1}", "regiment.grace: expected 0 seconds or more, found -1"),
        ("regiment: {start_method: forkserver}", "regiment.start_method: unknown value 'forkserver'; "),
        (f"regiment: {{preload: [torch]}}\n{RANKS}", "regiment.preload: expected only with start_method fork"),
        (
            f"regiment: {{start_method: fork, preload: ['a b']}}\n{RANKS}",
            "regiment.preload[0]: expected the name of a module, such as torch or numpy.linalg, found 'a b'",
        ),
        (
            f"regiment: {{start_method: fork, torchrun_args: [--tee=3]}}\n{RANKS}",
            "regiment.torchrun_args: expected only with start_method torchrun; this job has fork",
        ),
        ("regiment: {torchrun_args: --tee 3}", "regiment.torchrun_args: expected a list, found the text"),
        (f"regiment: {{torchrun_args: [--tee, 3, train.py]}}\n{RANKS}", "regiment.torchrun_args[2]: expected a flag"),
        (
            f"regiment: {{torchrun_args: [--tee, null]}}\n{RANKS}",
            "regiment.torchrun_args[1]: expected a value, found",
        ),
        (f"regiment: {{mpirun_args: [-np, 4]}}\n{MPI}", "regiment.mpirun_args[0]: Regiment sets -np itself; remove it"),
        (f"regiment: {{mpirun_args: [python]}}\n{MPI}", "regiment.mpirun_args[0]: expected a flag of mpirun, found 'p"),
        (f"regiment: {{start_method: spawn}}\n{MPI}", "regiment.start_method: expected only with type pytorch; this j"),
        (f"regiment: {{start_method: torchrun}}\n{MPI}", "regiment.start_method: expected only with type pytorch"),
        ("regiment: {start_method: spawn}\ndistribution: {type: tensorflow}", "this job has type tensorflow"),
        (f"regiment: {{torchrun_args: [--tee=3]}}\n{MPI}", "regiment.torchrun_args: expected only with type pytorch"),
        (
            "regiment: {torchrun_args: [--tee=3]}",
            "regiment.torchrun_args: expected only with type pytorch; this job",
        ),
        (
            f"regiment: {{start_method: spawn, torchrun_args: [--tee=3]}}\n{RANKS}",
            "regiment.torchrun_args: expected only with start_method torchrun; this job has spawn",
        ),
        (
            "regiment: {torchrun_args: [--tee=3]}\ndistribution: {type: pytorch}",
            "regiment.torchrun_args: without process_count_per_instance (--nproc) the command itself starts",
        ),
        ("environment_variables: {A: null}", "environment_variables.A: expected a value, found nothing"),
        ("environment_variables: {A: [1]}", "environment_variables.A: expected a single value, found a list"),
        ("environment_variables: {'A=B': 1}", "environment_variables.A=B: this cannot be the name"),
        ("environment: 3", "environment: expected text, found the number 3; put it in quotes"),
        ("tags: [a]", "tags: expected a mapping, found a list"),
        ("code: nowhere", "code: there is no file or folder 'nowhere' in "),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line(tmp_path: Path, text: str, wanted: str) -> None:
    if not text.startswith("command"):
        text += "\ncommand: echo"
    (fault,) = faults(tmp_path, f"# a comment\n{text}\n")
    assert fault.startswith("job.yml:2: ")
    assert wanted in fault


def test_a_missing_command_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, "code: src\n") == ["job.yml:1: command: missing; add a 'command:'"]


def test_another_type_of_job_is_one_sentence(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "jobs: {}\ntype: Pipeline\nsettings: 1\n")
    assert fault == "job.yml:2: type: 'pipeline' is a pipeline; Regiment runs jobs of the types command and sweep"


def test_all_faults_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "nam: x\nresources:\n  instance_count: 0\n  instance_count: -1\nlimits: {timeout: .nan}\ncode: gone\n"
    found = faults(tmp_path, text, "zz=1")
    assert [fault.split(": ")[:2] for fault in found] == [
        ["job.yml:1", "nam"],
        ["job.yml:1", "command"],
        ["job.yml:4", "resources.instance_count"],
        ["job.yml:4", "resources.instance_count"],
        ["job.yml:5", "limits.timeout"],
        ["job.yml:6", "code"],
        ["--set zz=1", "zz"],
    ]


def test_too_many_processes_in_all_are_a_fault(tmp_path: Path) -> None:
    text = "command: x\nresources: {instance_count: 1000}\ndistribution:\n  type: pytorch\n"
    (fault,) = faults(tmp_path, text + "  process_count_per_instance: 101\n")
    assert fault.startswith("job.yml:3: distribution: expected at most 100,000 processes in all; ")


def test_the_command_s_script_must_be_in_the_code_folder(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "code: src\ncommand: python3 -u trian.py --lr 1\n")
    assert fault.startswith(f"job.yml:2: command: there is no 'trian.py' in {tmp_path / 'src'}")
    (fault,) = faults(tmp_path, "code: src\ncommand: python ../top.py\n", files={"top.py": ""})
    assert "outside the code folder" in fault
    (fault,) = faults(tmp_path, "code: src\ncommand: python train.py\n", files={"src/.amlignore": "*.py\n"})
    assert "left out of the snapshot" in fault
    assert ".amlignore" in fault


def test_without_code_the_script_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    assert load(tmp_path, "command: python src/train.py\n").spec.code is None
    assert load(tmp_path / "jobs", "command: python ../src/train.py\n").spec.code is None
    (fault,) = faults(tmp_path, "command: python train.py\n")
    assert "there is no 'train.py'" in fault


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python train.py --lr 1", "train.py"),
        ("python3.11 -u -B 'my train.py' && echo", "my train.py"),
        ("python train.py>log", "train.py"),
        ("python \\\n  train.py", "train.py"),
        ("cd x && python train.py", None),
        ("A=1 python train.py", None),
        ("python -m train", None),
        ("python $X/train.py", None),
        ("python < train.py", None),
        ("torchrun train.py", None),
        ("python 'train.py", None),
        ("python", None),
        ("", None),
    ],
)
def test_only_a_plain_command_names_its_script(command: str, script: str | None) -> None:
    found = plain_script(command)
    assert (None if found is None else str(found)) == script


def test_overrides_change_the_job_before_it_is_read(tmp_path: Path) -> None:
    overrides = ("resources.instance_count=3", "tags.a.b=1", "tags={x: 0.50}", "environment_variables.LR=0.10")
    spec = load(tmp_path, "command: x\ntags:\n", *overrides, "command='python src/train.py'").spec
    assert spec.instance_count == 3
    assert spec.tags == {"x": "0.50"}
    assert spec.environment_variables == {"LR": "0.10"}
    assert spec.command == ShellCommand("python src/train.py")


def test_an_override_replaces_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "command: x\nlimits: {timeout: -1}\n", "limits.timeout=5").spec.timeout == 5.0


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("environment.image=x", "'environment' is the single value 'torch:1' on line 2, with nothing below it"),
        ("regiment.torchrun_args.0=x", "'regiment.torchrun_args' is a list"),
        ("nonsense", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("a..b=1", "expected KEY=VALUE"),
        ("reources.instance_count=1", "reources: unknown key; did you mean 'resources'?"),
        ("resources.instance_count=x", "resources.instance_count: expected a whole number, found the text 'x'"),
        ("tags=[a", "tags: the '[' on line 1 is not closed"),
        ("description=a: b", "description: write a list or a mapping in brackets"),
        ("name=\udcff", "name: the character '\\udcff' is not allowed"),
        ("a" + ".a" * 100_000 + "=1", "the key has more than 64 parts"),
    ],
)
def test_a_wrong_override_is_named_without_a_line(tmp_path: Path, override: str, wanted: str) -> None:
    text = f"command: x\nenvironment: torch:1\nregiment: {{torchrun_args: [--tee=3]}}\n{RANKS}\n"
    (fault,) = faults(tmp_path, text, override)
    assert fault.startswith("--set ")
    assert wanted in fault


OWN_FLAGS = ["--nnodes=2", "--nproc_per_node", "--nproc-per-node=gpu", "--node-rank", "--master_addr=x"]
OWN_FLAGS += ["--master-port", "--rdzv-backend", "--rdzv_endpoint=x", "--standalone", "--no-python", "-m", "--module"]
OWN_FLAGS += ["--run-path", "--run_path", "--nn=2", "--rdzv-id", "-mx"]


@pytest.mark.parametrize("flag", OWN_FLAGS)
def test_flags_that_regiment_sets_are_refused(flag: str) -> None:
    with pytest.raises(UserError, match=r"Regiment sets -.* itself"):
        check_torchrun_args(["--tee=3", flag])


def test_other_flags_of_torchrun_pass() -> None:
    flags = ("--max-restarts", "3", "--monitor_interval=1", "--log-dir", "x", "-t", "3", "--role=a", "-r", "1")
    assert check_torchrun_args(flags) == flags


OWN_MPI_FLAGS = (
    "-n -np --np --n -c -N --npernode -ppn -perhost -H --host -host -hosts -hostfile --machinefile -f".split()
)
OWN_MPI_FLAGS += "-launcher -launcher-exec -bootstrap -wdir --wdir -genvall -rmk --np=4 --hostfile=x --stdin".split()


@pytest.mark.parametrize("flag", OWN_MPI_FLAGS)
def test_flags_of_mpirun_that_regiment_sets_are_refused(flag: str) -> None:
    with pytest.raises(UserError, match=r"Regiment sets -[^=]* itself"):
        check_mpirun_args(["--verbose", flag, "4"])


def test_a_second_program_for_mpirun_is_refused() -> None:
    with pytest.raises(UserError, match="found ':'; the program and its arguments go under 'command'"):
        check_mpirun_args(["--verbose", ":", "-x", "A"])


def test_other_flags_of_mpirun_pass_with_all_their_values() -> None:
    flags = ("--mca", "btl", "tcp,self", "-x", "A=1", "--map-by", "ppr:2:node", "-bind-to", "core", "-genv", "A", "1")
    assert check_mpirun_args(flags) == flags


@given(st.text(max_size=200))
def test_a_default_experiment_name_is_always_legal(name: str) -> None:
    assert is_name(default_experiment_name(Path("/", name.replace("/", "").replace("\0", ""))))


def test_a_job_file_of_ten_kilobytes_loads_fast(tmp_path: Path) -> None:
    text = FULL.replace("  FLAG: true\n", "".join(f"  NAME_{n}: some value {n}\n" for n in range(400)))
    assert len(text) > 10_000
    assert fastest(lambda: load(tmp_path, text), 0.1) < 0.1  # 5 ms on a quiet machine


@pytest.mark.slow
def test_a_file_full_of_unknown_keys_is_refused_in_time(tmp_path: Path) -> None:
    few, many = ("".join(f"key_{n}: 1\n" for n in range(count)) for count in (10_000, 40_000))
    enough = 8 * fastest(lambda: faults(tmp_path, few), 0)  # four times as many take four times as long, not sixteen
    assert fastest(lambda: faults(tmp_path, many), enough) < enough
    assert faults(tmp_path, many)[-1] == "job.yml: and 39901 more faults"
