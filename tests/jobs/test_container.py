"""The container of a run on Slurm in a job file."""

from __future__ import annotations

from pathlib import Path

import pytest

from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import load_job
from regiment.jobs.spec import Container, ContainerRuntime


def container(folder: Path, keys: str) -> Container:
    file = folder / "job.yml"
    file.write_text(f"command: x\nregiment: {{container: {{{keys}}}}}\n")
    return load_job(file, [], folder).spec.options.container


def test_a_container_is_read(tmp_path: Path) -> None:
    found = container(
        tmp_path, 'runtime: pyxis, image: a/b, mounts: ["/data", "/a:/b:ro"], flags: [--container-writable]'
    )
    assert found == Container(ContainerRuntime.PYXIS, "a/b", ("/data", "/a:/b:ro"), ("--container-writable",))
    assert container(tmp_path, "runtime: none") == Container()


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("runtime: docker, image: x", "regiment.container.runtime: unknown value"),
        ("runtime: apptainer", "regiment.container: runtime apptainer needs an image"),
        ('runtime: pyxis, image: x, mounts: ["data"]', "expected /FOLDER"),
    ],
)
def test_what_is_wrong_with_it_is_named(tmp_path: Path, keys: str, complaint: str) -> None:
    with pytest.raises(JobFileError) as error:
        container(tmp_path, keys)
    assert complaint in str(error.value)
