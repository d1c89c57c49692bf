"""What comes from nodes is written where they may write, and nowhere else, whatever they send."""

from __future__ import annotations

import hashlib
import os
import resource
from binascii import b2a_base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.workspace import RunFolder
from regiment.launcher.coordinator.apart import ApartNode
from regiment.launcher.coordinator.spreading import Spreading
from regiment.launcher.node.contentcache import ContentCache
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.messages import AgentHello
from regiment.launcher.node.parts import Form, Part
from regiment.launcher.node.receiving import Receiver


class Sender:
    """Numbers the parts that a node sends."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._number = 0

    def send(self, path: str, form: Form, data: bytes = b"", offset: int = 0, **more: object) -> tuple[str, ...]:
        """Send a part; gives what was wrong with it."""
        self._number += 1
        self.receiver.take(Part(self._number, path, form, offset, b2a_base64(data).decode(), **more))  # type: ignore[arg-type]
        return self.receiver.problems()

    def whole(self, path: str, data: bytes) -> tuple[str, ...]:
        """Send a file in one piece."""
        return self.send(path, Form.WHOLE, data, digest=hashlib.sha256(data).hexdigest())

    def link(self, path: str, target: str) -> tuple[str, ...]:
        """Send a link."""
        self._number += 1
        self.receiver.take(Part(self._number, path, Form.LINK, data=target))
        return self.receiver.problems()


def sender(root: Path, index: int = 1, count: int = 2) -> Sender:
    loop, folder = Loop(), RunFolder(root, root / "scratch")
    root.mkdir(exist_ok=True)
    hello = AgentHello(1, index, 1, 1, "h", "a", (), (), "b", root="/node")
    try:
        ignore = lambda *words: None  # noqa: E731
        node = ApartNode(loop, folder, hello, 0, count, ignore, ignore, ignore, ignore, Spreading(None, count, ignore))
        return Sender(node.receiver)
    finally:
        loop.close()


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("form", "path"),
    [
        (Form.WHOLE, "collected/node-1/outputs/../../../run.json"),
        (Form.WHOLE, "/etc/passwd"),
        (Form.WHOLE, "collected/node-1/outputs//x"),
        (Form.WHOLE, "collected/node-1/outputs/\0x"),
        (Form.WHOLE, "collected/node-1/outputs/\ud800"),
        (Form.WHOLE, ""),
        (Form.FOLDER, "collected/node-1/outputs/" + "x/" * 100_000 + "x"),
        (Form.WHOLE, "collected/node-1/outputs"),
        (Form.WHOLE, "collected/node-2/outputs/x"),
        (Form.WHOLE, "outputs/x"),
        (Form.WHOLE, "run.json"),
        (Form.GROWN, "events.jsonl"),
        (Form.GROWN, "logs/azureml/coordinator.log"),
        (Form.GROWN, "logs/x"),
        (Form.GROWN, "attempts/0/azureml-logs/node-0/70_driver_log_0.txt"),
        (Form.GROWN, "attempts/0/azureml-logs/node-1/process_status.json"),
        (Form.GROWN, "attempts/x/azureml-logs/node-1/70_driver_log_0.txt"),
        (Form.GROWN, "attempts/0/azureml-logs/node-1/deep/70_driver_log_0.txt"),
        (Form.GROWN, "metrics/deep/x"),
        (Form.GONE, "collected/node-1/outputs/x"),
        (Form.WHOLE, "logs/node-1/x"),
        (Form.KNOWN, "code/x"),
        (Form.SEEN, "inputs/0"),
    ],
)
def test_a_node_writes_its_own_files_only(tmp_path: Path, form: Form, path: str) -> None:
    node = sender(tmp_path / "run")
    assert node.send(path, form, b"x", digest=hashlib.sha256(b"x").hexdigest())
    assert [name for name in below(tmp_path) if not (tmp_path / name).is_dir()] == []


def test_node_0_leaves_our_own_logs_alone(tmp_path: Path) -> None:
    node = sender(tmp_path / "run", index=0)
    assert node.send("logs/azureml/coordinator.log", Form.GROWN, b"x")
    assert node.link("logs/azureml", "x")
    assert not node.send("logs/x", Form.GROWN, b"x")
    assert not node.whole("outputs/x", b"x")
    assert below(tmp_path / "run") == ["logs", "logs/x", "outputs", "outputs/x"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "a/../../../x", "a/..", "../../../../x", "x\0", "\ud800"])
def test_links_lead_nowhere_else(tmp_path: Path, target: str) -> None:
    node = sender(tmp_path / "run")
    assert node.link("collected/node-1/outputs/a/link", target)
    assert not (tmp_path / "run/collected/node-1/outputs/a/link").is_symlink()


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    node, outputs = sender(tmp_path / "run"), tmp_path / "run/collected/node-1/outputs"
    assert not node.link("collected/node-1/outputs/a/up", "..")
    assert node.whole("collected/node-1/outputs/a/up/x", b"x")
    assert not (outputs / "x").exists()
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    live = tmp_path / "run/logs/node-1/x"
    live.parent.mkdir(parents=True)
    live.symlink_to(outside)  # As the job may do on a node that sees the folder.
    assert node.send("logs/node-1/x", Form.GROWN, b"x")
    assert outside.read_text() == "theirs"


def test_what_comes_twice_is_written_once(tmp_path: Path) -> None:
    node = sender(tmp_path / "run")
    part = Part(1, "logs/node-1/x", Form.GROWN, 0, b2a_base64(b"one").decode())
    assert node.receiver.take(part)
    assert not node.receiver.take(part)
    assert node.receiver.take(Part(2, "logs/node-1/x", Form.GROWN, 3, b2a_base64(b"two").decode()))
    assert (tmp_path / "run/logs/node-1/x").read_bytes() == b"onetwo"


def test_a_file_is_there_when_it_is_whole_and_as_it_was_sent(tmp_path: Path) -> None:
    node, outputs = sender(tmp_path / "run"), tmp_path / "run/collected/node-1/outputs"
    path = "collected/node-1/outputs/model"
    assert not node.send(path, Form.WHOLE, b"one")
    assert not (outputs / "model").exists()
    digest = hashlib.sha256(b"onetwo").hexdigest()
    assert not node.send(path, Form.WHOLE, b"two", 3, digest=digest, mode=0o4755, modified=10**40)
    assert (outputs / "model").read_bytes() == b"onetwo"
    assert (outputs / "model").stat().st_mode & 0o7777 == 0o755
    assert "not what was sent" in node.send(f"{path}-2", Form.WHOLE, b"x", digest=digest)[0]
    assert (
        "came at byte" in (*node.send(f"{path}-3", Form.WHOLE, b"x"), *node.send(f"{path}-3", Form.WHOLE, b"x", 9))[0]
    )
    assert below(outputs) == ["model"]
    assert not node.whole(path, b"another")
    assert (outputs / "model.1").read_bytes() == b"another"


def test_half_a_file_is_kept_and_called_so(tmp_path: Path) -> None:
    node, outputs = sender(tmp_path / "run"), tmp_path / "run/collected/node-1/outputs"
    node.whole("collected/node-1/outputs/first", b"first")
    node.send("collected/node-1/outputs/second", Form.WHOLE, b"half")
    node.receiver.end()
    assert below(outputs) == ["first", "second.partial"]
    assert (outputs / "second.partial").read_bytes() == b"half"
    assert node.receiver.partial == "collected/node-1/outputs/second.partial"
    assert node.receiver.files == 1


def test_a_node_that_comes_back_goes_on_with_its_logs(tmp_path: Path) -> None:
    path = "attempts/0/azureml-logs/node-1/70_driver_log_1.txt"
    sender(tmp_path / "run").send(path, Form.GROWN, b"first life\n")
    again = sender(tmp_path / "run")
    again.send(path, Form.GROWN, b"second")
    again.send(path, Form.GROWN, b" life\n", 6)
    assert (tmp_path / "run" / path).read_bytes() == b"first life\nsecond life\n"
    assert again.receiver.size_of(path) == 23


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let the kernel refuse every byte of a file beyond that many, as a full disk does."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_what_a_full_disk_does_not_take_is_said_once_and_counted(tmp_path: Path) -> None:
    node, path = sender(tmp_path / "run"), "logs/node-1/x"
    with files_no_larger_than(10):
        assert not node.send(path, Form.GROWN, b"12345678")
        assert "File too large" in node.send(path, Form.GROWN, b"abcdefgh", 8)[0]
        assert not node.send(path, Form.GROWN, b"ABCDEFGH", 16)
        assert "File too large" in node.whole("collected/node-1/outputs/big", b"x" * 20)[0]
    assert not node.send(path, Form.GROWN, b"end", 24)
    assert (tmp_path / "run" / path).read_bytes() == b"12345678abend"
    assert node.receiver.dropped == 14
    assert below(tmp_path / "run/collected/node-1/outputs") == []


_FORMS = st.sampled_from(list(Form))
_NAMES = st.sampled_from(
    ["collected", "node-1", "node-0", "outputs", "logs", "attempts", "0", "..", ".", "", "x", "metrics"]
)


@given(st.lists(st.tuples(_FORMS, st.lists(_NAMES, max_size=6), st.binary(max_size=4), st.lists(_NAMES, max_size=4))))
def test_no_stream_of_parts_gets_out_of_what_is_a_nodes_own(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[Form, list[str], bytes, list[str]]]
) -> None:
    top = tmp_path_factory.mktemp("any")
    node = sender(top / "run")
    for form, names, data, target in parts:
        if form is Form.LINK:
            node.link("/".join(names), "/".join(target))
        else:
            node.send("/".join(names), form, data, digest=hashlib.sha256(data).hexdigest())
    node.receiver.end()
    assert [path.name for path in top.iterdir()] == ["run"]
    assert {path.name for path in (top / "run").iterdir()} <= {"collected", "logs", "metrics", "attempts"}
    for path in top.rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(top / "run")


def test_contents_are_kept_from_run_to_run_and_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    cache = ContentCache(str(tmp_path / "cache"), most=10)

    def receiver(name: str) -> Sender:
        (tmp_path / name).mkdir()
        return Sender(Receiver(tmp_path / name, lambda form, names: 1, cache=cache))

    def missing(node: Sender, path: str, data: bytes) -> tuple[str, ...]:
        node.send(path, Form.KNOWN, offset=len(data), digest=hashlib.sha256(data).hexdigest())
        return node.receiver.missing()

    first, second = receiver("first"), receiver("second")
    assert missing(first, "code/x", b"123456") == ("code/x",)
    first.whole("code/x", b"123456")
    first.whole("inputs/0/x", b"not asked for")
    assert missing(second, "code/x", b"123456") == ()
    assert (tmp_path / "second/code/x").read_bytes() == b"123456"
    cache.tidy()
    assert len(below(tmp_path / "cache")) == 1
    assert missing(second, "code/y", b"abcdefgh") == ("code/y",)
    second.whole("code/y", b"abcdefgh")
    cache.tidy()
    assert [(tmp_path / "cache" / name).read_bytes() for name in below(tmp_path / "cache")] == [b"abcdefgh"]
