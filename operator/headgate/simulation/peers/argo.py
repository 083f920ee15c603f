"""Argo Rollouts' background AnalysisRun (master of August 2026, 1.9 and 1.10 alike).

Owns measurements, their counters and limits, and what a finished run does to the rollout. Must not
know Experiments, inline analysis steps, dynamic stable scale or the query language.
Source: argoproj/argo-rollouts 9f8d111, analysis/analysis.go, utils/evaluate, rollout/analysis.go.

With a chance p that a measurement fails by itself, N measurements and a limit L, a healthy canary
is aborted with the chance P(Bin(N, p) > L).

What a measurement is when there is no number, by how its conditions are worded:

    | answer            | success only | failure only | both         | none       |
    |-------------------|--------------|--------------|--------------|------------|
    | NaN (0/0)         | Failed       | Successful   | Inconclusive | Successful |
    | empty vector      | Error        | Error        | Error        | Successful |
    | none from backend | Error        | Error        | Error        | Error      |
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, isnan

from headgate.simulation.peers import Minute, Verdict, number

ERROR_RETRY_SECONDS = 10
"""After an error a measurement is taken again so soon, whatever its interval."""

CONSECUTIVE_ERROR_LIMIT = 4
"""The default: the fifth error in a row ends the run."""

_DOCUMENTED_FAILURE_LIMIT = 3  # of its examples; the API's default is 0


class Reading(StrEnum):
    """What a metric's query asks of the canary."""

    SUCCESS_RATIO = "success ratio"
    P99_SECONDS = "p99 in seconds"


class Silence(StrEnum):
    """What queries return before the canary's first request; after it, silence is NaN (0/0)."""

    NAN = "NaN"  # its counters exist from the start
    EMPTY = "empty"  # its counters come with its first request


class Phase(StrEnum):
    """Of a measurement or a metric."""

    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"
    FAILED = "Failed"


_WORSE = (Phase.SUCCESSFUL, Phase.RUNNING, Phase.INCONCLUSIVE, Phase.ERROR, Phase.FAILED)
_EFFECT = {
    Phase.FAILED: Verdict.ROLLED_BACK,
    Phase.ERROR: Verdict.ROLLED_BACK,
    Phase.INCONCLUSIVE: Verdict.PAUSED,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`result[0] COMPARISON threshold`; false for NaN, an error for an empty vector."""

    comparison: str
    threshold: float

    def __post_init__(self) -> None:
        if self.comparison not in _COMPARISONS:
            raise ValueError(
                f"comparison: {self.comparison}, wanted one of {', '.join(_COMPARISONS)}"
            )

    def holds(self, value: float) -> bool:
        """Compare once."""
        return _COMPARISONS[self.comparison](value, self.threshold)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an AnalysisTemplate; all limits mean "more than", -1 switches failures off.

    `count` None measures until the rollout ends, as an interval without a count does.
    """

    reading: Reading
    success: Condition | None = None
    failure: Condition | None = None
    interval_seconds: int = 60
    initial_delay_seconds: int = 0
    count: int | None = None
    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = CONSECUTIVE_ERROR_LIMIT
    consecutive_success_limit: int = 0
    dry_run: bool = False

    def judge(self, value: float | None) -> Phase:
        """Judge one answer; None is an empty vector, of which there is no `result[0]`."""
        if self.success is None and self.failure is None:
            return Phase.SUCCESSFUL
        if value is None:
            return Phase.ERROR
        failed = self.failure is not None and self.failure.holds(value)
        if self.success is None:
            return Phase.FAILED if failed else Phase.SUCCESSFUL
        succeeded = self.success.holds(value)
        if failed or (self.failure is None and not succeeded):
            return Phase.FAILED
        return Phase.SUCCESSFUL if succeeded else Phase.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Tally:
    """A metric's counters. `answer_at` is set while a query hangs, and says when it is given up."""

    due_at: float
    answer_at: float | None = None
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    consecutive_errors: int = 0
    consecutive_successes: int = 0
    phase: Phase = Phase.RUNNING

    @property
    def count(self) -> int:
        """Measurements that count; errors do not."""
        return self.successful + self.failed + self.inconclusive

    def counted(self, phase: Phase) -> Tally:
        """Count one measurement. Failures stay; errors are forgotten at the next answer."""
        match phase:
            case Phase.SUCCESSFUL:
                return replace(
                    self,
                    successful=self.successful + 1,
                    consecutive_errors=0,
                    consecutive_successes=self.consecutive_successes + 1,
                )
            case Phase.ERROR:
                errors = self.consecutive_errors + 1
                return replace(self, consecutive_errors=errors, consecutive_successes=0)
        return replace(
            self,
            failed=self.failed + (phase is Phase.FAILED),
            inconclusive=self.inconclusive + (phase is Phase.INCONCLUSIVE),
            consecutive_errors=0,
            consecutive_successes=0,
        )


def assess(metric: Metric, tally: Tally) -> Phase:
    """Say what a metric has come to after a measurement."""
    if tally.consecutive_errors > metric.consecutive_error_limit:
        return Phase.ERROR
    if tally.inconclusive > metric.inconclusive_limit:
        return Phase.INCONCLUSIVE
    if 0 <= metric.failure_limit < tally.failed:
        return Phase.FAILED
    wanted = metric.consecutive_success_limit
    if 0 < wanted <= tally.consecutive_successes:
        return Phase.SUCCESSFUL
    if metric.count is None or tally.count < metric.count:
        return Phase.RUNNING
    if wanted <= 0:
        return Phase.SUCCESSFUL
    return Phase.INCONCLUSIVE if metric.failure_limit >= 0 else Phase.FAILED


@dataclass(frozen=True, slots=True)
class Step:
    """`setWeight` and the `pause` after it."""

    weight: int
    pause_seconds: int


@dataclass(frozen=True, slots=True)
class ArgoState:
    """Where a rollout stands; one tally per metric, and whether the canary ever had a request."""

    weight: int
    due_at: float
    tallies: tuple[Tally, ...]
    seen: bool = False
    verdict: Verdict = Verdict.CONTINUE


@dataclass(frozen=True, slots=True)
class Argo:
    """A canary's steps with a background analysis from the first of them on.

    Attributes:
        timeout_seconds: How long a query hangs before it is an error when the backend gives no
            answer; 0 is a refused connection, 30 the default of a silent one.
    """

    steps: tuple[Step, ...]
    metrics: tuple[Metric, ...]
    silence: Silence = Silence.NAN
    timeout_seconds: int = 0

    def __post_init__(self) -> None:
        if not self.steps or not self.metrics:
            raise ValueError("steps and metrics: one or more of each is wanted")

    @classmethod
    def documented(
        cls,
        weight: int,
        duration_seconds: int,
        max_latency_seconds: float | None = None,
        success_ratio: float = 0.99,
    ) -> Argo:
        """Take an example's settings (1m, limit 3, success >= 99 %) at a constant weight.

        The first measurement waits for one interval, in which there is something to measure.
        """
        success = Metric(
            Reading.SUCCESS_RATIO,
            success=Condition(">=", success_ratio),
            failure_limit=_DOCUMENTED_FAILURE_LIMIT,
            initial_delay_seconds=60,
        )
        steps = (Step(weight, duration_seconds),)
        if max_latency_seconds is None:
            return cls(steps, (success,))
        limit = Condition("<=", max_latency_seconds)
        return cls(steps, (success, replace(success, reading=Reading.P99_SECONDS, success=limit)))

    @classmethod
    def tuned(
        cls,
        base_rate: float,
        weight: int,
        duration_seconds: int,
        max_latency_seconds: float | None = None,
    ) -> Argo:
        """Put the success ratio one point below what stable has; nobody knows that so exactly."""
        ratio = round(1.0 - base_rate - 0.01, 11)
        return cls.documented(weight, duration_seconds, max_latency_seconds, ratio)

    @property
    def interval_seconds(self) -> int:
        """The shortest interval of its metrics."""
        return min(metric.interval_seconds for metric in self.metrics)

    def start(self) -> ArgoState:
        """Begin the first step and the analysis with it."""
        tallies = tuple(Tally(metric.initial_delay_seconds) for metric in self.metrics)
        return ArgoState(self.steps[0].weight, self._due_at(tallies, 0.0), tallies)

    def step(
        self, state: ArgoState, window: Minute | None, seconds_since_start: float
    ) -> tuple[ArgoState, Verdict]:
        """Take the measurements that are due, then let the run end or the steps go on."""
        if state.verdict is not Verdict.CONTINUE or seconds_since_start < state.due_at:
            return state, state.verdict
        seen = state.seen or (window is not None and window.canary_requests > 0)
        tallies = tuple(
            self._measured(metric, tally, window, seen, seconds_since_start)
            for metric, tally in zip(self.metrics, state.tallies, strict=True)
        )
        verdict = _EFFECT.get(self._worst(tallies), Verdict.CONTINUE)
        weight = 0 if verdict is Verdict.ROLLED_BACK else self._weight(seconds_since_start)
        if verdict is Verdict.PAUSED:
            weight = state.weight
        elif verdict is Verdict.CONTINUE and self._is_over(seconds_since_start):
            verdict = Verdict.PROMOTED
        due_at = self._due_at(tallies, seconds_since_start)
        return ArgoState(weight, due_at, tallies, seen, verdict), verdict

    def _measured(
        self, metric: Metric, tally: Tally, window: Minute | None, seen: bool, seconds: float
    ) -> Tally:
        if tally.phase is not Phase.RUNNING or seconds < _next(tally):
            return tally
        finished_at = seconds
        if tally.answer_at is not None:
            phase, finished_at = Phase.ERROR, tally.answer_at
        elif window is not None:
            phase = metric.judge(self._answer(metric.reading, window, seen))
        elif self.timeout_seconds:
            return replace(tally, answer_at=seconds + self.timeout_seconds)
        else:
            phase = Phase.ERROR
        wait = ERROR_RETRY_SECONDS if phase is Phase.ERROR else metric.interval_seconds
        tally = replace(tally.counted(phase), due_at=finished_at + wait, answer_at=None)
        return replace(tally, phase=assess(metric, tally))

    def _answer(self, reading: Reading, window: Minute, seen: bool) -> float | None:
        if reading is Reading.SUCCESS_RATIO:
            value = window.canary_success_ratio()
        else:
            value = number(window.canary_p99_seconds)
        return None if isnan(value) and self.silence is Silence.EMPTY and not seen else value

    def _worst(self, tallies: tuple[Tally, ...]) -> Phase:
        phases = [
            tally.phase
            for metric, tally in zip(self.metrics, tallies, strict=True)
            if not metric.dry_run
        ]
        return max(phases, key=_WORSE.index, default=Phase.SUCCESSFUL)

    def _weight(self, seconds: float) -> int:
        ends = 0
        for step in self.steps:
            ends += step.pause_seconds
            if seconds < ends:
                return step.weight
        return 100

    def _is_over(self, seconds: float) -> bool:
        return seconds >= sum(step.pause_seconds for step in self.steps)

    def _due_at(self, tallies: tuple[Tally, ...], seconds: float) -> float:
        """When the next measurement or the next step is due, whichever comes first."""
        ends, edge = 0, inf
        for step in self.steps:
            ends += step.pause_seconds
            if ends > seconds:
                edge = ends
                break
        waiting = (_next(tally) for tally in tallies if tally.phase is Phase.RUNNING)
        return min(edge, *waiting, inf)


def _next(tally: Tally) -> float:
    return tally.due_at if tally.answer_at is None else tally.answer_at
