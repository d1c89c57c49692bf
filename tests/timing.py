"""Limits on time that hold on a busy machine too."""

from __future__ import annotations

import time
from collections.abc import Callable


def fastest(work: Callable[[], object], enough: float, tries: int = 5) -> float:
    """Do something until it took less processor time than is enough, a few times at most; gives the least it took.

    A collection of this whole test process's garbage may fall into any one of them, and a busy neighbour
    on the same core slows down what counts as our own time.
    """
    least = float("inf")
    for _ in range(tries):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
        if least < enough:
            break
    return least
