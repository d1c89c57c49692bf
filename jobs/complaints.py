"""Which options go with which distribution, wherever they were written."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .errors import UserError
from .spec import Distribution, Mpi, Options, PyTorch, StartMethod, TensorFlow, starts_through_torchrun


def check_prefix(words: tuple[str, ...]) -> tuple[str, ...]:
    """Check what is to stand before each process's command."""
    if not words or not words[0].strip():
        raise UserError("expected a program and its arguments, such as [strace, -f]")
    return words


def complaints(kind: Distribution, own: Options, written: Collection[str]) -> Iterator[tuple[str, str]]:
    """Say which options do not go with the distribution: the key, and a sentence about it.

    `written` are the keys that somebody gave, be it with the value that they have anyway.
    """
    usual = Options()
    yield from _torchrun_complaints(kind, own, written)
    if own.preload is not None and own.start_method not in (StartMethod.FORK, None):
        yield "preload", "expected only with start_method fork, which type pytorch can have"
    if own.min_nodes is not None and not starts_through_torchrun(kind, own):
        yield "nodes", "elastic nodes are torchrun's: they need type pytorch, a process count and start_method torchrun"
    if not isinstance(kind, TensorFlow) and own.stop_when is not None:
        yield "stop_when", f"expected only with type tensorflow; this job has {named(kind)}"
    if not isinstance(kind, Mpi):
        for key in ("mpirun", "mpirun_args"):
            if getattr(own, key) != getattr(usual, key):
                yield key, f"expected only with type mpi; this job has {named(kind)}"
    if own.prefix_ranks is not None and not own.prefix:
        yield "prefix_ranks", "expected only together with prefix"
    if own.prefix and own.min_nodes is not None and own.prefix_ranks is not None:
        yield "prefix_ranks", "the ranks of an elastic job change; leave prefix_ranks out, and prefix is for all"


def _torchrun_complaints(kind: Distribution, own: Options, written: Collection[str]) -> Iterator[tuple[str, str]]:
    usual = Options()
    if not isinstance(kind, PyTorch):
        for key in ("start_method", "torchrun_args"):
            value = getattr(own, key)
            # None is a wrong one, which has a fault already.
            if value is not None and (key in written or value != getattr(usual, key)):
                yield key, f"expected only with type pytorch; this job has {named(kind)}"
    elif own.torchrun_args and own.start_method in (StartMethod.SPAWN, StartMethod.FORK):
        yield "torchrun_args", f"expected only with start_method torchrun; this job has {own.start_method.value}"
    elif own.torchrun_args and kind.process_count_per_instance is None:
        yield "torchrun_args", "without process_count_per_instance (--nproc) the command itself starts, and no torchrun"


def named(kind: Distribution) -> str:
    """Give the words for a distribution in messages about what does not go with it."""
    return "no distribution" if kind.type == "none" else f"type {kind.type}"
