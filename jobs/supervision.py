"""Keys below `regiment:` about what is done when something goes wrong: restarts, ranks that end early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .checks import check_grace
from .errors import UserError
from .fields import checked, number, whole_number
from .reading import Key, Reader, Reading, Table, Value
from .shapes import either, section, then
from .spec import EarlyExit, Restarts

_MOST_RESTARTS = 1_000_000


def check_restarts(count: int) -> int:
    """Check how often a run may start again."""
    if not 0 <= count <= _MOST_RESTARTS:
        raise UserError(f"expected 0 to {_MOST_RESTARTS:,} restarts, found {count}")
    return count


_COUNT = checked(whole_number, check_restarts, minimum=0, maximum=_MOST_RESTARTS)
_SECONDS = checked(number, check_grace, minimum=0)
_RESTARTS: Table = {
    "max": Key(_COUNT, "restarts after failures of the job's own processes (default: 0)"),
    "infrastructure": Key(_COUNT, "restarts after lost nodes and the like (default: as max)"),
    "refill": Key(_SECONDS, "seconds of running after which a restart counts no more (default: 3600)"),
    "backoff": Key(_SECONDS, "seconds before the first restart; each further one doubles them (default: 1)"),
    "max_backoff": Key(_SECONDS, "the longest pause before a restart, in seconds (default: 60)"),
    "progress": Key(_SECONDS, "seconds an attempt must run (or write new outputs) to be progress (default: 60)"),
}
_EARLY_EXIT: Table = {
    "warn": Key(_SECONDS, "seconds after which it is said that some processes have ended and others run (default: 30)"),
    "fail": Key(_SECONDS, "seconds after which the run is failed for it (default: never)"),
}


def _made(kind: type[Restarts] | type[EarlyExit]) -> Callable[[Any, Value, Reading], Any]:
    def make(found: dict[str, Any], _value: Value, _reading: Reading) -> Any:
        # What could not be read is None and has a fault already.
        return kind(**{key: value for key, value in found.items() if value is not None})

    return make


def _only_max(count: int | None, _value: Value, _reading: Reading) -> Restarts:
    return Restarts() if count is None else Restarts(max=count)


restarts: Reader = either(
    "a number of restarts, or a mapping with max and others",
    single=then(_COUNT, _only_max),
    mapping=then(section(_RESTARTS), _made(Restarts)),
)
early_exit: Reader = then(section(_EARLY_EXIT), _made(EarlyExit))
count: Reader = _COUNT
seconds: Reader = _SECONDS
