"""Words for people that all rooms use."""

from __future__ import annotations


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """Give a number of things in words, such as `1 worker` and `2 workers`."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
