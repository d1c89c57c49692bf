"""What is read of a shell line and of Python's own arguments is what bash and Python read of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiment.distribution.pythonline import NotPlain, PythonCall, python_call, shell_words

VARIABLES = {"RANK": "3", "NAME": "a/b,c=d", "BLANK": "a b", "EMPTY": "", "STAR": "*", "HOME": "/root"}

pieces = st.sampled_from(
    """
    python -u train.py --lr=0.1 a,b x^y 50% @file key: $RANK ${RANK} $NAME $BLANK $EMPTY $STAR $UNSET $1 $ ${RANK:-1}
    'a\tb' 'it' '$RANK' "$RANK" "a $NAME b" "$BLANK" "a\\b" "" '' " ' * & $ ` ~ ~/x {a,b} {a} * ? [a] # ! \\
    ; | < > ( ) =
    """.split()
)
blanks = st.sampled_from([" ", "  ", "\t", " \\\n", "\\\n ", "\\\n", "\n", ""])
lines = st.lists(st.tuples(pieces, blanks), min_size=1, max_size=6).map(
    lambda parts: "python " + "".join(piece.strip("\n") + blank for piece, blank in parts)
)


def words_of_bash(line: str, variables: Mapping[str, str]) -> list[str]:
    """The words that bash makes of it: a function stands for the program and prints them."""
    program = f'python() {{ printf "%s\\0" python "$@"; }}\n{line}\n'
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", program],
        env={**variables, "PATH": "/nowhere"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\0")[:-1]


@given(lines)
@settings(max_examples=100)
def test_a_line_that_is_read_is_read_as_bash_reads_it(line: str) -> None:
    try:
        words = shell_words(line, VARIABLES)
    except NotPlain:
        return
    assert list(words) == words_of_bash(line, VARIABLES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python train.py", ["python", "train.py"]),
        ("  python -u  train.py\n", ["python", "-u", "train.py"]),
        (
            "python train.py \\\n  --lr 0.1 \\\n --name 'a  $b'",
            ["python", "train.py", "--lr", "0.1", "--name", "a  $b"],
        ),
        ('python train.py --at="x $RANK" $NAME', ["python", "train.py", "--at=x 3", "a/b,c=d"]),
        ("python train.py '' \"\"", ["python", "train.py", "", ""]),
    ],
)
def test_plain_lines_are_read(line: str, words: list[str]) -> None:
    assert list(shell_words(line, VARIABLES)) == words == words_of_bash(line, VARIABLES)


LEFT_TO_A_SHELL = """\
python a.py; b
python a.py | tee x
python a.py &
python a.py > x
python $(which x)
python `x`
python a.py ~/x
python *.py
python {a,b}.py
python $BLANK
python $EMPTY
python $UNSET
python $RANDOM
python $1
python ${RANK:-1}
A=1 python a.py
exec python a.py
python a.py # x
python a\\ b.py
python "a
python 'a
! python a.py"""


@pytest.mark.parametrize("line", [*LEFT_TO_A_SHELL.splitlines(), "cd x\npython a.py", "python a\\\nb.py", "", " "])
def test_all_else_is_left_to_a_shell(line: str) -> None:
    with pytest.raises(NotPlain):
        shell_words(line, VARIABLES)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("python train.py -x", PythonCall(("python", "train.py"), ("-x",), "train.py")),
        ("python -u -O -W error a.py -m", PythonCall(("python", "-u", "-O", "-W", "error", "a.py"), ("-m",), "a.py")),
        ("python -m pkg.mod 1 2", PythonCall(("python", "-m", "pkg.mod"), ("1", "2"), None, is_module=True)),
        ("python3 -c pass 1", PythonCall(("python3", "-c", "pass"), ("1",), None)),
    ],
)
def test_pythons_own_arguments_are_told_from_the_programs(words: str, call: PythonCall) -> None:
    assert python_call(words.split()) == call


@pytest.mark.parametrize(
    "words", ["python", "python -u", "python -", "python -I a.py", "python -E -S a.py", "python -i a.py", "python -m"]
)
def test_other_uses_of_python_are_not_taken(words: str) -> None:
    with pytest.raises(NotPlain):
        python_call(words.split())
