"""From raw samples to a verdict: what one look says of the rollout in charge.

Owns which samples are read, for which arms, from when on. Must not know what a verdict leads to.
Metrics that do not answer are data: no evidence either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log

from headgate.api.model_rollout import Policy
from headgate.api.signals import OnInputs
from headgate.core import noise
from headgate.core.analysis import Analysis, Breach, Inconclusive, judge_ramp
from headgate.core.analysis import Reason as Evidenced
from headgate.core.counters import BUILT_IN, TOTAL, Arm, Kind, Series, difference
from headgate.core.drift.profile import Profile
from headgate.core.evidence import (
    Evidence,
    begin,
    fold,
    rebase,
    with_baseline,
    with_canary_units,
    with_noise,
)
from headgate.core.lifecycle import (
    Phase,
    State,
)
from headgate.core.memory import (
    Memory,
    RouteMemory,
)
from headgate.core.rollout import next_weights
from headgate.core.signals import Signal
from headgate.core.slo.budget import Budget
from headgate.core.slo.exposure import BudgetLeft, spending
from headgate.core.slo.level import Errors
from headgate.core.terms import CORROBORATED
from headgate.core.verdict import Verdict
from headgate.ports import (
    Arms,
    Manifest,
    MetricsUnavailable,
    SignalSource,
    UnitSeries,
)
from headgate.reconcile.guards import Guards
from headgate.reconcile.policy import plan_of, settings_of
from headgate.reconcile.sources import INPUT, sources_of
from headgate.reconcile.world import Key, World

BASELINE = timedelta(minutes=10)
"""How far back stable's own history is read when a canary first gets weight."""

NOISE_STEP = timedelta(minutes=1)
"""How far apart the counts of stable's pods are that its noise is measured by."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a verdict was made from besides the evidence: `drifted` are the names of features."""

    control: bool
    weights: tuple[int, ...]
    stale_after: timedelta
    budgets: tuple[BudgetLeft, ...] = ()
    drifted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is asked of the canary besides its counts: how many pods it has now (0: none is ready),
    and, when it begins to be judged, the profile of its training data, None without one."""

    pods: int
    read_profile: Callable[[], Awaitable[Profile | None]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The evidence after a look, the verdict on it, and what that was made from.

    `analysis` and `inputs` are None where there was nothing to judge. `arms` and `sources` say what
    was read.
    """

    evidence: Evidence | None
    analysis: Analysis | None = None
    inputs: Inputs | None = None
    arms: Arms | None = None
    sources: tuple[SignalSource, ...] = ()


async def judge_rollout(
    key: Key,
    memory: Memory,
    record: Manifest | None,
    policy: Policy,
    verified_at: datetime | None,
    guards: Guards,
    candidate: Candidate,
    world: World,
    now: datetime,
) -> Judgement:
    """Read what was counted since the last checkpoint and judge it.

    `record` is the one in charge (None: nothing is), `verified_at` since when the route is in force
    (None: it is not). Without anything to judge the evidence is what was stored. Metrics that
    cannot be read are Inconclusive, never an exception.
    """
    state = memory.state
    evidence = stored_evidence(record)
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED, Phase.BAKING) or record is None:
        return Judgement(evidence)
    if verified_at is None or memory.route is None:
        return Judgement(evidence)
    arms = arms_of(key, state, memory.route)
    try:
        if evidence is None:
            evidence = await _begin(arms, policy, candidate, memory.route, verified_at, world, now)
        if evidence.since != verified_at:
            evidence = with_canary_units(rebase(evidence, verified_at), candidate.pods)
        sources = sources_of(policy, evidence.settings.signals)
        read, failed = await _read(arms, sources, evidence.read_from, world, now)
        evidence = fold(evidence, read)
    except MetricsUnavailable as error:
        nothing = Inconclusive(Evidenced.METRICS_UNAVAILABLE, str(error), None)
        return Judgement(evidence, Analysis(nothing, (), None))
    inputs = _inputs(arms, policy, state, guards, world)
    settings = evidence.settings
    analysis = judge_ramp(
        settings, evidence, inputs.weights, now, inputs.stale_after, inputs.control
    )
    verdict = guarded(analysis, evidence, policy, inputs)
    if failed is not None and not isinstance(verdict, Breach):
        verdict = Inconclusive(Evidenced.METRICS_UNAVAILABLE, str(failed), None)
    return Judgement(evidence, replace(analysis, verdict=verdict), inputs, arms, sources)


async def _read(
    arms: Arms, sources: Sequence[SignalSource], since: datetime, world: World, now: datetime
) -> tuple[Sequence[Series], MetricsUnavailable | None]:
    """Read each source by itself: one that fails earns nothing, and hides no breach of another.

    Raises MetricsUnavailable if errors or latency, which every verdict rests on, cannot be read.
    """
    answers = await asyncio.gather(
        *(world.metrics.read(arms, [source], since, now) for source in sources),
        return_exceptions=True,
    )
    series: list[Series] = []
    failed: MetricsUnavailable | None = None
    for source, answer in zip(sources, answers, strict=True):
        if isinstance(answer, MetricsUnavailable) and source.name not in BUILT_IN:
            failed = failed or answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            series += answer
    return series, failed


def _inputs(arms: Arms, policy: Policy, state: State, guards: Guards, world: World) -> Inputs:
    control = arms.stable is not None
    weights = next_weights(plan_of(policy), state) if control else ()
    stale_after = max(world.options.stale_after, 3 * policy.rollout.interval.timedelta)
    drifted = tuple(drift.feature for drift in guards.drifts)
    return Inputs(control, weights, stale_after, _budgets_left(guards.budgets), drifted)


def _budgets_left(budgets: Sequence[Budget]) -> tuple[BudgetLeft, ...]:
    """The budgets that failed requests draw on, as far as they are known."""
    return tuple(
        BudgetLeft(
            budget.level.name,
            budget.remaining,
            float(budget.level.target),
            round(budget.requests * (budget.level.window / budget.covered)),
        )
        for budget in budgets
        if isinstance(budget.level.counts, Errors) and budget.remaining is not None
    )


# What guards add to a verdict


def guarded(analysis: Analysis, evidence: Evidence, policy: Policy, inputs: Inputs) -> Verdict:
    """Return the verdict, or a breach that follows from the error budget or from drifted inputs."""
    if isinstance(analysis.verdict, Breach):
        return analysis.verdict
    drifted = _drifted(analysis, evidence, policy, inputs.drifted)
    return _overspent(evidence, inputs.budgets) or drifted or analysis.verdict


def _overspent(evidence: Evidence, budgets: Sequence[BudgetLeft]) -> Breach | None:
    """A canary that has provably spent its part of an objective's budget by itself.

    The bound on its excess takes rates that do not move, so the comparison, which does not, must
    agree: whatever the service does, a healthy canary gets there once in fifty at most.
    """
    errors = evidence.signals[0]
    raised = errors.raised(evidence.settings.alpha)
    if errors.value(evidence.starts) - raised < log(CORROBORATED):
        return None
    table, alpha = errors.stream.compared.table(1), evidence.settings.alpha
    for budget in budgets:
        spent = spending(table, budget.remaining, budget.target, budget.served, alpha)
        if spent.is_breach:
            message = (
                f"canary failed {table.canary_bad:,} of {table.canary_requests:,} requests, stable "
                f"{table.stable_bad:,} of {table.stable_requests:,} at the same time; at least "
                f"{spent.proven:,.0f} of them are its own, and the error budget of "
                f"{budget.objective} has {spent.allowed:,.0f} for one rollout."
            )
            name = f"objective/{budget.objective}"
            return Breach(name, Evidenced.BUDGET_SPENT, message, table.canary_requests)
    return None


def _drifted(
    analysis: Analysis, evidence: Evidence, policy: Policy, drifted: Sequence[str]
) -> Breach | None:
    """A canary in which drifted inputs are to be, or are found to be, its own doing."""
    if policy.drift is None or policy.drift.inputs is None or not drifted:
        return None
    names = [f"{INPUT}{feature}" for feature in drifted]
    if policy.drift.inputs.on_breach is OnInputs.ALWAYS_ROLL_BACK and evidence.canary_requests:
        return Breach(
            names[0],
            Evidenced.INPUTS_DRIFTED,
            f"{_told(drifted)}; the spec asks to roll back whoever serves them.",
            evidence.canary_requests,
        )
    needed = -log(evidence.settings.alpha)
    for report in analysis.reports:
        if report.name in names and report.log_evidence >= needed and report.canary_requests:
            message = f"{report.message.rstrip('.')}; and {_told(drifted)}."
            return Breach(report.name, Evidenced.INPUTS_DRIFTED, message, report.canary_requests)
    return None


def _told(drifted: Sequence[str]) -> str:
    return f"inputs are not what the model was trained on ({', '.join(drifted[:5])})"


# The beginning of a rollout


async def _begin(
    arms: Arms,
    policy: Policy,
    candidate: Candidate,
    route: RouteMemory,
    verified_at: datetime,
    world: World,
    now: datetime,
) -> Evidence:
    settings = settings_of(policy, await candidate.read_profile())
    evidence = begin(settings, verified_at)
    if arms.stable is None:
        return evidence
    # Before the canary, stable had the same position in the route and so the same series.
    history = replace(arms, canary=None, canary_hash=None)
    since = max(verified_at - BASELINE, route.first_since or verified_at)
    sources = sources_of(policy, settings.signals)
    series, _ = await _read(history, sources, since, world, now)
    own = [replace(s, points=tuple(p for p in s.points if p.at >= since)) for s in series]
    evidence = with_baseline(evidence, own, verified_at)
    return await _with_noise(evidence, history, sources, candidate, verified_at, world, now)


async def _with_noise(
    evidence: Evidence,
    arms: Arms,
    sources: Sequence[SignalSource],
    candidate: Candidate,
    verified_at: datetime,
    world: World,
    now: datetime,
) -> Evidence:
    """Measure how much stable's own pods vary, in each ratio whose source tells them apart."""
    settings, pods = evidence.settings, max(1, candidate.pods)
    signals = {signal.name: signal for signal in settings.measured if signal.is_ratio}
    for source in sources:
        signal = signals.get(source.name)
        if signal is None:
            continue
        try:
            histories = await _histories(signal, source, arms, verified_at, world, now)
        except MetricsUnavailable:
            if signal.name in BUILT_IN:
                raise
            continue  # one signal's outage keeps no other from being judged
        margin = settings.margin_of(signal)
        found = await asyncio.to_thread(noise.measure, histories, margin, pods)
        if found is not None:
            evidence = with_noise(evidence, signal.name, found)
    return evidence


async def _histories(
    signal: Signal,
    source: SignalSource,
    arms: Arms,
    until: datetime,
    world: World,
    now: datetime,
) -> Sequence[noise.UnitHistory]:
    """Read what each pod counted before the canary came; nothing where they are not told apart.

    The instances of a signal that is not paired are the pods themselves.
    """
    since = until - noise.HISTORY
    units = await world.metrics.units(arms, source, since, now, NOISE_STEP)
    if units or signal.paired:
        kind = Kind.SHARE if any(one.outcome == TOTAL for one in units) else Kind.RATIO
        return histories_of(_series_of(signal.name, units), signal.name, kind, since, until)
    series = await world.metrics.ticks(arms, source, since, now, NOISE_STEP)
    return histories_of(series, signal.name, signal.kind, since, until)


def _series_of(signal: str, units: Sequence[UnitSeries]) -> Sequence[Series]:
    return [
        Series(signal, Arm.STABLE, one.unit, one.outcome, f"{one.outcome} {one.key}", one.points)
        for one in units
    ]


def histories_of(
    series: Sequence[Series], signal: str, kind: Kind, since: datetime, until: datetime
) -> Sequence[noise.UnitHistory]:
    """What each instance counted of a ratio from step to step, after `since` and up to `until`."""
    steps: dict[str, list[noise.StepCount]] = {}
    for block in difference(series, {}, since, {signal: kind}).blocks:
        counts = block.counts.get(signal, {}).get(Arm.STABLE)
        if counts is not None and block.at <= until:
            good, bad = counts
            steps.setdefault(block.instance, []).append(noise.StepCount(block.at, good, bad))
    return [noise.UnitHistory(unit, tuple(found)) for unit, found in steps.items()]


def stored_evidence(record: Manifest | None) -> Evidence | None:
    """Return the checkpoint in a record; None if there is none or it cannot be read.

    An unreadable one (an older operator, a hand) is no evidence: it is gathered anew.
    """
    stored = ((record or {}).get("status") or {}).get("evidence") or {}
    if "state" not in stored:
        return None
    try:
        return Evidence.from_json(stored["state"])
    except ValueError:
        return None


def arms_of(key: Key, state: State, route: RouteMemory) -> Arms:
    """Where the arms of a state are found: by their place in the route, and by their hash."""
    positions = {hash: position for position, (hash, _) in enumerate(route.weights)}
    stable = positions.get(state.stable.hash) if state.stable else None
    stable_hash = state.stable.hash if state.stable else None
    if state.canary is None:
        return Arms(key.namespace, route.name, None, stable, key.name, None, stable_hash)
    canary = positions.get(state.canary.hash)
    # Without a place in the route it gets no requests: then it is no control either.
    known = stable_hash if stable is not None else None
    return Arms(key.namespace, route.name, stable, canary, key.name, known, state.canary.hash)
