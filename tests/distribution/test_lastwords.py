"""The exception a process died of, found in what it printed last."""

from __future__ import annotations

import pytest

from regiment.distribution.lastwords import LoggedException, last_exception

PLAIN = """\
epoch 3
Traceback (most recent call last):
  File "/home/ann/train.py", line 9, in <module>
    main()
    ^^^^^^
  File "/home/ann/data.py", line 3, in load
    return json.loads(text)
  File "/usr/lib/python3.11/json/decoder.py", line 353, in raw_decode
    obj, end = self.scan_once(s, idx)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""
CHAINED = """\
Traceback (most recent call last):
  File "train.py", line 2, in step
    raise ValueError("bad batch")
ValueError: bad batch

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "train.py", line 6, in <module>
    raise RuntimeError("step failed") from error
RuntimeError: step failed
"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "train.py", line 7, in <module>
  |     raise ExceptionGroup("loaders", errors)
  | ExceptionGroup: loaders (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "train.py", line 2, in load
    |     raise error
    | ValueError: 1
    +---------------- 2 ----------------
    | OSError: bare
    +------------------------------------
"""
WORKER = """\
Traceback (most recent call last):
  File "train.py", line 9, in <module>
    for batch in loader:
  File "/venv/lib/python3.11/site-packages/torch/_utils.py", line 733, in reraise
    raise exception
ValueError: Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/torch/utils/data/_utils/worker.py", line 349, in _worker_loop
    data = fetcher.fetch(index)
  File "data.py", line 12, in __getitem__
    raise ValueError("sample 7")
ValueError: sample 7

"""
SEGFAULT = """\
Fatal Python error: Segmentation fault

Current thread 0x00007f8d1e5f4740 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "crash.py", line 3 in crash
  File "crash.py", line 4 in <module>

Extension modules: numpy.core._multiarray_umath (total: 1)
"""
DEEP = """\
Traceback (most recent call last):
  File "a.py", line 1, in f
  [Previous line repeated 996 more times]
RecursionError: maximum recursion depth exceeded
"""
TERMINATE = """\
terminate called after throwing an instance of 'std::runtime_error'
  what():  NCCL communicator was aborted
"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            PLAIN,
            "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0) at /home/ann/data.py:3",
        ),
        (CHAINED, "RuntimeError: step failed at train.py:6"),
        (GROUP, "ExceptionGroup: loaders (2 sub-exceptions) at train.py:7"),
        (WORKER, "ValueError: sample 7 at data.py:12"),
        (SEGFAULT, "Fatal Python error: Segmentation fault at crash.py:3"),
        (TERMINATE, "std::runtime_error: NCCL communicator was aborted"),
        (TERMINATE + SEGFAULT, "std::runtime_error: NCCL communicator was aborted at crash.py:3"),
        (
            "  File \"bad.py\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed\n",
            "SyntaxError: '(' was",
        ),
        (PLAIN + "AssertionError\n", "json.decoder.JSONDecodeError"),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\nAssertionError\n',
            "AssertionError at a.py:1",
        ),
        (DEEP, "RecursionError: maximum recursion depth exceeded at a.py:1"),
    ],
)
def test_the_last_exception_is_found_with_the_innermost_frame_of_the_users(log: str, said: str) -> None:
    assert str(last_exception(log.splitlines())).startswith(said)


def test_what_an_exception_came_of_is_behind_it() -> None:
    found = last_exception(CHAINED.splitlines())
    assert found is not None
    assert found.behind == (LoggedException("ValueError", "bad batch", "train.py", 2, "step"),)


def test_the_members_of_a_group_are_behind_it() -> None:
    found = last_exception(GROUP.splitlines())
    assert found is not None
    assert [str(member) for member in found.behind] == ["ValueError: 1 at train.py:2", "OSError: bare"]


def test_the_rank_that_pytorch_writes_before_each_line_is_no_part_of_it() -> None:
    lines = [f"[rank3]: {line}" for line in PLAIN.splitlines()]
    assert last_exception(lines) == last_exception(PLAIN.splitlines())


def test_lines_after_a_traceback_do_not_hide_it() -> None:
    after = ["[rank0]:[W1121 ProcessGroup.hpp:941] Warning: destroy_process_group() was not called", "wandb: synced"]
    assert last_exception([*PLAIN.splitlines(), *after]) == last_exception(PLAIN.splitlines())


@pytest.mark.parametrize("log", ["", "epoch 1\nloss: 3.2\n", "ValueError: only talked about\n", 'File "x", line 3\n'])
def test_where_nothing_was_raised_there_is_no_exception(log: str) -> None:
    assert last_exception(log.splitlines()) is None


def test_a_traceback_that_is_cut_off_at_its_end_is_none() -> None:
    assert last_exception(PLAIN.splitlines()[:-1]) is None
