"""Real job files, other people's, that lie beside the checkout on the machines of this project and nowhere else."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

_SHARED = Path(os.environ.get("REGIMENT_SHARED") or Path(__file__).parents[2].parent / "shared")
FOLDER = _SHARED / "corpus"


class File(NamedTuple):
    """One file of the corpus."""

    path: str
    form: str
    type: str


def corpus() -> tuple[File, ...]:
    """Give all files, or none where there is no corpus."""
    manifest = FOLDER / "manifest.csv"
    if not manifest.is_file():
        return ()
    with manifest.open(encoding="utf-8", newline="") as stream:
        return tuple(File(row["path"], row["subform"], row["type"]) for row in csv.DictReader(stream))


PRIVATE = "the private form of 2020"
_SDK_TESTS = "azure-sdk-for-python@index/sdk/ml/azure-ai-ml/tests/test_configs/command_job/"
_EXAMPLES = "azureml-examples@history/"
NEGATIVE = {
    # A ':' on a line of its own.
    _SDK_TESTS + "command_job_bad_parse.yml": ":10: this does not fit what stands above it",
    # Azure's own negative cases.
    _SDK_TESTS + "dist_job_bad.yml": ":7: distribution.process_count_per_instance: unknown key",
    _SDK_TESTS + "dist_job_pytorch_torch_distributed.yml": ":6: distribution.type: unknown type 'torch.distributed'",
    # Its inputs are commented out, and the command still asks for them.
    _EXAMPLES + "2021-04-13-12e56352f/experimental/using-cli/jobs/train/pytorch/cifar-distributed/basic.yml": (
        ":5: command: '${{inputs.cifar}}' stands for nothing"
    ),
    # Its input has another name than the command asks for.
    _EXAMPLES
    + "2021-09-18-6ed7b5ca7/cli/jobs/pipelines-with-components/basics/1a_e2e_local_components/train_command_job.yml": (
        ":27: command: '${{inputs.training_data}}' stands for nothing; did you mean 'training_input'?"
    ),
    # A template, to be filled in.
    _EXAMPLES + "2024-02-22-c644b500c/best-practices/largescale-deep-learning/Debugging/Compute/health_job.yaml": (
        ":10: distribution.process_count_per_instance: expected a whole number, found the text '<GPU count here>'"
    ),
}
"""Files that are wrong, with what is said about them."""
NO_JOBS = {"pipeline": "is a pipeline", "component": "a component, a part for pipelines"}
"""What is said about files of types that Regiment does not run."""


def expected_refusal(file: File) -> str | None:
    """Give the words with which a file must be refused, or None where it must load."""
    return NEGATIVE.get(file.path) or NO_JOBS.get(file.type) or (PRIVATE if file.form == "private-2020" else None)
