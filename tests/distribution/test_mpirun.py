"""How each kind of mpirun is recognised and called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.mpirun import (
    Flavour,
    Mpirun,
    check_pmix,
    is_scheduler_variable,
    launcher_environ,
    mpi_flavour,
    mpirun_argv,
    needs_own_host_name,
)
from regiment.distribution.plan import REMOTE_SHELL, SHARED_MEMORY, WRAPPER
from regiment.jobs.errors import UserError
from regiment.jobs.placement import Node, Placement

OPEN_MPI_5 = "mpirun (Open MPI) 5.0.11\n\nReport bugs to https://www.open-mpi.org/community/help/\n"
OPEN_MPI_4 = "mpirun.openmpi (OpenRTE) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n"
OPEN_MPI_4_BUILT = "mpirun (Open MPI) 4.1.6\n\nReport bugs to http://www.open-mpi.org/community/help/\n"
MPICH_4 = """HYDRA build details:
    Version:                                 4.0.2
    Release Date:                            Thu Apr  7 12:34:45 CDT 2022
    Process Manager:                         pmi
"""
MPICH_5 = """HYDRA build details:
    Version:                                 5.0.2
    Release Date:                            Fri Sep 25 20:45:26 UTC 2026
    CC:                              cc
"""
INTEL = """Intel(R) MPI Library for Linux* OS, Version 2021.18.1 Build 20260626 (id: b44796a)
Copyright 2003-2026, Intel Corporation.
"""


def nodes(*slots: int, address: str = "127.0.0.1") -> tuple[Node, ...]:
    return tuple(
        Node(
            index, f"node-{index}", f"host{index}", address.replace("#", str(index)), count, (0, 1), "/venv/bin/python"
        )
        for index, count in enumerate(slots)
    )


def mpirun(flavour: Flavour) -> Mpirun:
    return Mpirun("/opt/mpi/bin/mpirun", flavour, "1.0")


@pytest.mark.parametrize(
    ("output", "flavour", "version"),
    [
        (OPEN_MPI_5, Flavour.OPEN_MPI_5, "5.0.11"),
        (OPEN_MPI_4, Flavour.OPEN_MPI_4, "4.1.4"),
        (OPEN_MPI_4_BUILT, Flavour.OPEN_MPI_4, "4.1.6"),
        (MPICH_4, Flavour.MPICH, "4.0.2"),
        (MPICH_5, Flavour.MPICH, "5.0.2"),
        (INTEL, Flavour.INTEL, "2021.18.1"),
        ("slurm 22.05.8\n", Flavour.SRUN, "22.05.8"),
        ("slurm-wlm 22.05.8\n", Flavour.SRUN, "22.05.8"),
    ],
)
def test_an_mpirun_is_known_by_what_it_says_of_its_version(output: str, flavour: Flavour, version: str) -> None:
    assert mpi_flavour("/bin/mpirun", output) == Mpirun("/bin/mpirun", flavour, version)


@pytest.mark.parametrize("output", ["", "mpirun (Open MPI) 1.10.7\n", "prterun (PRRTE) 3.0.9\n", "srun 22.05\n"])
def test_an_unknown_mpirun_is_refused_with_the_next_step(output: str) -> None:
    with pytest.raises(UserError, match=r"/bin/mpirun: .* Open MPI 5, .*; put one of them first in PATH"):
        mpi_flavour("/bin/mpirun", output)


def test_open_mpi_5_is_called_through_our_remote_shell() -> None:
    assert mpirun_argv(mpirun(Flavour.OPEN_MPI_5), nodes(3, 1), ()) == tuple(
        "/opt/mpi/bin/mpirun --allow-run-as-root --prtemca plm ssh --prtemca plm_ssh_agent {remote_shell} "
        "--prtemca plm_ssh_no_tree_spawn 1 --leave-session-attached --host node-0:3,node-1:1 -np 4 "
        "--map-by slot --bind-to none --stdin none --wdir / {wrapper}".split()
    )


def test_open_mpi_4_has_other_names_for_its_settings() -> None:
    assert mpirun_argv(mpirun(Flavour.OPEN_MPI_4), nodes(2, 2), ()) == tuple(
        "/opt/mpi/bin/mpirun --allow-run-as-root --mca plm rsh --mca plm_rsh_agent {remote_shell} "
        "--mca plm_rsh_no_tree_spawn 1 --leave-session-attached --host node-0:2,node-1:2 -np 4 "
        "--map-by slot --bind-to none --stdin none --wdir / {wrapper}".split()
    )


def test_mpich_keeps_each_nodes_own_environment() -> None:
    assert mpirun_argv(mpirun(Flavour.MPICH), nodes(3, 1), ()) == tuple(
        "/opt/mpi/bin/mpirun -launcher rsh -launcher-exec {remote_shell} -rmk user -iface lo "
        "-hosts node-0:3,node-1:1 -n 4 -genvnone -wdir / -bind-to none {wrapper}".split()
    )


def test_mpich_on_real_machines_calls_back_an_address_and_not_a_name() -> None:
    argv = mpirun_argv(mpirun(Flavour.MPICH), nodes(1, 1, address="10.0.0.#"), ())
    assert "-iface" not in argv
    assert argv[argv.index("-localhost") + 1] == "10.0.0.0"


def test_intel_mpi_binds_through_a_variable() -> None:
    assert mpirun_argv(mpirun(Flavour.INTEL), nodes(2, 2), ()) == tuple(
        "/opt/mpi/bin/mpirun -launcher rsh -launcher-exec {remote_shell} -rmk user -iface lo "
        "-hosts node-0:2,node-1:2 -n 4 -genvnone -wdir / {wrapper}".split()
    )
    assert launcher_environ(Flavour.INTEL, Placement(nodes(2, 2), "4711"))["I_MPI_PIN"] == "off"


def test_srun_starts_a_step_beside_the_agents_own_with_each_rank_on_its_node() -> None:
    assert mpirun_argv(mpirun(Flavour.SRUN), nodes(2, 1), ("--mem=0",)) == tuple(
        "/opt/mpi/bin/mpirun --mpi=pmix --overlap --cpu-bind=none --kill-on-bad-exit=1 --export=ALL --input=none "
        "--chdir=/ --mem=0 --nodelist={slurm_tasks} --nodes=2 --ntasks=3 --distribution=arbitrary --overcommit "
        "{wrapper}".split()
    )
    assert "--cpu-bind=none" not in mpirun_argv(mpirun(Flavour.SRUN), nodes(2, 2), ("--cpu-bind=cores",))


def test_srun_is_told_of_its_job_and_not_of_the_step_it_is_called_in() -> None:
    names = ("SLURM_JOB_ID", "SLURM_CONF", "SLURM_NTASKS", "SLURM_MPI_TYPE", "SLURM_STEP_NODELIST", "HOME")
    kept = [name for name in names if not is_scheduler_variable(name, is_srun=True)]
    assert kept == ["SLURM_JOB_ID", "SLURM_CONF", "HOME"]


@pytest.mark.parametrize("types", ["pmix", "MPI plugin types are...\n\tnone\n\tpmix_v4\n\tpmi2\n"])
def test_a_slurm_with_a_pmix_plugin_is_taken(types: str) -> None:
    check_pmix(mpirun(Flavour.SRUN), types)


def test_a_slurm_without_a_pmix_plugin_is_refused_with_the_next_step() -> None:
    with pytest.raises(UserError, match=r"has no PMIx plugin, .* ask the site for it, or leave `mpirun: srun` out"):
        check_pmix(mpirun(Flavour.SRUN), "MPI plugin types are...\n\tnone\n\tcray_shasta\n\tpmi2\n")


@pytest.mark.parametrize("flavour", [Flavour.MPICH, Flavour.INTEL])
def test_a_single_host_of_hydra_has_no_slots_for_intel_takes_them_for_its_name(flavour: Flavour) -> None:
    argv = mpirun_argv(mpirun(flavour), nodes(5), ())
    assert argv[argv.index("-hosts") + 1] == "node-0"
    assert argv[argv.index("-n") + 1] == "5"


@pytest.mark.parametrize("flavour", [Flavour.OPEN_MPI_5, Flavour.OPEN_MPI_4, Flavour.MPICH])
def test_a_flag_of_the_users_takes_the_place_of_ours(flavour: Flavour) -> None:
    argv = mpirun_argv(mpirun(flavour), nodes(2, 2), ("-bind-to", "core"))
    assert [word.lstrip("-") for word in argv].count("bind-to") == 1
    assert argv[-3:] == ("-bind-to", "core", WRAPPER)


@given(
    flavour=st.sampled_from([flavour for flavour in Flavour if flavour is not Flavour.SRUN]),
    slots=st.lists(st.integers(1, 64), min_size=2, max_size=40),
    extra=st.lists(st.sampled_from(["-x", "--verbose", "A=1"]), max_size=3),
)
def test_every_node_is_named_once_with_its_slots_in_order(flavour: Flavour, slots: list[int], extra: list[str]) -> None:
    argv = mpirun_argv(mpirun(flavour), nodes(*slots), tuple(extra))
    hosts = argv[next(i for i, word in enumerate(argv) if word in ("--host", "-hosts")) + 1]
    size = argv[next(i for i, word in enumerate(argv) if word in ("-np", "-n")) + 1]
    assert hosts == ",".join(f"node-{index}:{count}" for index, count in enumerate(slots))
    assert size == str(sum(slots))
    assert argv.count(REMOTE_SHELL) == 1
    assert argv[-1] == WRAPPER


def test_loopback_is_used_only_where_all_nodes_are_this_machine() -> None:
    emulated = launcher_environ(Flavour.OPEN_MPI_5, Placement(nodes(2, 2), "4711"))
    real = launcher_environ(Flavour.OPEN_MPI_5, Placement(nodes(2, 2, address="10.0.0.#"), "4711"))
    assert emulated["OMPI_MCA_btl_tcp_if_include"] == "lo"
    assert "OMPI_MCA_btl_tcp_if_include" not in real
    assert real["OMPI_MCA_btl_sm_backing_directory"] == SHARED_MEMORY


@pytest.mark.parametrize(
    ("flavour", "names"),
    [
        (Flavour.OPEN_MPI_5, {"PRTE_MCA_prte_if_include", "OMPI_MCA_btl_tcp_if_include"}),
        (Flavour.OPEN_MPI_4, {"OMPI_MCA_oob_tcp_if_include", "OMPI_MCA_btl_tcp_if_include"}),
        (Flavour.MPICH, set()),
        (Flavour.INTEL, set()),
    ],
)
def test_open_mpi_is_told_the_network_that_all_nodes_are_in(flavour: Flavour, names: set[str]) -> None:
    machines = nodes(2, 2, address="10.0.0.#")
    environ = launcher_environ(flavour, Placement(machines, "4711", network="10.0.0.0/24"))
    assert {name for name, value in environ.items() if value == "10.0.0.0/24"} == names


def test_an_outer_schedulers_variables_are_known() -> None:
    assert is_scheduler_variable("SLURM_JOB_ID")
    assert not is_scheduler_variable("PATH")


def test_open_mpi_needs_a_host_name_for_each_emulated_node() -> None:
    assert needs_own_host_name(Flavour.OPEN_MPI_5, nodes(2, 2))
    assert needs_own_host_name(Flavour.OPEN_MPI_4, nodes(2, 2))
    assert not needs_own_host_name(Flavour.OPEN_MPI_5, nodes(4))
    assert not needs_own_host_name(Flavour.OPEN_MPI_5, nodes(2, 2, address="10.0.0.#"))
    assert not needs_own_host_name(Flavour.MPICH, nodes(2, 2))
