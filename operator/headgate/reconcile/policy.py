"""The API's words on how to release, as the core's values.

Owns the translation of a rollout's policy. Must not know where it was read from.
"""

from __future__ import annotations

from datetime import timedelta

from headgate.api.model_deployment import Objective, OnBurn
from headgate.api.model_rollout import Policy
from headgate.core.drift.profile import Profile
from headgate.core.evidence import Objective as CoreObjective
from headgate.core.evidence import (
    ObjectiveKind,
    Settings,
)
from headgate.core.lifecycle import (
    OnInconclusive,
    Plan,
    Step,
)
from headgate.reconcile.sources import signals_of

WARM_UP_REQUESTS = 20
"""How many of a canary's first requests may be slow: imports, caches and thread pools are set up
by them (the first prediction of a scikit-learn model took 150 to 260 ms, the next ones 1 ms)."""


WATCH = timedelta(minutes=1)
"""How often a stable revision is looked at that may have to give way to the one before it."""


def plan_of(policy: Policy) -> Plan:
    """Translate the API's words into the core's plan."""
    rollout = policy.rollout
    watched = any(o.on_breach is OnBurn.ROLL_BACK for o in policy.objectives)
    return Plan(
        steps=tuple(Step(s.weight, s.hold.timedelta) for s in rollout.stages),
        bake=rollout.bake.timedelta,
        interval=rollout.interval.timedelta,
        progress_deadline=rollout.progress_deadline.timedelta,
        on_inconclusive=OnInconclusive(rollout.on_inconclusive.value),
        ramps=rollout.auto is not None,
        watch=WATCH if watched else None,
    )


def settings_of(policy: Policy, profile: Profile | None) -> Settings:
    """Translate the API's words into what the evidence is judged by.

    `profile` is that of the canary's training data, None without one.
    """
    rollout = policy.rollout
    return Settings(
        alpha=float((100 - rollout.confidence.decimal) / 100),
        margin=rollout.margin.ratio,
        tolerance=rollout.tolerance.ratio,
        objectives=_objectives(policy),
        weights=tuple(sorted({*(s.weight for s in rollout.stages), 100})),
        warm_up_requests=WARM_UP_REQUESTS,
        latency_floor_seconds=rollout.latency_floor.timedelta.total_seconds(),
        signals=signals_of(policy, profile),
    )


BASELINE_OBJECTIVE = CoreObjective("baseline", 0.01, ObjectiveKind.ERRORS, relative=True)
"""Watches the bake where nobody stated an objective on errors: at most twice what stable did."""


def _objectives(policy: Policy) -> tuple[CoreObjective, ...]:
    stated = tuple(_objective(o) for o in policy.objectives)
    if any(o.kind is ObjectiveKind.ERRORS for o in stated):
        return stated
    return (*stated, BASELINE_OBJECTIVE)


def _objective(objective: Objective) -> CoreObjective:
    if objective.latency is not None:
        threshold = objective.latency.threshold.timedelta.total_seconds()
        kind = ObjectiveKind.LATENCY
        return CoreObjective(objective.name, objective.target.ratio, kind, threshold)
    if objective.series is not None:
        return CoreObjective(objective.name, objective.target.ratio, ObjectiveKind.SERIES)
    return CoreObjective(objective.name, objective.target.ratio, ObjectiveKind.ERRORS)
