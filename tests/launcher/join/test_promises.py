"""What docs/security.md promises of a run over a network."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from regiment.distribution.places.place import Place
from regiment.jobs.errors import UserError
from regiment.launcher.coordinator.entrance import server_context
from regiment.launcher.coordinator.network import Network
from regiment.launcher.join.certificate import make_certificate
from regiment.launcher.join.listening import listen
from regiment.launcher.node.proof import CoordinatorProof
from regiment.launcher.node.tls import fingerprint

from ..conftest import Lab
from .nodes import HeldPort, Joined, ended
from .strangers import hello_of, plain, secure
from .test_losses import all_started


def test_the_key_is_in_no_command_line_no_environment_of_the_job_and_no_file_of_the_run(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    started = all_started(lab, nodes, "--grace", "1")
    key = nodes.key.read_bytes().strip()
    ranks = {row["pid"] for row in lab.status("r")}
    for pid in lab.processes():
        assert key not in lab.command_line(pid)
        environ = lab.environment(pid)
        assert key not in environ
        assert pid not in ranks or b"REGIMENT_KEY_FILE" not in environ
    assert lab.run("cancel", "r").returncode == 0
    ends = [ended(node) for node in started]
    assert all(key.decode() not in node.stdout + node.stderr for node in ends)
    for path in lab.run_folder("r").rglob("*"):
        assert path.is_dir() or path.is_symlink() or not {key, b"PRIVATE KEY"} & set(find(path, key, b"PRIVATE KEY"))


def find(path: Path, *words: bytes) -> list[bytes]:
    text = path.read_bytes()
    return [word for word in words if word in text]


@pytest.mark.parametrize("rank", [0, 1])
def test_nothing_goes_on_without_a_key_that_is_a_secret(lab: Lab, rank: int) -> None:
    nodes = Joined(lab, 2)
    nodes.key.chmod(0o644)
    node = ended(nodes.start(rank, "--", "true"))
    assert node.returncode == 2 and "others may read or change the run's key" in node.stderr
    nodes.key.unlink()
    node = ended(nodes.start(rank, "--", "true", REGIMENT_KEY_FILE=str(lab.folder / "none")))
    assert node.returncode == 2 and "the run's key cannot be read" in node.stderr


def test_nobody_listens_when_the_run_has_ended(lab: Lab) -> None:
    nodes = Joined(lab, 1)
    assert ended(nodes.start(0, "--", "true")).returncode == 0
    with pytest.raises(ConnectionRefusedError):
        plain(nodes.port)


def place(host: str, port: HeldPort) -> Place:
    return Place(2, 0, host, port.number, "", "")


def test_node_0_listens_on_the_interface_that_faces_its_peers_alone() -> None:
    port = HeldPort()
    listener, address = listen(place("127.0.0.1", port))
    with listener:
        assert (listener.getsockname()[0], address) == ("127.0.0.1", "127.0.0.1")
    listener, address = listen(place("192.0.2.1", port))  # Not this machine's, as behind a router that knows better.
    with listener:
        assert listener.getsockname()[0] in ("::", "0.0.0.0") and address == "192.0.2.1"


def test_node_0_says_why_it_cannot_listen() -> None:
    port = HeldPort()
    where = place("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", where.port)), pytest.raises(UserError, match="maybe a second node 0"):
        listen(where)
    with pytest.raises(UserError, match=r"no-such-host\.invalid, is not known"):
        listen(place("no-such-host.invalid", port))


# --- impostors --------------------------------------------------------------------------------------


class Impostor:
    """A TLS server that plays node 0, for one connection after the other."""

    def __init__(self, answer: Callable[[ssl.SSLSocket, bytes], None]) -> None:
        certificate, private_key = make_certificate()
        self._context = server_context(Network("", "", certificate, private_key, 0))
        self._fingerprint = fingerprint(ssl.PEM_cert_to_DER_cert(certificate))
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self._answer(secured, self._fingerprint)
                    while data := secured.recv(4096):
                        self.heard.append(data)
            except OSError:
                pass


def test_a_node_tells_an_impostor_nothing_but_its_proof(lab: Lab) -> None:
    answers: list[bytes] = []

    def answer(connection: ssl.SSLSocket, own_fingerprint: bytes) -> None:
        connection.sendall(CoordinatorProof(os.urandom(32), own_fingerprint).hello)
        answers.append(hello_of(connection))
        connection.sendall(b'{"protocol":1,"proof":"' + b"0" * 64 + b'"}\n')

    impostor = Impostor(answer)
    nodes = Joined(lab, 2, port=impostor.port)
    node = ended(nodes.start(1, "--start-timeout", "1", "--", "true"))
    impostor.close()
    assert node.returncode == 3 and "have not proven the run's key to each other" in node.stderr
    assert len(answers) > 0 and impostor.heard == []


@pytest.mark.slow
def test_nobody_can_stand_between_a_node_and_its_coordinator(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--start-timeout", "5", "--", "true")
    lab.wait_until(lambda: (lab.run_folder("r") / "events.jsonl").exists())

    def pass_on(connection: ssl.SSLSocket, own_fingerprint: bytes) -> None:
        with secure(nodes.port) as real:
            connection.sendall(hello_of(real))
            real.sendall(hello_of(connection))
            answer = real.recv(4096)  # It proves something about another certificate, and so nothing.
            assert answer == b""

    between = Impostor(pass_on)
    node = ended(nodes.start(1, "--start-timeout", "1", "--", "true", REGIMENT_MASTER=f"127.0.0.1:{between.port}"))
    between.close()
    assert node.returncode == 3 and between.heard == []
    assert ended(first).returncode == 3
    assert any("a wrong key, or somebody between" in note["text"] for note in lab.events("r", "note"))
