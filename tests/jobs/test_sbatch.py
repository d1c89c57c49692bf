from __future__ import annotations

from pathlib import Path

import pytest

from regiment.jobs.errors import JobFileError, UserError
from regiment.jobs.loader import load_job
from regiment.jobs.sbatch import OURS, read_flag


def options(folder: Path, text: str) -> dict[str, str | bool]:
    (folder / "job.yml").write_text(f"command: 'true'\nregiment:\n  slurm: {text}\n")
    return dict(load_job(folder / "job.yml", [], folder).spec.options.slurm)


def test_options_of_sbatch_are_kept_as_they_are_written(tmp_path: Path) -> None:
    text = '{time: 1:30:00, exclusive: true, account: false, gpus_per_node: 8, comment: "a b"}'
    assert options(tmp_path, text) == {
        "time": "1:30:00",
        "exclusive": True,
        "account": False,
        "gpus-per-node": "8",
        "comment": "a b",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{nodes: 2}", "resources.instance_count"),
        ("{array: 1-9}", "one ordinary job"),
        ("{p: main}", "write the long one"),
        ("{--partition: main}", "without the dashes"),
        ("{partition: }", "true for one that takes none"),
        ("{gpus-per-node: 1, gpus_per_node: 2}", "given twice"),
        ('{comment: "a\\nb"}', "one line"),
    ],
)
def test_an_option_that_cannot_be_given_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(JobFileError, match=r"job\.yml:3: ") as caught:
        options(tmp_path, text)
    assert words in str(caught.value)


def test_a_flag_has_a_value_or_none() -> None:
    assert read_flag("constraint=a100&nvlink") == ("constraint", "a100&nvlink")
    assert read_flag("exclusive") == ("exclusive", True)
    with pytest.raises(UserError, match="short name"):
        read_flag("p=main")


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_is_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(UserError, match="Regiment gives itself"):
        read_flag(f"{name}=1")
