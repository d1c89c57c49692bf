"""Runs on a Slurm cluster: submitting them, and seeing from its login node how they are."""
