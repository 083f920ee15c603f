"""Flagger's canary analysis (1.44.0): failed checks are counted and never forgiven.

Owns one tick: roll back if enough checks failed *before* it, else check, else move the weight.
Must not know webhooks, gates, mirroring, blue/green or the deployment's own deadlines.
Source: fluxcd/flagger 15bd6ad, pkg/controller/scheduler.go, scheduler_metrics.go.

With a chance p that a check fails by itself, S checks to pass and a threshold F, a healthy canary
is rolled back with the chance that F failures come before S passes:

    sum over k < S of  C(F + k - 1, k) p^F (1 - p)^k
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan, trunc

from headgate.simulation.peers import Minute, Verdict, number

SHORTEST_INTERVAL_SECONDS = 10
"""Flagger takes any shorter interval for this one."""

_DOCUMENTED_THRESHOLD = 5  # of its tutorials; the API's default is 1


def weights_by_step(step_weight: int, max_weight: int = 100) -> tuple[int, ...]:
    """List the weights of `stepWeight` and `maxWeight`; the last may exceed `max_weight`.

    Flagger stops at the first weight that reaches `maxWeight` and caps at 100 only.
    """
    if step_weight <= 0:
        raise ValueError(f"stepWeight: {step_weight}, wanted 1 or more")
    weights: list[int] = []
    while not weights or weights[-1] < max_weight:
        weights.append(min(100, (weights[-1] if weights else 0) + step_weight))
    return tuple(weights)


@dataclass(frozen=True, slots=True)
class FlaggerState:
    """Where a canary stands; `step` is the index of its weight."""

    weight: int
    due_at: float
    step: int = 0
    failed_checks: int = 0
    verdict: Verdict = Verdict.CONTINUE


@dataclass(frozen=True, slots=True)
class Flagger:
    """Settings of a Canary's `analysis`.

    Attributes:
        threshold: Failed checks that roll back; Flagger takes 0 for 1.
        min_success_percent: `thresholdRange.min` of `request-success-rate`.
        max_latency_ms: `thresholdRange.max` of `request-duration`; None leaves it out.
        weights: The weights in order, each of which needs one passing check. To stay at a weight,
            repeat it: that is what `iterations` does.
    """

    weights: tuple[int, ...]
    interval_seconds: int = 60
    threshold: int = 1
    min_success_percent: float = 99.0
    max_latency_ms: int | None = None

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights: none, wanted one or more")
        if self.interval_seconds < SHORTEST_INTERVAL_SECONDS:
            raise ValueError(
                f"interval: {self.interval_seconds} s, wanted {SHORTEST_INTERVAL_SECONDS} or more"
            )

    @classmethod
    def documented(
        cls, weight: int, duration_seconds: int, max_latency_ms: int | None = None
    ) -> Flagger:
        """Take the tutorials' settings (1m, threshold 5, success 99 %) at a constant weight."""
        checks = max(1, duration_seconds // 60)
        return cls(
            (weight,) * checks, threshold=_DOCUMENTED_THRESHOLD, max_latency_ms=max_latency_ms
        )

    @classmethod
    def tuned(
        cls, base_rate: float, weight: int, duration_seconds: int, max_latency_ms: int | None = None
    ) -> Flagger:
        """Put the success rate one point below what stable has; nobody knows that so exactly."""
        rule = cls.documented(weight, duration_seconds, max_latency_ms)
        return replace(rule, min_success_percent=round(100.0 - 100.0 * base_rate - 1.0, 9))

    def start(self) -> FlaggerState:
        """Give the canary its first weight, which Flagger does without a check."""
        return FlaggerState(weight=self.weights[0], due_at=self.interval_seconds)

    def step(
        self, state: FlaggerState, window: Minute | None, seconds_since_start: float
    ) -> tuple[FlaggerState, Verdict]:
        """Tick once if a tick is due; a tick that was missed is dropped, not made up for."""
        if state.verdict is not Verdict.CONTINUE or seconds_since_start < state.due_at:
            return state, state.verdict
        state = self._ticked(replace(state, due_at=self._tick_after(seconds_since_start)), window)
        return state, state.verdict

    def _tick_after(self, seconds: float) -> float:
        return (seconds // self.interval_seconds + 1) * self.interval_seconds

    def _ticked(self, state: FlaggerState, window: Minute | None) -> FlaggerState:
        if state.failed_checks >= max(1, self.threshold):
            return replace(state, weight=0, verdict=Verdict.ROLLED_BACK)
        if not self.passes(window):
            return replace(state, failed_checks=state.failed_checks + 1)
        following = state.step + 1
        if following == len(self.weights):
            return replace(state, weight=100, verdict=Verdict.PROMOTED)
        return replace(state, weight=self.weights[following], step=following)

    def passes(self, window: Minute | None) -> bool:
        """Check the metrics in their order; no values, NaN and errors all fail."""
        if window is None:
            return False
        percent = 100.0 * window.canary_success_ratio()
        if isnan(percent) or percent < self.min_success_percent:
            return False
        if self.max_latency_ms is None:
            return True
        p99 = number(window.canary_p99_seconds)
        return not isnan(p99) and trunc(round(1000.0 * p99, 6)) <= self.max_latency_ms
