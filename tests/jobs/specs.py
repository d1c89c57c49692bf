"""Job specs of every kind, made up by hypothesis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from regiment.jobs.data import DataInput, DataMode, LiteralInput, Output
from regiment.jobs.dataclass import replace
from regiment.jobs.spec import (
    Container,
    ContainerRuntime,
    Distribution,
    EarlyExit,
    Environment,
    JobSpec,
    Mpi,
    Options,
    Plain,
    PyTorch,
    Ray,
    Restarts,
    ShellCommand,
    StartMethod,
    TensorFlow,
)
from regiment.jobs.sweep import (
    Bandit,
    Choice,
    Conditional,
    Goal,
    MedianStopping,
    Normal,
    Objective,
    RandInt,
    Sampling,
    SamplingKind,
    SamplingRule,
    Sweep,
    SweepLimits,
    TruncationSelection,
    Uniform,
)

FOLDER = Path("/jobs")
"""Where the job files of these specs stand."""

names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn", "Zl", "Zp"]), max_size=12)
commands = st.text("abc -$\"'|&;\n#:<>{}", max_size=20).map("echo {}".format).filter(lambda text: "${{" not in text)
words = st.dictionaries(names, texts, max_size=2)
tags = st.dictionaries(names, st.none() | texts, max_size=2)
counts = st.integers(1, 8)
floats = st.floats(-1e9, 1e9, allow_nan=False)
positive = st.floats(1e-6, 1e9)
# No file has a number 1e-05: YAML 1.1 calls that text.
written_floats = floats.filter(lambda value: "e" not in repr(value))
literal_values = st.booleans() | st.integers(-(10**9), 10**9) | written_floats | texts
literals = literal_values.map(lambda value: LiteralInput(value, value if isinstance(value, str) else json.dumps(value)))
paths = st.sampled_from(
    ["/data/a b", "/x.csv", "https://example.org/x.csv", "azureml:d:1", "s3://b/k", "abfss://c@a/x"]
)
kinds = st.sampled_from(["uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model"])
input_modes = st.sampled_from([DataMode.READ_ONLY_MOUNT, DataMode.DOWNLOAD, DataMode.DIRECT])
output_modes = st.sampled_from([DataMode.READ_WRITE_MOUNT, DataMode.UPLOAD, DataMode.DIRECT])
inputs = st.dictionaries(names, literals | st.builds(DataInput, paths, kinds, input_modes), max_size=3)
outputs = st.dictionaries(names, st.builds(Output, kinds, output_modes, st.none() | paths), max_size=2)
conda = st.fixed_dictionaries({"name": names, "dependencies": st.just(["python=3.10", {"pip": ["torch"]}])})
environments = st.one_of(
    st.none(),
    st.builds(Environment, name=st.sampled_from(["azureml:e:1", "azureml:e@latest", "azureml://registries/r/x"])),
    st.builds(Environment, image=st.just("python:3.11"), conda_file=st.none() | st.just("/jobs/conda.yml")),
    st.builds(Environment, image=st.just("python:3.11"), conda=conda),
    st.builds(Environment, build_path=st.just("/jobs/docker"), dockerfile_path=st.none() | st.just("my.dockerfile")),
)
distributions = st.one_of(
    st.just(Plain()),
    st.builds(PyTorch, st.none() | counts),
    st.builds(Mpi, counts),
    st.builds(TensorFlow, counts, st.integers(0, 3), st.booleans(), st.booleans()),
    st.builds(Ray, st.none() | counts, st.none() | names, st.none() | st.booleans()),
)
parameters = st.one_of(
    st.builds(Choice, st.lists(literals, min_size=1, max_size=3).map(tuple)),
    st.builds(RandInt, counts),
    st.tuples(floats, floats, st.none() | positive, st.booleans()).map(
        lambda drawn: Uniform(min(drawn[:2]), max(drawn[:2]), drawn[2], drawn[3])
    ),
    st.builds(Normal, floats, positive, st.none() | positive, st.booleans()),
)
conditionals = st.builds(Conditional, st.dictionaries(names, parameters | literals, min_size=1, max_size=2))
spaces = st.dictionaries(
    names, parameters | st.builds(Choice, st.tuples(conditionals, literals)), min_size=1, max_size=3
)
samplings = st.builds(
    Sampling,
    st.sampled_from(SamplingKind),
    st.none() | st.integers(0, 99),
    st.sampled_from(SamplingRule),
    st.none() | st.sampled_from([2.0, 10.0]),
)
policies = st.one_of(
    st.none(),
    st.builds(Bandit, st.floats(0, 1), st.none(), counts, st.integers(0, 9)),
    st.builds(Bandit, st.none(), st.floats(0, 1), counts),
    st.builds(MedianStopping, counts, st.integers(0, 9)),
    st.builds(TruncationSelection, st.integers(1, 99), counts, st.integers(0, 9), st.booleans()),
)
seconds = st.none() | st.floats(0.001, 1e6)
sweeps = st.builds(
    Sweep,
    spaces,
    st.builds(Objective, names, st.sampled_from(Goal)),
    samplings,
    st.builds(SweepLimits, counts, st.none() | counts, seconds),
    policies,
)
restarts = st.builds(
    Restarts, st.integers(0, 99), st.none() | st.integers(0, 99), *(st.floats(0, 1e6) for _ in range(4))
)
code = st.sampled_from(
    [
        {"working_folder": str(FOLDER)},
        {"code": "/jobs/src"},
        {"code": "/jobs/src/one file.py"},
        {"code_url": "git+https://example.org/x.git@main&subdirectory=y"},
    ]
)


def _spec(
    where: dict[str, str], instance_count: int, distribution: Distribution, options: Options, **fields: Any
) -> JobSpec:
    if isinstance(distribution, TensorFlow):  # Each of its nodes has something to do.
        instance_count = min(instance_count, distribution.task_count)
    if not isinstance(distribution, PyTorch):
        options = replace(options, start_method=StartMethod.TORCHRUN)
    elif distribution.process_count_per_instance and options.start_method is StartMethod.TORCHRUN:
        options = replace(options, torchrun_args=("--tee=3",))
    elif options.start_method is StartMethod.FORK:
        options = replace(options, preload=("numpy.linalg",))
    fields |= {"instance_count": instance_count, "distribution": distribution, "options": options}
    return JobSpec(**{**where, **fields})


specs = st.builds(
    _spec,
    code,
    command=commands.map(ShellCommand),
    experiment_name=names,
    name=st.none() | names,
    display_name=st.none() | texts,
    description=st.none() | texts,
    tags=tags,
    properties=tags,
    environment=environments,
    environment_variables=words,
    inputs=inputs,
    outputs=outputs,
    compute=st.sampled_from(["local", "azureml:gpu-cluster"]),
    instance_count=counts,
    distribution=distributions,
    timeout=seconds,
    options=st.builds(
        Options,
        st.sampled_from(StartMethod),
        st.just(()),
        st.floats(0, 100),
        restarts=restarts,
        early_exit=st.builds(EarlyExit, st.floats(0, 1e6), st.none() | st.floats(0, 1e6)),
        preemption_grace=st.none() | st.floats(0, 1e6),
        requeue=st.integers(0, 9),
        ledger=st.booleans(),
        container=st.just(Container())
        | st.builds(
            Container,
            st.sampled_from([ContainerRuntime.PYXIS, ContainerRuntime.APPTAINER]),
            st.just("image.sqsh"),
            st.sampled_from([(), ("/data", "/a:/b:ro")]),
            st.sampled_from([(), ("--nv", "3")]),
        ),
    ),
    sweep=st.none() | sweeps,
)
