"""Kayenta as Spinnaker runs it: series by the minute, judged at the end or every so often.

Owns when a judgement takes place, over what, and what its score means. Must not know the
statistics, which are in `judge`.
Source: spinnaker/kayenta a69573b, NetflixACAJudge-v1.0 and its scoring; intervals as in the
canary stage: one at or below the marginal score ends it, and the last has to reach the pass score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, nan

from headgate.simulation.peers import Minute, Verdict, number
from headgate.simulation.peers.judge import (
    Classification,
    Direction,
    JudgedMetric,
    classify,
    score,
)

ERRORS = JudgedMetric("errors", direction=Direction.INCREASE)
"""Percent of requests that fail."""

LATENCY = JudgedMetric("latency", direction=Direction.INCREASE)
"""The 99th percentile in milliseconds."""


@dataclass(frozen=True, slots=True)
class KayentaState:
    """Where a canary stands; a minute is None if there was nothing to fetch for it."""

    weight: int
    due_at: float
    judge_at: float
    minutes: tuple[Minute | None, ...] = ()
    verdict: Verdict = Verdict.CONTINUE


@dataclass(frozen=True, slots=True)
class Kayenta:
    """A canary config with one or two metrics, and a canary stage.

    Attributes:
        judge_every_seconds: When to judge before the end, over all minutes so far; None: never.
        group_weights: Percent by group of metrics.
    """

    weight: int
    duration_seconds: int = 1800
    judge_every_seconds: int | None = None
    interval_seconds: int = 60
    errors: JudgedMetric | None = ERRORS
    latency: JudgedMetric | None = None
    pass_score: float = 95.0
    marginal_score: float = 75.0
    group_weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.errors is None and self.latency is None:
            raise ValueError("errors and latency: neither is judged, wanted one or both")

    @classmethod
    def documented(
        cls, weight: int, duration_seconds: int, judge_every_seconds: int | None = None
    ) -> Kayenta:
        """Take the defaults (pass 95, marginal 75, step 60 s), on errors that only may not rise."""
        return cls(weight, duration_seconds, judge_every_seconds)

    def start(self) -> KayentaState:
        """Begin at a weight that stays."""
        first = self.judge_every_seconds or inf
        return KayentaState(self.weight, self.interval_seconds, first)

    def step(
        self, state: KayentaState, window: Minute | None, seconds_since_start: float
    ) -> tuple[KayentaState, Verdict]:
        """Add a minute to the series if one is over, and judge if it is time to."""
        if state.verdict is not Verdict.CONTINUE or seconds_since_start < state.due_at:
            return state, state.verdict
        following = (seconds_since_start // self.interval_seconds + 1) * self.interval_seconds
        state = replace(state, minutes=(*state.minutes, window), due_at=following)
        if seconds_since_start >= self.duration_seconds:
            state = self._ended(state, self.score(state.minutes) >= self.pass_score)
        elif seconds_since_start >= state.judge_at:
            every = self.judge_every_seconds or inf
            state = replace(state, judge_at=seconds_since_start + every)
            if self.score(state.minutes) <= self.marginal_score:
                state = self._ended(state, passed=False)
        return state, state.verdict

    def _ended(self, state: KayentaState, passed: bool) -> KayentaState:
        if passed:
            return replace(state, weight=100, verdict=Verdict.PROMOTED)
        return replace(state, weight=0, verdict=Verdict.ROLLED_BACK)

    def score(self, minutes: tuple[Minute | None, ...]) -> float:
        """Judge these minutes."""
        return score(self.judge(minutes), dict(self.group_weights))

    def judge(self, minutes: tuple[Minute | None, ...]) -> tuple[Classification, ...]:
        """Classify the metrics over these minutes, errors first."""
        known = [minute for minute in minutes if minute is not None]
        found = []
        if self.errors is not None:
            stable = [_percent(one.stable_bad, one.stable_requests) for one in known]
            canary = [_percent(one.canary_bad, one.canary_requests) for one in known]
            found.append(classify(self.errors, stable, canary))
        if self.latency is not None:
            stable = [1000.0 * number(one.stable_p99_seconds) for one in known]
            canary = [1000.0 * number(one.canary_p99_seconds) for one in known]
            found.append(classify(self.latency, stable, canary))
        return tuple(found)


def _percent(bad: int, requests: int) -> float:
    return 100.0 * bad / requests if requests else nan
