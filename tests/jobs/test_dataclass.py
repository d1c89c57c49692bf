"""Our `dataclass` against the standard library's: the same classes made by both must behave alike."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import regiment.jobs.dataclass as ours

MAKERS = {"the standard library's": dataclasses, "ours": ours}


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]


def pair(maker: Any, **how: bool) -> Any:
    class Pair:
        kinds: ClassVar[int] = 2
        left: int
        right: list[int] = maker.field(default_factory=list)
        note: str = maker.field(default="-", compare=False)

    return maker.dataclass(**how)(Pair)


@pytest.mark.parametrize("how", [{}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}])
def test_objects_are_made_shown_and_compared(maker: Any, how: dict[str, bool]) -> None:
    kind = pair(maker, **how)
    one, other = kind(1), kind(left=1, note="x")
    assert (one.left, one.right, one.note) == (1, [], "-")
    assert one == other and one != kind(2) and one != (1, [])
    assert one.right is not other.right
    assert repr(other).endswith("Pair(left=1, right=[], note='x')")
    assert kind.__match_args__ == ("left", "right", "note")
    assert [item.name for item in maker.fields(kind)] == ["left", "right", "note"]
    assert maker.replace(one, left=3) == kind(3)
    assert maker.is_dataclass(kind) and maker.is_dataclass(one) and not maker.is_dataclass(int)
    assert hasattr(one, "__dict__") != how.get("slots", False)


@pytest.mark.parametrize("arguments", [((), {}), ((1, [], "", 4), {}), ((1,), {"left": 2}), ((1,), {"other": 2})])
def test_wrong_arguments_are_refused(maker: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    values, named = arguments
    for _ in range(2):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            pair(maker)(*values, **named)


def test_the_frozen_ones_cannot_be_changed_and_can_be_keys(maker: Any) -> None:
    class Key:
        name: str
        number: int = 0

    kind = maker.dataclass(frozen=True)(Key)
    one = kind("a")
    changes: list[Callable[[], None]] = [lambda: setattr(one, "name", "b"), lambda: delattr(one, "number")]
    for change in changes:
        with pytest.raises(maker.FrozenInstanceError, match=r"cannot (assign to|delete) field"):
            change()
    assert {one: 1}[kind("a")] == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(pair(maker)(1))


def test_a_class_has_the_fields_of_the_one_it_comes_from_first(maker: Any) -> None:
    class Base:
        first: int = 1

    base = maker.dataclass(frozen=True)(Base)

    class Derived(base):  # type: ignore[misc, valid-type]
        second: int = 2

        def __repr__(self) -> str:
            return "mine"

    derived = maker.dataclass(frozen=True)(Derived)
    assert (derived(5).first, derived(5).second) == (5, 2)
    assert repr(derived()) == "mine"
    assert base() != derived()


def test_it_imports_nothing_that_takes_time() -> None:
    program = (
        "import sys; before = set(sys.modules); import regiment.jobs.dataclass\n"
        "print(*{'ast', 'dataclasses', 'dis', 'inspect'} & (sys.modules.keys() - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_thread_that_was_about_to_make_the_first_object_still_makes_one(maker: Any) -> None:
    kind = pair(maker)
    found = kind.__init__
    assert kind(1).left == 1  # Another thread is quicker.
    late = kind.__new__(kind)
    found(late, 2)
    assert late.left == 2
