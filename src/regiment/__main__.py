"""`python -m regiment` is the `regiment` command."""

from regiment.launcher.cli import entry_point

entry_point()
