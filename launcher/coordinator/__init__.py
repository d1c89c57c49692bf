"""The coordinator: one process a run, which decides. Standard library only, so that it can travel."""
