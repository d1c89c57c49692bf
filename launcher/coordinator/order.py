"""What `regiment run` hands to the coordinator it starts."""

from __future__ import annotations

from dataclasses import dataclass

from regiment.jobs.spec import JobSpec


@dataclass(frozen=True)
class Order:
    """One run to be made; secrets are in it, so it travels through a socket and never lies in a file."""

    spec: JobSpec
    workspace: str
    run_id: str
    attached: bool
    """Whether the run ends when the process that started the coordinator does."""
    zip: str
    """The packed agent."""
    python: str
    """The Python for the job's launcher and for `python` in its commands."""
    agent_python: str
    """The Python that runs coordinator, keepers and agents."""
