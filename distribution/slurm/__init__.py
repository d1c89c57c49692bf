"""Slurm, as far as it can be computed: the script that is submitted, and what its commands print."""
