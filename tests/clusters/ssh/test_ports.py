"""The port at which processes on several hosts meet, where somebody else takes it."""

from __future__ import annotations

import sys

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

# Rank 0 listens as PyTorch's store does; in the first attempt not before a stranger has taken the port.
MEET = """
import os, socket, time
address, own = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), os.environ["XDG_CACHE_HOME"]
if os.environ["RANK"] == "0":
    if os.environ["REGIMENT_ATTEMPT"] == "0":
        open(f"{own}/port.new", "w").write(str(address[1]))
        os.rename(f"{own}/port.new", f"{own}/port")
        while not os.path.exists(f"{own}/taken"):
            time.sleep(0.02)
    server = socket.create_server(address)
    server.accept()[0].sendall(b"met")
else:
    while True:
        try:
            peer = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    while not peer.recv(3):  # A stranger says nothing, and this waits for as long as he lives.
        time.sleep(0.02)
"""
# The stranger: he is there until the file is gone by which he says so.
TAKE = """
import pathlib, socket, sys, time
server = socket.create_server(("", int(sys.argv[1])))
taken = pathlib.Path(sys.argv[2])
taken.touch()
while taken.exists():
    time.sleep(0.02)
"""


def test_a_port_that_a_stranger_takes_is_an_error_at_once_and_the_next_attempt_has_another(ssh_lab: SshLab) -> None:
    lab, own = ssh_lab, ssh_lab.bed.path("h1", "cache")
    lab.write("code/meet.py", MEET)
    job = "command: python meet.py\ncode: code\nresources: {instance_count: 2}\nregiment: {grace: 1, restarts: 1}\n"
    lab.write("job.yml", job)
    run = lab.start("run", "job.yml", "--name", "r", "--hosts", "h1,h2")
    lab.wait_until((own / "port").exists)
    argv = (sys.executable, "-c", TAKE, (own / "port").read_text(), str(lab.bed.own / "cache/taken"))
    stranger = lab.bed.hosts["h1"].start(*argv)
    try:
        _, err = run.communicate()
        assert run.returncode == 0, err
    finally:
        for name in ("port", "taken"):
            (own / name).unlink(missing_ok=True)
        stranger.wait()
    (ended,) = lab.events("r", "attempt_ended")
    assert "rank 0 on node-0 failed first" in str(ended) and "Address already in use" in str(ended), ended
    failed = next(event["at"] for event in lab.events("r", "process_exited") if event["firstFailure"])
    assert lab.events("r", "stopping")[0]["at"] - failed < 1.0
