"""Which runs somebody looks for."""

from __future__ import annotations

from collections.abc import Mapping

from .dataclass import dataclass, field
from .record import RunRecord, RunStatus


@dataclass(frozen=True)
class RunFilter:
    """What is asked of runs; what is None or empty rules nothing out."""

    experiment: str | None = None
    status: RunStatus | None = None
    type: str | None = None
    """A `RunType`'s value."""
    parent: str | None = None
    """Only children of this run."""
    ancestor: str | None = None
    """Only runs anywhere below this run."""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    """Only runs with these tags; None for a tag of whatever value."""
    properties: Mapping[str, str | None] = field(default_factory=dict)
    """The same for properties."""
    archived: bool | None = False
    """Only archived runs, only others, or (None) both."""
    top_level: bool = False
    """Whether runs that have a parent are left out."""
    hidden_experiments: frozenset[str] = frozenset()
    """Experiments whose runs are left out."""

    def admits(self, record: RunRecord) -> bool:
        """Say whether a run is looked for, whatever its ancestors: its record knows but the first and the last."""
        return (
            self.experiment in (None, record.experiment_name)
            and self.status in (None, record.status)
            and self.type in (None, record.type.value)
            and self.parent in (None, record.parent_run_id)
            and self.archived in (None, record.archived)
            and not (self.top_level and record.parent_run_id is not None)
            and record.experiment_name not in self.hidden_experiments
            and _has(record.tags, self.tags)
            and _has(record.properties, self.properties)
        )


def _has(there: Mapping[str, str | None], wanted: Mapping[str, str | None]) -> bool:
    return all(key in there and value in (None, there[key]) for key, value in wanted.items())
