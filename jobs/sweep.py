"""A sweep: many runs of one job, and which values they try."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from .data import LiteralInput
from .dataclass import dataclass, field


class Goal(Enum):
    """What a sweep wants of its metric."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """What a sweep is for."""

    primary_metric: str
    """Name of the metric that every trial logs."""
    goal: Goal


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[LiteralInput | Conditional, ...]
    type: Literal["choice"] = "choice"


@dataclass(frozen=True)
class Conditional:
    """A value of a choice that brings parameters of its own."""

    parameters: Mapping[str, Parameter | LiteralInput]
    type: Literal["conditional"] = "conditional"


@dataclass(frozen=True)
class Uniform:
    """Between two numbers, evenly; `uniform`, `quniform`, `loguniform` and `qloguniform`."""

    min_value: float
    max_value: float
    q: float | None = None
    """The value is rounded to multiples of this."""
    is_log: bool = False
    """The bounds are exponents of e, and so is what is drawn between them."""
    type: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class Normal:
    """Around a number; `normal`, `qnormal`, `lognormal` and `qlognormal`."""

    mu: float
    sigma: float
    q: float | None = None
    is_log: bool = False
    type: Literal["normal"] = "normal"


@dataclass(frozen=True)
class RandInt:
    """A whole number from 0 to `upper` - 1."""

    upper: int
    type: Literal["randint"] = "randint"


Parameter = Choice | Uniform | Normal | RandInt


class SamplingKind(Enum):
    """How a sweep chooses the values of its next trial."""

    RANDOM = "random"
    GRID = "grid"
    BAYESIAN = "bayesian"


class SamplingRule(Enum):
    """Where the numbers of random sampling come from."""

    RANDOM = "random"
    SOBOL = "sobol"
    """A sequence that fills the space evenly."""


@dataclass(frozen=True)
class Sampling:
    """How a sweep chooses."""

    kind: SamplingKind = SamplingKind.RANDOM
    seed: int | None = None
    rule: SamplingRule = SamplingRule.RANDOM
    logbase: float | None = None
    """Base of the exponents of logarithmic parameters; None for e."""


@dataclass(frozen=True)
class SweepLimits:
    """How much a sweep may use; a single trial's time limit is the job's own `timeout`."""

    max_total_trials: int = 1000
    max_concurrent_trials: int | None = None
    """None for all at once."""
    timeout: float | None = None
    """Seconds for the whole sweep, or None for no limit."""


@dataclass(frozen=True)
class Bandit:
    """Stop a trial that is worse than the best one by more than the slack; one of the two slacks is given."""

    slack_factor: float | None = None
    slack_amount: float | None = None
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    type: Literal["bandit"] = "bandit"


@dataclass(frozen=True)
class MedianStopping:
    """Stop a trial whose best is worse than the median of the running averages."""

    evaluation_interval: int = 1
    delay_evaluation: int = 0
    type: Literal["median_stopping"] = "median_stopping"


@dataclass(frozen=True)
class TruncationSelection:
    """Stop the worst trials at each evaluation."""

    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    exclude_finished_jobs: bool = False
    type: Literal["truncation_selection"] = "truncation_selection"


EarlyTermination = Bandit | MedianStopping | TruncationSelection


@dataclass(frozen=True)
class Sweep:
    """Many runs of one job, with different values in its command; the job itself is one trial."""

    search_space: Mapping[str, Parameter]
    objective: Objective
    sampling: Sampling = field(default_factory=Sampling)
    limits: SweepLimits = field(default_factory=SweepLimits)
    early_termination: EarlyTermination | None = None
