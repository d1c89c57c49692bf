"""Regiment launches distributed training: one job file, any machines, every run on record."""

from __future__ import annotations

__version__ = "0.1.0"
