"""What is said where a host cannot be reached, and that the others do not wait for it for ever."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from .bed import Bed
from .conftest import SshLab

pytestmark = pytest.mark.ssh


def refused(lab: SshLab, hosts: str, *flags: str, **environ: str) -> str:
    """Run on hosts of which one is of no use; gives the run's error, which comes with exit status 3."""
    lab.write("code/none", "")
    done = lab.run("run", "--name", "r", "--hosts", hosts, "--code", "code", *flags, "--", "true", **environ)
    assert done.returncode == 3, done.stderr
    error: str = lab.show("r")["error"]["message"]
    assert error in done.stderr
    return error


def config(lab: SshLab, more: str) -> dict[str, str]:
    """Give the environment in which ssh has more in its configuration."""
    path = lab.write("ssh-config", f"{more}\n{(lab.bed.folder / 'config').read_text()}")
    return {"REGIMENT_SSH": f"ssh -F {path}"}


def test_an_unknown_host_key_is_told_with_the_next_step(ssh_lab: SshLab) -> None:
    nobody = config(ssh_lab, f"Host h2\n  UserKnownHostsFile {ssh_lab.folder}/none\n")
    assert "node-1 h2 has a host key that is not known here; connect once by hand and compare it: ssh h2" in refused(
        ssh_lab, "h1,h2", **nobody
    )


def test_a_changed_host_key_is_told_with_the_next_step(ssh_lab: SshLab) -> None:
    key = ssh_lab.folder / "other"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
    ssh_lab.write("known", f"{ssh_lab.bed.net}.2 {key.with_suffix('.pub').read_text()}")
    changed = config(ssh_lab, f"Host h2\n  UserKnownHostsFile {ssh_lab.folder}/known\n")
    assert "h2 has another host key than the one that is known" in refused(ssh_lab, "h1,h2", **changed)


def test_a_host_that_wants_a_password_is_told_with_the_next_step(ssh_lab: SshLab) -> None:
    none = config(ssh_lab, "Host h2\n  PubkeyAuthentication no\n")
    error = refused(ssh_lab, "h1,h2", **none)
    assert "h2 lets nobody in without a password, or not this user (publickey)" in error
    assert "ssh-copy-id h2" in error


def test_a_name_that_is_no_host_is_told(ssh_lab: SshLab) -> None:
    assert "nowhere.invalid is no name that is known here" in refused(ssh_lab, "h1,nowhere.invalid")


def test_a_host_without_sshd_is_told(ssh_lab: SshLab) -> None:
    with socket.socket() as free:
        free.bind(("", 0))  # And nobody listens.
        port = free.getsockname()[1]
        closed = config(ssh_lab, f"Host h2\n  Port {port}\n")
        assert "h2 refuses connections: no sshd listens there" in refused(ssh_lab, "h1,h2", **closed)


def test_a_host_without_python_is_told(ssh_lab: SshLab) -> None:
    ssh_lab.run("compute", "add", "lab", "--type", "ssh", "--hosts", "h1", "--python", "/opt/none/python")
    ssh_lab.write("code/none", "")
    done = ssh_lab.run("run", "--name", "r", "--compute", "lab", "--code", "code", "--", "true")
    assert done.returncode == 3
    assert (
        "h1 has no Python at /opt/none/python; install it there, or name the one that it has with --python"
        in (ssh_lab.show("r")["error"]["message"])
    )


def test_too_old_a_python_is_told(ssh_lab: SshLab) -> None:
    # A Python of any version runs the first words; this one takes itself for an older one.
    old = ssh_lab.bed.folder / "python3.8"
    old.write_text(
        f'#!/bin/sh\nshift\nexec {sys.executable} -I -c "import sys; sys.version_info = (3, 8); '
        'sys.version = \'3.8.20 (default)\'; exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    ssh_lab.run("compute", "add", "lab", "--type", "ssh", "--hosts", "h1", "--python", str(old))
    ssh_lab.write("code/none", "")
    done = ssh_lab.run("run", "--name", "r", "--compute", "lab", "--code", "code", "--", "true")
    assert done.returncode == 3
    assert f"h1 has Python 3.8.20 as {old}, and Regiment needs 3.10 or newer" in ssh_lab.show("r")["error"]["message"]


def test_a_host_name_that_looks_like_an_option_is_refused(ssh_lab: SshLab) -> None:
    done = ssh_lab.run("run", "--hosts=-oProxyCommand=touch owned", "--", "true")
    assert done.returncode == 2
    assert "is no host name" in done.stderr


def test_what_a_shell_prints_of_itself_does_no_harm(ssh_lab: SshLab, bed: Bed) -> None:
    # As a `.bashrc` that greets does, or a banner.
    greeting = ssh_lab.bed.folder / "greeting"
    greeting.write_text('#!/bin/sh\necho "Welcome!"; printf "no end of line"; exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    greeting.chmod(0o755)
    bed.start_sshd("h2", f"ForceCommand {greeting}")
    try:
        ssh_lab.write("code/none", "")
        done = ssh_lab.run("run", "--hosts", "h1,h2", "--code", "code", "--", "hostname")
        assert (done.returncode, done.stdout.count("h2\n")) == (0, 1), done.stderr
    finally:
        bed.start_sshd("h2")


def test_it_is_said_which_host_is_waited_for(ssh_lab: SshLab, bed: Bed) -> None:
    # It lets us in, and then nothing more comes.
    bed.start_sshd("h2", "ForceCommand cat > /dev/null")
    try:
        ssh_lab.write("code/none", "")
        run = ssh_lab.start("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--", "true")
        events = ssh_lab.run_folder("r") / "events.jsonl"
        ssh_lab.wait_until(lambda: events.exists() and "1/2 up, waiting: h2 (starting Python" in events.read_text())
        assert ssh_lab.run("cancel", "r").returncode == 0
        run.communicate()
        assert run.returncode == 4
    finally:
        bed.start_sshd("h2")


@pytest.mark.slow
def test_a_host_that_no_route_leads_to_is_told(ssh_lab: SshLab) -> None:
    # An address of their network that nobody has, as that of a machine that is switched off.
    nobody = config(ssh_lab, f"Host h2\n  HostName {ssh_lab.bed.net}.200\n")
    assert "h2 cannot be reached: no route to it; see that it is up" in refused(ssh_lab, "h1,h2", **nobody)
