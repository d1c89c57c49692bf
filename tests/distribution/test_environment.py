"""Which variables reach a process, and which must not."""

from __future__ import annotations

import pytest

from regiment.distribution.environment import default_variables, is_secret, merged, without_leftovers
from regiment.jobs.dataclass import replace
from regiment.jobs.placement import Node


@pytest.mark.parametrize(
    "name",
    "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT TF_CONFIG OMPI_COMM_WORLD_RANK PMIX_RANK PMI_RANK "
    "TORCHELASTIC_RUN_ID TORCHELASTIC_ERROR_FILE AZUREML_RUN_ID AZ_BATCH_HOST_LIST SLURM_PROCID SLURM_STEP_NODELIST "
    "REGIMENT_RUN_ID REGIMENT_TAG".split(),
)
def test_what_an_outer_job_set_for_its_own_process_never_leaks_in(name: str) -> None:
    assert without_leftovers({name: "5", "HOME": "/root"}) == {"HOME": "/root"}


@pytest.mark.parametrize(
    "name", "SLURM_JOB_ID SLURM_JOB_NODELIST OMPI_MCA_btl PMIX_MCA_gds REGIMENT_WORKSPACE NCCL_DEBUG RANKING".split()
)
def test_job_level_variables_and_the_users_settings_stay(name: str) -> None:
    assert without_leftovers({name: "5"}) == {name: "5"}


def test_defaults_lie_under_the_nodes_own_values_and_the_job_lies_over_them() -> None:
    environ = merged(
        {"OMP_NUM_THREADS": "3", "A": "node", "RANK": "9"}, {"OMP_NUM_THREADS": "1", "B": "d"}, None, {"A": "job"}
    )
    assert environ == {"OMP_NUM_THREADS": "3", "A": "job", "B": "d"}


def test_gloo_and_nccl_are_told_a_nodes_interface_where_it_is_known() -> None:
    node = Node(0, "node-0", "a", "10.0.0.1", 1, (0,), "/bin/python", interface="eth0")
    told = default_variables(node)
    assert (told["GLOO_SOCKET_IFNAME"], told["NCCL_SOCKET_IFNAME"]) == ("eth0", "=eth0")
    assert not any(name.endswith("IFNAME") for name in default_variables(replace(node, interface=None)))


def test_the_jobs_python_comes_first_in_path() -> None:
    assert merged({"PATH": "/usr/bin"}, {}, "/venv/bin")["PATH"] == "/venv/bin:/usr/bin"
    assert merged({}, {}, "/venv/bin")["PATH"].startswith("/venv/bin:/")
    assert merged({"PATH": "/usr/bin"}, {}, "/venv/bin", {"PATH": "/mine"})["PATH"] == "/venv/bin:/mine"


@pytest.mark.parametrize("name", ["HF_TOKEN", "aws_secret_access_key", "WANDB_API_KEY", "DB_PASSWORD", "ssh_key"])
def test_variables_that_look_like_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "LOCAL_RANK", "KEYBOARD", "MASTER_ADDR"])
def test_ordinary_variables_are_not_taken_for_secrets(name: str) -> None:
    assert not is_secret(name)
