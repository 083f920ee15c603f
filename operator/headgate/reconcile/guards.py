"""What stands against a rollout beside the comparison: error budgets and drifted inputs.

Owns the reading of both and what they forbid. Must not know phases or steps beyond whether a canary
has weight. What cannot be read forbids nothing and is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from headgate.api.model_deployment import Objective, OnBurn
from headgate.api.model_rollout import Policy
from headgate.api.signals import OnInputs
from headgate.api.signals import Selector as Named
from headgate.core.conditions import Finding, Objection
from headgate.core.drift.reference import Drift
from headgate.core.lifecycle import Restraint
from headgate.core.slo.budget import WINDOWS, Budget, Severity, WindowCounts, budget_of
from headgate.core.slo.exposure import first_weight_cap
from headgate.core.slo.gate import Gate, GateReason, gate, in_words
from headgate.core.slo.level import (
    Errors,
    Latency,
    Own,
    Selector,
    ServiceLevel,
    ThresholdIsNoEdge,
)
from headgate.core.verdict import Breach, Reason
from headgate.core.wording import plain
from headgate.ports import Arms, MetricsUnavailable, Service
from headgate.reconcile.sources import ARM_VALUES
from headgate.reconcile.world import Key, World

_Counts = Mapping[str, Sequence[WindowCounts]]

_ACTING = timedelta(seconds=10)
"""Scrape, route change and what else is neither looking nor waiting for an answer."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What was found, and what follows.

    `objection` is about a spec that promises what cannot be measured; `burning` an objective that
    asks to go back, as its budget burns fast. `unproven` is why no revision may be given all
    requests because a person says so: as a start it is stopped by what a rollout that earns its
    steps may go on with. In an emergency nothing stops it.
    """

    restraint: Restraint | None = None
    unproven: Restraint | None = None
    weight_cap: int = 100
    burning: Breach | None = None
    objection: Objection | None = None
    budget: Finding | None = None
    inputs: Finding | None = None
    budgets: tuple[Budget, ...] = ()
    drifts: tuple[Drift, ...] = ()


async def look_at_budgets(
    key: Key, policy: Policy, started: bool, arms: Arms | None, world: World, now: datetime
) -> Guards:
    """Read what is left of each objective's budget, and whether stable burns it.

    `started` is whether a canary has weight. The burn is then that of stable's own requests, which
    `arms` tell: a canary that fails must not look like a failing service.
    """
    levels = [_level(objective) for objective in policy.objectives]
    if not levels:
        return Guards()
    service = Service(key.namespace, key.name, key.name)
    try:
        counts = await world.budgets.read(service, levels, now)
        stable = await _of_stable(service, levels, arms, world, now) if arms is not None else None
    except MetricsUnavailable as error:
        return Guards(budget=Finding(None, Reason.METRICS_UNAVAILABLE, str(error)))
    except ThresholdIsNoEdge as error:
        return Guards(objection=_no_edge(policy, error))
    budgets = tuple(_budget(level, counts, stable, now) for level in levels)
    emergency = policy.rollout.emergency
    return Guards(
        restraint=_restraint(gate(budgets, emergency, started)),
        unproven=None if emergency else _restraint(gate(budgets, emergency=False)),
        weight_cap=_weight_cap(policy, budgets),
        burning=_burning(policy, budgets),
        budget=_budget_finding(budgets),
        budgets=budgets,
    )


async def _of_stable(
    service: Service, levels: Sequence[ServiceLevel], arms: Arms, world: World, now: datetime
) -> _Counts:
    """Read what stable alone answered; nothing where the route has no place for it."""
    if arms.stable is None:
        return {}
    own = replace(service, position=arms.stable, hash=arms.stable_hash)
    return await world.budgets.read(own, levels, now, WINDOWS[-1])


def _budget(level: ServiceLevel, counts: _Counts, stable: _Counts | None, now: datetime) -> Budget:
    """Work out one budget, with the burn of stable alone where its series tell it.

    Stable has always answered something before a canary did. So where all together have requests
    and stable has none, the series do not say whose they are, and the burn is everybody's.
    """
    whole = counts.get(level.name, ())
    if stable is None:
        return budget_of(level, whole, now)
    own = stable.get(level.name, ())
    if stable and not _seen(own) and _seen(whole):
        return budget_of(level, whole, now, alone=False)
    return budget_of(level, whole, now, own)


def _seen(counts: Sequence[WindowCounts]) -> bool:
    return any(each.requests for each in counts if each.window <= WINDOWS[-1])


def _level(objective: Objective) -> ServiceLevel:
    counts: Errors | Latency | Own = Errors()
    if objective.latency is not None:
        counts = Latency(objective.latency.threshold.timedelta)
    elif objective.series is not None:
        series = objective.series
        counts = Own(
            total=_selector(series.total),
            good=_selector(series.good) if series.good is not None else None,
            bad=_selector(series.bad) if series.bad is not None else None,
            arm_label=series.arm.label,
            arm_value=ARM_VALUES[series.arm.value],
        )
    target = objective.target.decimal / Decimal(100)
    return ServiceLevel(objective.name, target, counts, objective.window.timedelta)


def _selector(named: Named) -> Selector:
    any_of = tuple(sorted((named.any_of or {}).items()))
    return Selector(named.metric, tuple(sorted(named.matchers.items())), any_of)


def _no_edge(policy: Policy, error: ThresholdIsNoEdge) -> Objection:
    names = [objective.name for objective in policy.objectives]
    field = f"spec.objectives[{names.index(error.objective)}].latency.threshold"
    near = " or ".join(f"{1000 * edge:f}ms" for edge in (error.below, error.above) if edge)
    wanted = f"an edge of the gateway's buckets; the nearest are {near}"
    return Objection("InvalidSpec", field, wanted, f"{1000 * error.threshold:f}ms")


def _restraint(closed: Gate | None) -> Restraint | None:
    if closed is None:
        return None
    steps = closed.reason is GateReason.FAST_BURN
    return Restraint(closed.reason.value, closed.message, starts=True, steps=steps)


def _weight_cap(policy: Policy, budgets: Sequence[Budget]) -> int:
    """The first weight that no objective forbids, were the canary to fail everything.

    Looks, their confirmation, and a canary that hangs until the gateway gives up on it are waited
    for; an objective about which too little is known counts as untouched.
    """
    rollout = policy.rollout
    acting = 3 * rollout.interval.timedelta + _ACTING
    caps = [
        first_weight_cap(
            1.0 if budget.remaining is None else budget.remaining,
            float(budget.level.target),
            budget.level.window,
            acting,
        )
        for budget in budgets
    ]
    return min(caps, default=100)


def _burning(policy: Policy, budgets: Sequence[Budget]) -> Breach | None:
    asked = {o.name for o in policy.objectives if o.on_breach is OnBurn.ROLL_BACK}
    for budget in budgets:
        pages = [pair for pair in budget.firing if pair.severity is Severity.PAGE]
        if budget.level.name in asked and pages and budget.bad:
            pair = pages[0]
            message = (
                f"objective {budget.level.name} burns its error budget "
                f"{budget.burns[pair.long] or 0.0:.3g} times as fast as it may over "
                f"{in_words(pair.long)} and goes on"
            )
            name = f"objective/{budget.level.name}"
            return Breach(name, Reason.OBJECTIVE_BROKEN, message, budget.requests)
    return None


def _budget_finding(budgets: Sequence[Budget]) -> Finding | None:
    """What is known of the budgets; None where it is too little to say anything."""
    closed = gate(budgets, emergency=False)
    if closed is not None:
        return Finding(False, closed.reason.value, closed.message)
    if all(budget.remaining is None for budget in budgets):
        return None
    return Finding(True, "Available", "no objective has spent its error budget")


def with_inputs(guards: Guards, policy: Policy, drifts: Sequence[Drift], same: bool) -> Guards:
    """Add what live inputs say against the reference of who serves.

    `same` is whether what Git wants was trained on that reference too: a model that was made for
    the inputs as they are now is the cure, and is not kept back by what its predecessor sees.
    """
    if policy.drift is None or policy.drift.inputs is None:
        return guards
    found = tuple(drift for drift in drifts if drift.is_drift)
    guards = replace(guards, drifts=found)
    if not found:
        fine = Finding(True, "AsTrained", "the inputs are like those the model was trained on")
        return replace(guards, inputs=fine)
    names = ", ".join(drift.feature for drift in found[:5])
    message = f"inputs are not what the model was trained on: {names}"
    guards = replace(guards, inputs=Finding(False, "InputsDrifted", message))
    if policy.drift.inputs.on_breach is OnInputs.NOTIFY:
        return guards
    frozen = Restraint("InputsDrifted", message, starts=same, steps=True)
    unproven = None if policy.rollout.emergency else guards.unproven or frozen
    return replace(guards, restraint=guards.restraint or frozen, unproven=unproven)


def drift_in_words(drift: Drift) -> str:
    """Say what of a feature is not as it was in training."""
    shares = zip(drift.now, drift.reference, strict=False)
    bin, (now, then) = max(enumerate(shares), key=lambda one: abs(one[1][0] - one[1][1]))
    return plain(
        f"{drift.feature}: {drift.change}; bin {bin} of {len(drift.reference)} holds "
        f"{100 * now:.3g} % of {drift.events:,} events, {100 * then:.3g} % in training"
    )
