"""The compute targets of a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import Unknown


@dataclass(frozen=True)
class ComputeTarget:
    """A named place to run."""

    name: str
    type: str
    """`local`, and whatever `regiment compute add --type` knows."""


class ComputeTargets(Mapping[str, ComputeTarget]):
    """A workspace's compute targets by name; `local` always is there."""

    def __init__(self, targets: Mapping[str, ComputeTarget]) -> None:
        self._targets = targets

    def __getitem__(self, name: str) -> ComputeTarget:
        found = self._targets.get(name)
        if found is None:
            raise Unknown(
                f"there is no compute target {name!r}; the workspace has {', '.join(self._targets)}, and "
                f"'regiment compute add {name} --type local' adds it"
            )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return repr(dict(self._targets))
