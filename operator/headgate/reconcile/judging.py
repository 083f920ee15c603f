"""From raw samples to a verdict: what one look says of the rollout in charge.

Owns which samples are read, for which arms, from when on. Must not know what a verdict leads to.
Metrics that do not answer are data: no evidence either way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from headgate.api.model_rollout import Policy
from headgate.core.analysis import Analysis, Inconclusive, judge
from headgate.core.analysis import Reason as Evidenced
from headgate.core.counters import ERRORS, LATENCY
from headgate.core.evidence import (
    Evidence,
    begin,
    fold,
    rebase,
    with_baseline,
)
from headgate.core.lifecycle import (
    Phase,
    State,
)
from headgate.core.memory import (
    Memory,
    RouteMemory,
)
from headgate.core.rollout import next_weight
from headgate.ports import (
    Arms,
    Manifest,
    MetricsUnavailable,
    SignalSource,
)
from headgate.reconcile.policy import plan_of, settings_of
from headgate.reconcile.world import Key, World

_SOURCES = tuple(SignalSource(name, pack_signal=name) for name in (ERRORS, LATENCY))
BASELINE = timedelta(minutes=10)
"""How far back stable's own history is read when a canary first gets weight."""


async def judge_rollout(
    key: Key,
    memory: Memory,
    record: Manifest | None,
    policy: Policy,
    verified_at: datetime | None,
    world: World,
    now: datetime,
) -> tuple[Evidence | None, Analysis | None]:
    """Read what was counted since the last checkpoint and judge it.

    `record` is the one in charge (None: nothing is), `verified_at` since when the route is in force
    (None: it is not). The analysis is None where there is nothing to judge; the evidence is then
    what was stored. Metrics that cannot be read are Inconclusive, never an exception.
    """
    state = memory.state
    evidence = stored_evidence(record)
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED, Phase.BAKING) or record is None:
        return evidence, None
    if verified_at is None or memory.route is None:
        return evidence, None
    arms = _arms(key, state, memory.route)
    try:
        if evidence is None:
            evidence = await _begin(arms, policy, memory.route, verified_at, world, now)
        if evidence.since != verified_at:
            evidence = rebase(evidence, verified_at)
        evidence = fold(evidence, await world.metrics.read(arms, _SOURCES, evidence.read_from, now))
    except MetricsUnavailable as error:
        verdict = Inconclusive(Evidenced.METRICS_UNAVAILABLE, str(error), None)
        return evidence, Analysis(verdict, (), None)
    control = arms.stable is not None
    weight = next_weight(plan_of(policy.rollout), state) if control else None
    settings = evidence.settings
    stale_after = max(world.options.stale_after, 3 * policy.rollout.interval.timedelta)
    return evidence, judge(settings, evidence, weight, now, stale_after, control)


async def _begin(
    arms: Arms,
    policy: Policy,
    route: RouteMemory,
    verified_at: datetime,
    world: World,
    now: datetime,
) -> Evidence:
    evidence = begin(settings_of(policy), verified_at)
    if arms.stable is None:
        return evidence
    # Before the canary, stable had the same position in the route and so the same series.
    history = replace(arms, canary=None, canary_hash=None)
    since = max(verified_at - BASELINE, route.first_since or verified_at)
    series = await world.metrics.read(history, _SOURCES, since, now)
    own = [replace(s, points=tuple(p for p in s.points if p.at >= since)) for s in series]
    return with_baseline(evidence, own, verified_at)


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


def _arms(key: Key, state: State, route: RouteMemory) -> Arms:
    positions = {hash: position for position, (hash, _) in enumerate(route.weights)}
    stable = positions.get(state.stable.hash) if state.stable else None
    canary = positions.get(state.canary.hash) if state.canary else None
    stable_hash = state.stable.hash if state.stable else None
    if state.canary is None:
        return Arms(key.namespace, route.name, None, stable, key.name, None, stable_hash)
    return Arms(key.namespace, route.name, stable, canary, key.name, stable_hash, state.canary.hash)
