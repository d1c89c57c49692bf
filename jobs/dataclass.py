"""`dataclass` and its kin, as the standard library's, for processes that are to start in no time.

The standard library writes and compiles six methods for each class as soon as it is defined, and imports a parser of
Python for that: 1 ms a class. Command, coordinator and agent have 100 classes each and start one after the other,
so that this was half of the time until a rank's first line. Here methods are shared, and a class's `__init__`
is written when its first object is made, which for most classes is never.

What is left out is what nobody here uses: `order`, `kw_only`, `InitVar`, `__post_init__`, and fields that are not
arguments. A type checker sees the standard library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import MISSING as MISSING
    from dataclasses import FrozenInstanceError as FrozenInstanceError
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import is_dataclass as is_dataclass
    from dataclasses import replace as replace
else:
    from operator import attrgetter

    MISSING = object()
    """A field's default, where it has none."""
    _FIELDS = "__fields_of_dataclass__"

    class FrozenInstanceError(AttributeError):
        """Somebody tried to change an object that does not change."""

    class _Field:
        """One field of a class."""

        __slots__ = ("compare", "default", "default_factory", "name")

        def __init__(self, default, default_factory, compare):
            self.name = ""
            self.default = default
            self.default_factory = default_factory
            self.compare = compare

    def field(*, default=MISSING, default_factory=MISSING, compare=True):
        """Give a field's default, or what makes it for each object, and whether objects differ where it does."""
        return _Field(default, default_factory, compare)

    def fields(kind):
        """Give the fields of a class, or of an object's class, in their order."""
        return tuple(getattr(kind, _FIELDS).values())

    def is_dataclass(thing):
        """Say whether this is such a class, or an object of one."""
        return hasattr(thing, _FIELDS)

    def replace(thing, /, **changes):
        """Give another object, equal but for what is named."""
        known = getattr(thing, _FIELDS)
        own = getattr(thing, "__dict__", ())
        if len(own) == len(known) and changes.keys() <= known.keys():
            # Nothing but the fields is there, no cached property: what most copies are made of, in large runs many.
            copy = object.__new__(type(thing))
            copy.__dict__.update(own, **changes)
            return copy
        for name in known:
            if name not in changes:
                changes[name] = getattr(thing, name)
        return type(thing)(**changes)

    def dataclass(kind=None, /, *, frozen=False, slots=False):
        """Make a class with annotations a class of data."""
        if kind is None:
            return lambda kind: _dataclass(kind, frozen, slots)
        return _dataclass(kind, frozen, slots)

    def _dataclass(kind, frozen, slots):
        found = {}
        for base in reversed(kind.__mro__[1:]):
            found.update(getattr(base, _FIELDS, {}))
        for name, annotation in kind.__annotations__.items():
            if not annotation.startswith("ClassVar"):
                found[name] = _field_of(kind, name)
        methods = {
            _FIELDS: found,
            "__match_args__": tuple(found),
            "__init__": _first_init(),
            "__repr__": _repr,
            "__eq__": _eq,
            "__hash__": _hash if frozen else None,
            "_compared": _getter([name for name, item in found.items() if item.compare]),
        }
        if frozen:
            methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
        own = {name: method for name, method in methods.items() if name not in kind.__dict__}
        if slots:
            return _with_slots(kind, own)
        for name, method in own.items():
            setattr(kind, name, method)
        return kind

    def _field_of(kind, name):
        default = kind.__dict__.get(name, MISSING)
        made = default if isinstance(default, _Field) else _Field(default, MISSING, compare=True)
        made.name = name
        if made is default:
            # As everywhere: what an object does not have, its class does not seem to have either.
            if made.default is MISSING:
                delattr(kind, name)
            else:
                setattr(kind, name, made.default)
        return made

    def _with_slots(kind, own):
        """Make the class once more: only a new one can have slots."""
        names = own[_FIELDS]
        old = {name: value for name, value in kind.__dict__.items() if name not in ("__dict__", "__weakref__", *names)}
        inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__slots__", ())}
        slots = tuple(name for name in names if name not in inherited)
        return type(kind)(kind.__name__, kind.__bases__, {**old, **own, "__slots__": slots})

    def _first_init():
        """Give an `__init__` that writes the class's own when it is first called, and goes on there."""
        written = []

        def first_init(self, *args, **kwargs):
            if not written:
                mine = (base for base in type(self).__mro__ if base.__dict__.get("__init__") is first_init)
                kind = next(mine, None)
                if kind is not None:  # Else another thread has just been here.
                    written.append(_written_init(kind))
                    kind.__init__ = written[0]
            written[0](self, *args, **kwargs)

        return first_init

    def _written_init(kind):
        has_slots = "__slots__" in kind.__dict__
        names, arguments, lines = {"_set": object.__setattr__, "_missing": MISSING}, [], []
        for name, item in getattr(kind, _FIELDS).items():
            value = name
            if item.default is not MISSING:
                names[f"_default_{name}"] = item.default
                arguments.append(f"{name}=_default_{name}")
            elif item.default_factory is not MISSING:
                names[f"_make_{name}"] = item.default_factory
                arguments.append(f"{name}=_missing")
                value = f"_make_{name}() if {name} is _missing else {name}"
            else:
                arguments.append(name)
            lines.append(f" _set(self, {name!r}, {value})" if has_slots else f" _have[{name!r}] = {value}")
        head = [] if has_slots else [" _have = self.__dict__"]
        text = "\n".join([f"def __init__(self, {', '.join(arguments)}):", *head, *lines, " pass"])
        exec(text, names)
        made = names["__init__"]
        made.__qualname__ = f"{kind.__qualname__}.__init__"
        return made

    def _getter(names):
        return attrgetter(*names) if names else staticmethod(lambda _: ())

    def _repr(self):
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in getattr(self, _FIELDS))
        return f"{type(self).__qualname__}({values})"

    def _eq(self, other):
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return type(self)._compared(self) == type(self)._compared(other)

    def _hash(self):
        return hash(type(self)._compared(self))

    def _refuse_to_set(self, name, value):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_to_delete(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
