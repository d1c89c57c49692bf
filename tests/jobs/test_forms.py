"""The same job in the forms of 2021, of today and of the first version; and what they say differently."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from regiment.jobs.data import DataInput, DataMode, Input, LiteralInput, Output
from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import LoadedJob, load_job
from regiment.jobs.spec import Distribution, Environment, Mpi, PyTorch, Ray, ShellCommand, TensorFlow
from regiment.jobs.sweep import (
    Bandit,
    Choice,
    Conditional,
    Goal,
    Normal,
    Objective,
    Parameter,
    RandInt,
    Sampling,
    SamplingKind,
    SamplingRule,
    Sweep,
    SweepLimits,
    TruncationSelection,
    Uniform,
)


def load(folder: Path, text: str, files: Mapping[str, str] | None = None, paths: bool = True) -> LoadedJob:
    for name, content in {"src/train.py": "", "data/x.csv": "", **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "job.yml").write_text(text)
    return load_job(Path("job.yml"), (), folder, paths=paths)


def faults(folder: Path, text: str, files: Mapping[str, str] | None = None, paths: bool = True) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        load(folder, text, files, paths)
    return str(caught.value).splitlines()


TODAY = """\
type: command
code: src
command: python train.py --data ${{inputs.data}}
inputs:
  data: {type: uri_folder, path: data, mode: download}
environment: {image: "python:3", conda_file: env.yml}
compute: azureml:gpu
resources: {instance_count: 2}
distribution: {type: pytorch, process_count_per_instance: 4}
"""
AUTUMN_2021 = """\
type: command
code: {local_path: src}
command: python train.py --data ${{inputs.data}}
inputs:
  data: {folder: data, mode: download}
environment: {image: "python:3", conda_file: "file:env.yml"}
compute: azureml:gpu
resources: {instance_count: 2}
distribution: {type: pytorch, process_count_per_instance: 4}
"""
MAY_2021 = """\
type: command_job
code: {local_path: src}
command: python train.py --data {inputs.data}
inputs:
  data: {data: {local_path: data}, mode: download}
environment: {docker: {image: "python:3"}, conda_file: "file:env.yml"}
compute: {target: azureml:gpu, instance_count: 2}
distribution: {type: pytorch, process_count: 8}
"""


def test_all_forms_of_one_job_are_one_spec(tmp_path: Path) -> None:
    today, autumn, may = (load(tmp_path, text, {"env.yml": ""}) for text in (TODAY, AUTUMN_2021, MAY_2021))
    assert today.spec == autumn.spec == may.spec
    assert today.spec.inputs == {"data": DataInput(str(tmp_path / "data"), "uri_folder", DataMode.DOWNLOAD)}
    assert today.spec.environment == Environment(image="python:3", conda_file=str(tmp_path / "env.yml"))
    assert (today.notes, autumn.notes) == ((), ())
    (note,) = may.notes
    assert note == "job.yml:3: command: single braces are deprecated; write ${{inputs.NAME}} instead of {inputs.NAME}"


@pytest.mark.parametrize(
    ("text", "wanted", "nodes"),
    [
        ("{type: pytorch, process_count: 6}", PyTorch(2), 3),
        ("{type: pytorch}", PyTorch(), 3),
        ("{type: PyTorch, process_count_per_instance: 2}", PyTorch(2), 3),
        ("{type: Mpi}", Mpi(1), 3),
        ("{type: mpi, process_count_per_instance: 4}", Mpi(4), 3),
        ("{type: TensorFlow}", TensorFlow(3), 3),
        ("{type: tensorflow, worker_count: 2}", TensorFlow(2), 2),
        ("{type: tensorflow, worker_count: 4, parameter_server_count: 1}", TensorFlow(4, 1), 4),
        ("{type: ray, port: 6379}", Ray(6379), 3),
    ],
)
def test_the_counts_of_2021_become_today_s(tmp_path: Path, text: str, wanted: Distribution, nodes: int) -> None:
    spec = load(tmp_path, f"command: x\ncompute: {{target: c, instance_count: 3}}\ndistribution: {text}\n").spec
    assert (spec.distribution, spec.instance_count) == (wanted, nodes)


def test_workers_override_the_nodes_in_files_of_2021_only(tmp_path: Path) -> None:
    tail = "distribution: {type: tensorflow, worker_count: 4}\n"
    assert load(tmp_path, f"command: x\nresources: {{instance_count: 2}}\n{tail}").spec.instance_count == 2
    job = load(tmp_path, f"command: x\ncompute: {{target: c, instance_count: 2}}\n{tail}")
    assert job.spec.instance_count == 4
    assert job.notes == ("job.yml:3: distribution: worker_count: 4 overrides instance_count: 2",)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "compute: {target: c, instance_count: 3}\ndistribution: {type: pytorch, process_count: 8}",
            "distribution.process_count: 8 processes over 3 nodes are 2.67 each; process_count counts all nodes",
        ),
        (
            "compute: {target: c, instance_count: 2}\nresources: {instance_count: 3}",
            "compute: expected one instance_count, found 2 here and 3 under resources",
        ),
        (
            "inputs: {a: {path: data, data: 'azureml:a:1'}}",
            "inputs.a: expected one of path and value, found 'path' and",
        ),
        ("inputs: {a: {mode: download}}", "inputs.a: expected one of path and value, found none"),
        ("inputs: {a: {path: nowhere}}", "inputs.a.path: there is no file or folder 'nowhere' in "),
        ("inputs: {a: {path: data, mode: fly}}", "inputs.a.mode: unknown value 'fly'; "),
        (
            "inputs: {a: {path: data, type: uri_floder}}",
            "inputs.a.type: unknown type 'uri_floder'; did you mean 'uri_f",
        ),
        ("inputs: {a: }", "inputs.a: expected a value or a mapping, found nothing"),
        ("inputs: {'a b': 1}", "inputs.a b: this cannot be a name"),
        ("outputs: {a: {mode: download}}", "outputs.a: an output cannot have the mode 'download'"),
        ("environment: {image: x, conda_file: gone.yml}", "environment.conda_file: there is no file 'gone.yml' in "),
        ("environment: file:gone.yml", "environment: there is no file 'file:gone.yml' in "),
        ("environment: {os_type: linux}", "environment: there is nothing to run in; name an image, a conda_file or"),
        ("code: {local_path: gone}", "code.local_path: there is no file or folder 'gone' in "),
        ("environment_variables: {A: '${{inputs.gone}}'}", "environment_variables.A: '${{inputs.gone}}' stands for"),
        ("job_type: Command", "job_type: 'job_type' is of the private form of 2020, which no released Azure ML reads;"),
        ("code: {directory: src}", "code.directory: 'code.directory' is of the private form of 2020"),
        ("compute: {target: c, node_count: 2}", "compute.node_count: 'compute.node_count' is of the private form"),
        ("type: automl", "type: 'automl' is an AutoML job; Regiment runs jobs of the types command and sweep"),
        (
            "$schema: https://x/latest/data.schema.json",
            "$schema: 'data' says that this is a data asset; 'regiment data",
        ),
        ("version: 3", "version: 'version' says that this is a component, a part for pipelines; Regiment runs jobs"),
    ],
)
def test_what_is_wrong_in_any_form_is_named_with_its_line(tmp_path: Path, text: str, wanted: str) -> None:
    fault = faults(tmp_path, f"# a comment\n{text}\ncommand: x\n")[0]
    assert fault.split(":")[1] in ("2", "3")
    assert fault.split(": ", 1)[1].startswith(wanted)


def test_an_unknown_name_in_a_long_command_is_named_with_its_own_line(tmp_path: Path) -> None:
    text = "command: >-\n  python train.py\n  --a ${{inputs.a}}\n  --b ${{inputs.bb}} ${{parent.x}}\n"
    unknown, foreign = faults(tmp_path, f"code: src\n{text}inputs: {{a: 1, b: 2}}\n")
    assert unknown == "job.yml:5: command: '${{inputs.bb}}' stands for nothing; did you mean 'b'?"
    assert foreign.startswith("job.yml:5: command: '${{parent.x}}' is no expression of a job; write ${{inputs.NAME}}")
    (fault,) = faults(tmp_path, "command: echo ${{search_space.lr}}\n")
    assert fault == "job.yml:1: command: '${{search_space.lr}}' stands for nothing: only a sweep has a search_space"
    (fault,) = faults(tmp_path, "command: |\n  echo\n  x ${{inputs.lr}\n")
    assert fault == "job.yml:3: command: a '${{' is not closed; write ${{inputs.NAME}}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.10", LiteralInput(0.1, "0.10")),
        ("{value: 42}", LiteralInput(42, "42")),
        ("{type: integer, value: 42}", LiteralInput(42, "42")),
        ("true", LiteralInput(True, "true")),
        ("{path: 'azureml:d@latest'}", DataInput("azureml:d@latest")),
        ("{data: 'azureml:d:1', mode: Mount}", DataInput("azureml:d:1")),
        ("{dataset: 'azureml:d:1'}", DataInput("azureml:d:1")),
        ("{data: {datastore: azureml:s, path: /a/b}}", DataInput("azureml://datastores/s/paths/a/b")),
        ("{data: {path: 'https://x.org/a/iris.csv'}}", DataInput("https://x.org/a/iris.csv", "uri_file")),
        ("{data: {path: 'https://x.org/a/'}}", DataInput("https://x.org/a/")),
        ("{file: 'wasbs://c@x.org/iris.csv'}", DataInput("wasbs://c@x.org/iris.csv", "uri_file")),
        ("{path: /subscriptions/1/data/d/versions/2}", DataInput("/subscriptions/1/data/d/versions/2")),
        ("{path: 's3://b/x', mode: eval_download}", DataInput("s3://b/x", mode=DataMode.DOWNLOAD)),
        ("{path: 's3://b/x', type: MLTable, mode: direct}", DataInput("s3://b/x", "mltable", DataMode.DIRECT)),
    ],
)
def test_inputs_of_all_spellings(tmp_path: Path, text: str, wanted: Input) -> None:
    assert load(tmp_path, f"command: x\ninputs: {{a: {text}}}\n").spec.inputs == {"a": wanted}


def test_a_local_file_without_a_type_is_a_file(tmp_path: Path) -> None:
    spec = load(tmp_path, "command: x\ninputs: {a: {path: data/x.csv}, b: {data: {local_path: ./data}}}\n").spec
    assert spec.inputs["a"] == DataInput(str(tmp_path / "data/x.csv"), "uri_file")
    assert spec.inputs["b"] == DataInput(str(tmp_path / "data"))


def test_outputs_of_all_spellings(tmp_path: Path) -> None:
    job = load(
        tmp_path,
        "command: x ${{outputs.a}}\noutputs:\n  a:\n  b: {mode: upload, name: n, version: 2}\n"
        "  c: {type: uri_file, mode: mount, path: 'azureml://datastores/s/paths/${{name}}'}\n  d: {data: {path: /p}}\n",
    )
    assert job.spec.outputs == {
        "a": Output(),
        "b": Output(mode=DataMode.UPLOAD),
        "c": Output("uri_file", path="azureml://datastores/s/paths/${{name}}"),
        "d": Output(path="/p"),
    }
    assert job.notes == (
        "job.yml:4: accepted, but not used here: outputs.b.name, outputs.b.version, outputs.c.path, outputs.d.data",
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("azureml:torch:1", Environment(name="azureml:torch:1")),
        ("{name: n, version: 2}", Environment(name="n:2")),
        ("{name: dropped, version: 2, image: a/b}", Environment(image="a/b")),
        ("{docker: {image: a/b}}", Environment(image="a/b")),
        ("{build: {path: /b}}", Environment(build_path="/b")),
        ("{build: {local_path: /b, dockerfile_path: d/F}}", Environment(build_path="/b", dockerfile_path="d/F")),
        ("{docker: {build: {dockerfile: 'file:/b/Dockerfile'}}}", Environment(build_path="/b")),
        ("{docker: {build: {dockerfile: /b/x.df}}}", Environment(build_path="/b", dockerfile_path="x.df")),
        ("{conda_file: {dependencies: [a]}}", Environment(conda={"dependencies": ["a"]})),
        ("file:/gone/env.yml", Environment(name="file:/gone/env.yml")),
    ],
)
def test_environments_of_all_spellings(tmp_path: Path, text: str, wanted: Environment) -> None:
    assert load(tmp_path, f"command: x\nenvironment: {text}\n", paths=False).spec.environment == wanted


def test_an_included_file_s_paths_start_from_its_own_folder(tmp_path: Path) -> None:
    files = {"envs/env.yml": "$schema: x\nimage: a/b\nconda_file: conda.yml\n", "envs/conda.yml": ""}
    spec = load(tmp_path, "command: x\nenvironment: file:envs/env.yml\n", files).spec
    assert spec.environment == Environment(image="a/b", conda_file=str(tmp_path / "envs/conda.yml"))
    files["envs/env.yml"] = "image: a/b\nconda_fil: conda.yml\n"
    (fault,) = faults(tmp_path, "command: x\nenvironment: file:envs/env.yml\n", files)
    assert fault.startswith("envs/env.yml:2: environment.conda_fil: unknown key; did you mean 'conda_file'?")


def test_what_is_wrong_with_an_included_file_is_said_of_that_file(tmp_path: Path) -> None:
    text = "command: x\nenvironment: file:env.yml\n"
    (fault,) = faults(tmp_path, text, {"env.yml": "a: b: c\n"})
    assert fault.startswith("env.yml:1: there is a ':' where no key can stand")
    (fault,) = faults(tmp_path, text, {"env.yml": ""})
    assert fault.startswith("env.yml: the file is empty")


def test_what_azure_alone_has_is_noted_once(tmp_path: Path) -> None:
    text = "command: x\nidentity: {type: AMLToken}\nservices:\n  a: {type: ssh}\n"
    job = load(tmp_path, text + "resources: {instance_type: A, shm_size: 2g}\n")
    assert job.notes == (
        "job.yml:2: accepted, but not used here: identity, services, resources.instance_type, resources.shm_size",
    )


def test_code_may_be_a_file_or_elsewhere(tmp_path: Path) -> None:
    assert load(tmp_path, "command: python train.py\ncode: src/train.py\n").spec.code == str(tmp_path / "src/train.py")
    (fault,) = faults(tmp_path, "command: python other.py\ncode: src/train.py\n")
    assert "'other.py' is not train.py, which is all of the code" in fault
    spec = load(tmp_path, "command: python train.py\ncode: git+https://x.org/a.git@b&subdirectory=c\n").spec
    assert (spec.code, spec.code_url, spec.working_folder) == (None, "git+https://x.org/a.git@b&subdirectory=c", None)
    job = load(tmp_path, "command: python train.py\ncode:\n  local_path src\n")
    assert job.spec.code == str(tmp_path / "src")
    assert job.notes == ("job.yml:2: code: read as 'local_path: src'; write 'code: src'",)


def test_a_key_given_twice_counts_as_in_azure_only_if_asked_for(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "command: x\ncompute: a\ncompute: b\n")
    assert fault == "job.yml:3: compute: given twice, on lines 2 and 3, with different values; keep one"
    job = load_job(Path("job.yml"), (), tmp_path, lenient=True)
    assert job.spec.compute == "b"
    assert job.notes == ("job.yml:3: compute: given twice, on lines 2 and 3; the last one counts",)
    job = load(tmp_path, "command: x\ncompute: a\ncompute: a\n")
    assert job.notes == ("job.yml:3: compute: given twice, on lines 2 and 3, with the same value",)


SWEEP = """\
type: sweep
trial: {code: src, command: "python train.py --lr ${{search_space.lr}} ${{inputs.a}}"}
inputs: {a: 1}
compute: azureml:cpu
search_space:
  lr: {type: uniform, min_value: 1e-3, max_value: 0.1}
  size: {type: choice, values: [0.10, x, {deep: {type: randint, upper: 3}, wide: 2}]}
  n: {type: qlognormal, mu: 1, sigma: 2, q: 4}
objective: {primary_metric: acc, goal: Maximize}
"""
SPACE: Mapping[str, Parameter] = {
    "lr": Uniform(0.001, 0.1),
    "size": Choice(
        (
            LiteralInput(0.1, "0.10"),
            LiteralInput("x", "x"),
            Conditional({"deep": RandInt(3), "wide": LiteralInput(2, "2")}),
        )
    ),
    "n": Normal(1.0, 2.0, 4.0, True),
}


def test_a_sweep_is_one_trial_and_what_varies(tmp_path: Path) -> None:
    spec = load(tmp_path, SWEEP).spec
    assert spec.sweep == Sweep(SPACE, Objective("acc", Goal.MAXIMIZE))
    assert spec.command == ShellCommand("python train.py --lr ${{search_space.lr}} ${{inputs.a}}")
    assert (spec.compute, spec.code, spec.inputs) == ("azureml:cpu", str(tmp_path / "src"), {"a": LiteralInput(1, "1")})


SWEEP_OF_2021 = """\
type: sweep_job
algorithm: grid
trial:
  code: {local_path: src}
  command: python train.py --lr {search_space.lr} {inputs.a}
  inputs: {a: 1}
  compute: {target: azureml:cpu, instance_count: 2}
max_total_trials: 4
max_concurrent_trials: 2
timeout_minutes: 3
early_termination: {policy_type: bandit, slack_factor: 0.2, delay_evaluation: 5}
"""


def test_a_sweep_of_2021_is_the_same_as_today_s(tmp_path: Path) -> None:
    older = SWEEP_OF_2021 + SWEEP[SWEEP.index("search_space:") :]
    newer = SWEEP + "sampling_algorithm: {type: grid}\nresources: {instance_count: 2}\n"
    newer += "limits: {max_total_trials: 4, max_concurrent_trials: 2, timeout: 180}\n"
    newer += "early_termination: {type: Bandit, slack_factor: 0.2, delay_evaluation: 5}\n"
    spec = load(tmp_path, newer).spec
    assert load(tmp_path, older).spec == spec
    assert spec.sweep is not None
    assert spec.sweep.limits == SweepLimits(4, 2, 180.0)
    assert spec.sweep.sampling == Sampling(SamplingKind.GRID)
    assert spec.sweep.early_termination == Bandit(0.2, delay_evaluation=5)
    assert spec.instance_count == 2


def test_a_sweep_s_trial_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    text = SWEEP.replace(SWEEP.splitlines()[1], "trial: file:t/trial.yml") + "limits: {trial_timeout: 5}\n"
    text += "sampling_algorithm: {type: random, rule: sobol, seed: 3, logbase: 2}\n"
    text += "early_termination: {type: truncation_selection, truncation_percentage: 10}\n"
    files = {"t/trial.yml": "command: python go.py\ncode: .\n", "t/go.py": ""}
    spec = load(tmp_path, text, files).spec
    assert (spec.code, spec.timeout) == (str(tmp_path / "t"), 5.0)
    assert spec.sweep is not None
    assert spec.sweep.sampling == Sampling(SamplingKind.RANDOM, 3, SamplingRule.SOBOL, 2.0)
    assert spec.sweep.early_termination == TruncationSelection(10)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("search_space: {}", "search_space: there is nothing to vary"),
        ("search_space: {a: {type: choice, values: []}}", "search_space.a.values: expected at least one value"),
        ("search_space: {a: {type: chice, values: [1]}}", "search_space.a.type: unknown type 'chice'; did you mean"),
        ("search_space: {a: {type: uniform, min_value: 1}}", "search_space.a.max_value: missing; add a 'max_value:'"),
        (
            "search_space: {a: {type: uniform, min_value: 2, max_value: 1}}",
            "search_space.a: min_value 2 is above max_value 1; exchange them",
        ),
        ("search_space: {a: {type: randint, upper: 0}}", "search_space.a.upper: expected at least 1, found 0"),
        ("search_space: {a: {spec: uniform}}", "search_space.a.spec: 'spec' is of the private form of 2020"),
        ("objective: {goal: maximize}", "objective.primary_metric: missing"),
        ("objective: {primary_metric: m, goal: up}", "objective.goal: unknown value 'up'; "),
        ("early_termination: {type: bandit}", "early_termination: a bandit needs either slack_factor or slack_amount"),
        ("early_termination: {policy_type: bandits}", "early_termination.type: unknown type 'bandits'; did you mean"),
        ("limits: {max_total_trials: 0}", "limits.max_total_trials: expected at least 1"),
        ("limits: {max_total_trials: 5}\nmax_total_trials: 4", "max_total_trials: stands under limits too; keep"),
        ("sampling_algorithm: grid\nalgorithm: grid", "algorithm: the older name of 'sampling_algorithm'"),
        ("sampling_algorithm: {type: random, logbase: 1}", "sampling_algorithm.logbase: expected a number above 0"),
        ("trial: {command: 'x ${{search_space.siz}}'}", "trial.command: '${{search_space.siz}}' stands for nothing; "),
        ("trial: {command: x, inputs: {a: 1}}", "trial.inputs: stands at the top of the file too; keep the 'inputs'"),
        ("trial: {command: x, limits: {timeout: 3}}", "trial.limits: unknown key"),
        ("trial: file:gone.yml", "trial: there is no file 'file:gone.yml' in "),
        ("trial: azureml:t:1", "trial: expected a mapping, found the text 'azureml:t:1'"),
    ],
)
def test_a_fault_of_a_sweep_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").touch()
    key = text.partition(":")[0]
    lines = SWEEP.splitlines(keepends=True)
    kept, inside = [], False
    for line in lines:
        inside = line.startswith(f"{key}:") or (inside and line.startswith(" "))
        kept += [] if inside else [line]
    (tmp_path / "job.yml").write_text("".join(kept) + text + "\n")
    with pytest.raises(JobFileError) as caught:
        load_job(Path("job.yml"), (), tmp_path)
    assert wanted in str(caught.value)
