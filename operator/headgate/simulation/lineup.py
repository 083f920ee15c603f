"""The rules that may be compared, by their names and tunings, on the steps of a plan.

Owns how another project's rule is put on the weights and holds of a plan. Must not know how a rule
decides, nor its settings (`peers.tunings`).

`headgate` is the real core. Flagger repeats each weight for its hold, one passing check each; Argo
sets a weight and pauses; Kayenta knows no steps and stays at the first. "Tuned" knows the base
rate, which nobody does so exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headgate.simulation.engine import Course, Run, release
from headgate.simulation.following import follow
from headgate.simulation.peers import Rule
from headgate.simulation.peers.argo import Argo, Condition, Reading, Step
from headgate.simulation.peers.flagger import Flagger
from headgate.simulation.peers.kayenta import LATENCY, Kayenta
from headgate.simulation.peers.tunings import RULES
from headgate.simulation.source import Source

HEADGATE = "headgate"
NAMES = (HEADGATE, *(name.replace("-", ":") for name in RULES))

_USUAL_LIMIT_SECONDS = 0.5  # of p99, in the tutorials of Flagger


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule's name and its tuning, "" for the documented settings."""

    name: str
    tuning: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.tuning}" if self.tuning else self.name


def entry(word: str) -> Entry:
    """Read `flagger` or `flagger:tuned`; raises ValueError with the names there are."""
    if word not in NAMES:
        raise ValueError(f"one of {', '.join(NAMES)}")
    name, _, tuning = word.partition(":")
    return Entry(name, tuning)


def play(one: Entry, course: Course, source: Source, base_rate: float) -> Run:
    """Simulate one rollout by one rule; `base_rate` (0..1) is known to "tuned" only."""
    if one.name == HEADGATE:
        return release(course, source)
    rule = rule_of(one, course, base_rate, watches_latency=bool(source.edges))
    return follow(rule, source, course.horizon)


def rule_of(one: Entry, course: Course, base_rate: float, watches_latency: bool) -> Rule[Any]:
    """Set up another project's rule for the steps of a course.

    Where latency is watched, p99 may not exceed the objectives' lowest threshold, or 500 ms.
    """
    steps = course.plan.steps
    holds = [max(1, round(step.hold.total_seconds())) for step in steps]
    rule = RULES[str(one).replace(":", "-")](base_rate, steps[0].weight, sum(holds))
    limits = [o.threshold_seconds for o in course.settings.objectives if o.threshold_seconds]
    limit = min(limits, default=_USUAL_LIMIT_SECONDS) if watches_latency else None
    weighted = [(step.weight, hold) for step, hold in zip(steps, holds, strict=True)]
    match rule:
        case Flagger():
            return _flagger(rule, weighted, limit)
        case Argo():
            return _argo(rule, weighted, limit)
        case Kayenta() if limit is not None:
            return replace(rule, latency=LATENCY)
    return rule


def _flagger(rule: Flagger, weighted: list[tuple[int, int]], limit: float | None) -> Flagger:
    weights = tuple(
        weight for weight, hold in weighted for _ in range(max(1, hold // rule.interval_seconds))
    )
    limit_ms = None if limit is None else round(1000 * limit)
    return replace(rule, weights=weights, max_latency_ms=limit_ms)


def _argo(rule: Argo, weighted: list[tuple[int, int]], limit: float | None) -> Argo:
    metrics = rule.metrics
    if limit is not None:
        fast = Condition("<=", limit)
        metrics = (*metrics, replace(metrics[0], reading=Reading.P99_SECONDS, success=fast))
    return replace(rule, steps=tuple(Step(*one) for one in weighted), metrics=metrics)
