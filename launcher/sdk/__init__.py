"""The Python API: what `from regiment import ...` gives."""
