"""Metrics: what may be logged, what comes back, and what survives a kill, a fork and a full disk."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.errors import UserError
from regiment.jobs.metric_values import scalar, understood, written
from regiment.jobs.metrics import MetricWriter, read_entries, read_metrics
from tests.timing import fastest


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    made = MetricWriter(tmp_path / "metrics", "rank_0")
    yield made
    made.close()


def metrics(tmp_path: Path) -> dict[str, Any]:
    return read_metrics(tmp_path / "metrics")


def test_one_value_is_itself_and_several_are_a_list(writer: MetricWriter, tmp_path: Path) -> None:
    writer.log("accuracy", 0.9)
    for loss in (3.0, 2, 1.5):
        writer.log("loss", loss)
    writer.log("device", "cpu")
    writer.log("early", True)
    assert metrics(tmp_path) == {"accuracy": 0.9, "loss": [3.0, 2, 1.5], "device": "cpu", "early": True}
    assert type(metrics(tmp_path)["loss"][1]) is int
    assert list(metrics(tmp_path)) == ["accuracy", "loss", "device", "early"]


def test_pieces_of_a_list_follow_one_another(writer: MetricWriter, tmp_path: Path) -> None:
    writer.log_list("all values", [1, 2])
    writer.log_list("all values", (3, 4.5))
    writer.log("all values", 5)
    writer.log_list("one", [7])
    writer.log_list("none", [])
    assert metrics(tmp_path) == {"all values": [1, 2, 3, 4.5, 5], "one": [7], "none": []}


def test_rows_make_a_table(writer: MetricWriter, tmp_path: Path) -> None:
    writer.log_row("one row", {"x": 1, "y": 2.5})
    writer.log_row("y over x", {"x": 1, "y": 2.5})
    writer.log_row("y over x", {"x": 2, "z": "late"})
    writer.log_table("y over x", {"x": [3, 4], "y": [3.5, 4.5]})
    writer.log_table("table", {"x": [1]})
    writer.log_table("mixed", {"x": [1]})
    writer.log("mixed", 2)
    assert metrics(tmp_path) == {
        "one row": {"x": 1, "y": 2.5},
        "y over x": {"x": [1, 2, 3, 4], "y": [2.5, None, 3.5, 4.5], "z": [None, "late", None, None]},
        "table": {"x": [1]},
        "mixed": {"x": [1, None], "mixed": [None, 2]},
    }


def test_steps_and_descriptions_are_kept(writer: MetricWriter, tmp_path: Path) -> None:
    writer.log("loss", 1.0, "what is left to learn", step=10)
    (entry,) = read_entries(tmp_path / "metrics")
    assert (entry.step, entry.description) == (10, "what is left to learn")
    assert entry.writer.startswith(f"rank_0-{os.getpid()}-")


def test_numbers_that_json_has_no_word_for_come_back_and_every_line_is_json(
    writer: MetricWriter, tmp_path: Path
) -> None:
    for value in (math.nan, math.inf, -math.inf, 1e308, 5e-324, 2**63 - 1):
        writer.log("x", value)
    writer.log_list("y", [math.nan, 1])
    writer.log_table("z", {"ünicode ☃": [math.inf]})
    found = metrics(tmp_path)
    assert math.isnan(found["x"][0])
    assert found["x"][1:] == [math.inf, -math.inf, 1e308, 5e-324, 2**63 - 1]
    assert found["z"] == {"ünicode ☃": [math.inf]}
    (path,) = (tmp_path / "metrics").iterdir()
    for line in path.read_bytes().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@given(st.one_of(st.floats(), st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1)))
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    back = understood(json.loads(written(scalar(value, "x"))))
    assert (back == value or math.isnan(value)) and type(back) is type(value)


@pytest.mark.torch
def test_scalars_of_numpy_and_torch_are_plain_numbers(writer: MetricWriter, tmp_path: Path) -> None:
    import numpy as np
    import torch

    for value in (np.float32(0.5), np.float64(0.5), np.array([0.5]), torch.tensor(0.5), torch.tensor([[0.5]])):
        writer.log("x", value)
    writer.log("n", np.int64(3))
    writer.log("b", np.bool_(True))
    writer.log("half", torch.tensor(0.5, dtype=torch.bfloat16), step=np.int32(1))
    writer.log_list("l", np.array([1, 2]))
    writer.log_list("l", torch.tensor([3.5]))
    writer.log_list("l", [torch.tensor(4), Decimal("5.5")])
    expected = {"x": [0.5] * 5, "n": 3, "b": True, "half": 0.5, "l": [1, 2, 3.5, 4, 5.5]}
    assert repr(metrics(tmp_path)) == repr(expected)
    with pytest.raises(UserError, match=r"metric 'x': a torch\.Tensor is not one value .*log_list\(\) takes several"):
        writer.log("x", torch.tensor([1.0, 2.0]))
    with pytest.raises(UserError, match=r"expected a list of values, found a numpy\.ndarray of one"):
        writer.log_list("x", np.array(1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.log("x", None), "metric 'x': expected a number or a text, found None"),
        (lambda w: w.log("x", [1]), "metric 'x': expected a number or a text, found a list"),
        (lambda w: w.log("x", 1j), "found a complex"),
        (lambda w: w.log("x", 10**400), "a whole number of 1329 bits is too large; log it as a float"),
        (lambda w: w.log("x", "x" * 2_000_000), "a text of 2000000 characters is too long"),
        (lambda w: w.log("x", 1.0, step="first"), "metric 'x', step: expected a number, found a str"),
        (lambda w: w.log("", 1), "a metric's name is a text of 1 to 255 characters, not a str"),
        (lambda w: w.log(7, 1), "a metric's name is a text of 1 to 255 characters, not a int"),
        (lambda w: w.log("n" * 256, 1), "its name has 256 characters, 255 are allowed"),
        (lambda w: w.log_list("x", 1), r"expected a list of values, found a int; log\(\) takes a single one"),
        (lambda w: w.log_list("x", "abc"), "expected a list of values, found a str"),
        (lambda w: w.log_list("x", [1, [2]]), "metric 'x', value 1: expected a number or a text, found a list"),
        (lambda w: w.log_row("x", {}), "a row needs a value"),
        (lambda w: w.log_row("x", {"a": None}), "metric 'x', column 'a': expected a number"),
        (lambda w: w.log_table("x", {"a": [1, 2], "b": [1]}), "of different lengths: 'a' has 2, 'b' has 1"),
        (lambda w: w.log_table("x", [1]), "a table is a dict of columns"),
        (lambda w: w.log_table("x", {"a": 1}), "column 'a': expected a list of values"),
    ],
)
def test_what_cannot_be_logged_is_said_and_leaves_nothing(
    writer: MetricWriter, tmp_path: Path, call: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        call(writer)
    assert metrics(tmp_path) == {}


def test_values_of_several_processes_are_in_order_of_logging(tmp_path: Path) -> None:
    one, other = MetricWriter(tmp_path / "metrics", "rank_1"), MetricWriter(tmp_path / "metrics", "rank_0")
    for step in range(3):
        one.log("loss", 2 * step)
        other.log("loss", 2 * step + 1)
    assert metrics(tmp_path) == {"loss": [0, 1, 2, 3, 4, 5]}
    one.close()
    other.close()


FORK = """
import os, sys
from regiment.jobs.metrics import MetricWriter

writer = MetricWriter(sys.argv[1])
writer.log("x", 1)
child = os.fork()
if child == 0:
    writer.log("x", 2)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
writer.log("x", 3)
"""


def test_a_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "metrics")], check=True)
    assert metrics(tmp_path) == {"x": [1, 2, 3]}
    assert len(list((tmp_path / "metrics").iterdir())) == 2


def test_threads_share_a_writer_and_lose_nothing(writer: MetricWriter, tmp_path: Path) -> None:
    def work() -> None:
        for value in range(500):
            writer.log("x", value)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(metrics(tmp_path)["x"]) == sorted(list(range(500)) * 8)


def test_a_killed_process_loses_no_value_that_it_logged(tmp_path: Path) -> None:
    program = (
        "import sys; from regiment.jobs.metrics import MetricWriter; w = MetricWriter(sys.argv[1]); n = 0\n"
        "while True:\n    w.log('n', n); n += 1; print(n, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "metrics")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    process.stdout.close()
    found = metrics(tmp_path)["n"]
    assert found == list(range(len(found))) and len(found) >= said[-1]


def test_a_line_that_was_cut_short_spoils_no_other(writer: MetricWriter, tmp_path: Path) -> None:
    writer.log("x", 1)
    (path,) = (tmp_path / "metrics").iterdir()
    with path.open("ab") as file:
        file.write(b'{"t":1,"q":1,"k":"value","n":"x","v":2\n[]\n{"k":"row","n":"x","v":3,"t":1}\n{"t":1,"q":2,"k":"va')
    assert metrics(tmp_path) == {"x": 1}


FULL_DISK = """
import resource, signal, sys
from regiment.jobs.metrics import MetricWriter

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = MetricWriter(sys.argv[1])
limit(100)
for value in range(5):
    writer.log("x", value)
limit(resource.RLIM_INFINITY)
writer.log("x", 5)
"""


def test_a_full_disk_is_said_once_and_ends_no_training(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", FULL_DISK, str(tmp_path / "metrics")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.count("regiment: metrics cannot be written") == 1
    assert metrics(tmp_path) == {"x": [0, 5]}


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    writer = MetricWriter(tmp_path / "file" / "metrics")
    for value in range(3):
        writer.log("x", value)
    assert capfd.readouterr().err.count("cannot be written") == 1


def test_to_log_a_value_takes_microseconds(writer: MetricWriter) -> None:
    def thousand() -> None:
        for step in range(1000):
            writer.log("loss", 0.123456789, step=step)

    # 3 to 6 microseconds each; the bound leaves room for a machine that does much else.
    assert fastest(thousand, enough=0.03) < 0.03
