"""What goes into a command arrives whole, in real shells."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regiment.jobs.errors import UserError
from regiment.jobs.expressions import fill, find_expressions, has_unclosed, rewrite_single_braces, substitute

SHELLS = [path for path in map(shutil.which, ("bash", "dash")) if path is not None]
values = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)
hostile = st.text("ab '\"\\$`();&|#!*?~\n<>{}[]=-", max_size=12)


def test_expressions_are_found_once_and_in_order() -> None:
    text = "a ${{inputs.b}} ${{ outputs.a-1 }} ${{inputs.b}} $${{search_space.c.d}} ${inputs.x} {{inputs.y}}"
    assert find_expressions(text) == ("inputs.b", "outputs.a-1", "search_space.c.d")
    assert not has_unclosed(text)
    assert has_unclosed("echo ${{inputs.x}")


def test_single_braces_become_what_azure_makes_of_them() -> None:
    text = "--a {inputs.a} --b '{search_space.b}' {outputs.o}/x {{inputs.c}} ${{inputs.d}} ${HOME} {a,b} ${inputs.e}"
    wanted = "--a ${{inputs.a}} --b '${{search_space.b}}' ${{outputs.o}}/x {{inputs.c}} ${{inputs.d}} ${HOME} {a,b}"
    assert rewrite_single_braces(text) == wanted + " ${inputs.e}"


# Each is a command that must give its program exactly one argument: what stands before it, the value, what follows.
PLACES = [
    ("{} ${{inputs.x}}", "", ""),
    ("{} --flag=${{inputs.x}}/sub", "--flag=", "/sub"),
    ('{} "${{inputs.x}}"', "", ""),
    ('{} "--flag=${{inputs.x}}/sub $HOME_NOT_SET"', "--flag=", "/sub "),
    ("{} '${{inputs.x}}'", "", ""),
    ("{} 'it is $X ${{inputs.x}} \"'", "it is $X ", ' "'),
    ("{} \"a 'b' ${{inputs.x}}\"", "a 'b' ", ""),
    ("{} 'a'\"b\"${{inputs.x}}'c'", "ab", "c"),
    ("{} \\\"${{inputs.x}}\\'", '"', "'"),
    ("A=1 # don't\n{} ${{inputs.x}}", "", ""),
    ("true && ( {} ${{inputs.x}} )", "", ""),
    ('X=${{inputs.x}}; {} "$X"', "", ""),
    ('X="$(printf \'%s.\' "${{inputs.x}}")"; {} "${{X%.}}"'.replace("${{X%.}}", "${X%.}"), "", ""),
    ('X="$(printf \'%s.\' ${{inputs.x}})"; {} "${X%.}"', "", ""),
    ("{} \\\n  ${{inputs.x}} \\\n", "", ""),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("command", "before", "after"), PLACES)
@settings(max_examples=25)
@given(value=values | hostile)
@example(value='it\'s "quoted" $(touch /tmp/x) `id` $HOME \\ a\\\nb !! * ~')
@example(value="")
def test_a_value_arrives_whole_wherever_it_stands(
    shell: str, command: str, before: str, after: str, value: str
) -> None:
    text = substitute(command.replace("{}", "printf '[%s]'"), {"inputs.x": value})
    result = subprocess.run([shell, "-c", text], capture_output=True, text=True, env={}, errors="strict")
    assert (result.stdout, result.stderr) == (f"[{before}{value}{after}]", ""), text


UNSURE = [
    "echo `ls ${{inputs.x}}`",
    'echo "`ls ${{inputs.x}}`"',
    "echo ${Y:-${{inputs.x}}}",
    "echo $((1 + ${{inputs.x}}))",
    "echo $'${{inputs.x}}'",
    "cat <<END\n${{inputs.x}}\nEND\n",
    "echo \\${{inputs.x}}",
    'echo "$(case a in a) echo "${{inputs.x}}";; esac)"',
]


@pytest.mark.parametrize("command", UNSURE)
def test_where_nothing_can_be_quoted_only_plain_values_are_taken(command: str) -> None:
    assert substitute(command, {"inputs.x": "/data/a-1"}) == command.replace("${{inputs.x}}", "/data/a-1")
    with pytest.raises(UserError, match="stands where a shell cannot be given a value with blanks"):
        substitute(command, {"inputs.x": "a b"})


@settings(max_examples=500)
@given(st.text("ab '\"\\$`();#\n<{}", max_size=30), hostile)
def test_any_command_is_either_filled_or_refused(command: str, value: str) -> None:
    with contextlib.suppress(UserError):
        assert substitute(command + "${{inputs.x}}" + command, {"inputs.x": value}).startswith(command)


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match=r"there is no value for '\$\{\{inputs.x\}\}'"):
        substitute("${{inputs.x}}", {})


def test_texts_that_no_shell_reads_get_values_as_they_are() -> None:
    assert fill("a ${{ inputs.x }} b", {"inputs.x": "it's"}) == "a it's b"
