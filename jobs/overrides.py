"""`--set a.b=c`: changes to a job file's tree before it is read."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Fault
from .source import parse_value
from .syntax import MAX_DEPTH
from .tree import Broken, Entry, Place, Scalar, Section, Tree, shorten


def apply_overrides(tree: Section, overrides: Sequence[str]) -> tuple[Section, tuple[Fault, ...]]:
    """Give the tree with every override applied, the later over the earlier, and what is wrong with them."""
    faults: list[Fault] = []
    for override in overrides:
        file = f"--set {shorten(override)}"
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            faults.append(Fault(file, None, "", "expected KEY=VALUE, such as resources.instance_count=2"))
            continue
        if len(keys) > MAX_DEPTH:
            faults.append(Fault(file, None, "", f"the key has more than {MAX_DEPTH} parts; correct it"))
            continue
        source = parse_value(text, file, shorten(path.strip()))
        faults += source.faults
        if source.tree is not None:
            changed = _replace(tree, keys, source.tree, Place(file, None), faults)
            assert isinstance(changed, Section)
            tree = changed
    return tree, tuple(faults)


def _replace(tree: Tree, keys: Sequence[str], value: Tree, place: Place, faults: list[Fault]) -> Tree:
    """Give the tree with `value` under the keys; where that cannot be, a fault and the tree as it was."""
    sections: list[Section] = []
    for index in range(len(keys)):
        if isinstance(tree, Scalar) and tree.value is None:  # `tags:` with nothing after it
            tree = Section(tree.place, {})
        if not isinstance(tree, Section):
            if not isinstance(tree, Broken):
                faults.append(Fault(place.file, None, shorten(".".join(keys)), _refusal(keys[:index], tree)))
            return sections[0]
        sections.append(tree)
        entry = tree.entries.get(keys[index])
        tree = entry.value if entry is not None else Section(place, {})
    for key, outer in zip(reversed(keys), reversed(sections), strict=True):
        old = outer.entries.get(key)
        # A key that stays keeps its line, for what is wrong beside the new value.
        at = place if old is None or value.place == place else old.place
        value = Section(outer.place, {**outer.entries, key: Entry(at, value)})
    return value


def _refusal(keys: Sequence[str], tree: Tree) -> str:
    name = shorten(".".join(keys))
    if isinstance(tree, Scalar):
        where = "" if tree.place.line is None else f" on line {tree.place.line}"
        return f"'{name}' is the single value '{shorten(tree.text)}'{where}, with nothing below it; set '{name}' itself"
    return f"'{name}' is a list, whose items cannot be set one by one; set '{name}' itself, as [a, b]"
