"""What each signal and each objective says: its part of alpha, its e-value, its counts.

Owns one term for each, and the clause that tells its counts. Must not weigh terms against each
other, nor know what makes a verdict.

A limit is an assumption about stable (its history, its objective), and an incident of the service
breaks it for both arms at once; by chance the canary then crosses it first. So an objective counts
while compared only if stable does not break it too *and* the comparison itself is at 50: whatever
happens to the service, a healthy canary gets there once in fifty at most (replayed: less than once
in a hundred), and while the assumption holds alpha is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import accumulate
from math import inf, log, sqrt

from headgate.core import measured as signals
from headgate.core.counters import ERRORS, LATENCY, Kind
from headgate.core.evidence import Evidence, Tests
from headgate.core.measured import CALM, Measured, Tally
from headgate.core.signals import (
    ABSOLUTE_SHARE,
    ALONE_SHARE,
    Objective,
    ObjectiveKind,
    OnBreach,
    Settings,
    Signal,
    Worse,
)
from headgate.core.stats import evalue, mixture, sizes
from headgate.core.stats.evalue import Table
from headgate.core.stats.mixture import Logs
from headgate.core.verdict import Reason
from headgate.core.wording import lasting

_SLOW = 0.95  # without a latency objective, slower than this share of stable's requests is "slow"
CORROBORATED = 50.0
"""E-value of the comparison below which a broken objective or a spent budget blames nobody."""

_NOTHING = Table(0, 0, 0, 0)
_ALIKE = "at the same time"


@dataclass(frozen=True, slots=True)
class Term:
    """One signal or objective.

    `doubt` says why its evidence is no reason to roll back, `unusable` why there can be none, and
    `lacking` of which kind that is.
    `missing` are further canary requests until the weight is earned: 0 if it is, None if it earns
    none. `freezes` marks one that keeps weight from the canary, and never takes it back.
    `tolerance` is the margin its proof is about. `span` is for how long both arms were counted, 0
    if that is not known.
    """

    name: str
    reason: Reason
    share: float
    log_value: float
    table: Table
    missing: int | None
    what: str
    doubt: Reason | None = None
    unusable: str = ""
    lacking: Reason = Reason.SIGNAL_MISSING
    freezes: bool = False
    tolerance: float = 0.0
    phi: float = 1.0
    placebo_runs: int = 0
    units: int = 0
    span: timedelta = timedelta(0)

    @property
    def sentence(self) -> str:
        """What was counted, as a clause: the numbers a person checks first."""
        table = self.table
        canary = f"canary {self.what} {table.canary_bad:,} of {table.canary_requests:,} requests"
        if not table.stable_requests:
            return canary
        stable = f"stable {table.stable_bad:,} of {table.stable_requests:,}"
        return f"{canary}, {stable} {f'in the same {lasting(self.span)}' if self.span else _ALIKE}"


def terms_of(
    settings: Settings, evidence: Evidence, weight: int | None, control: bool
) -> tuple[Term, ...]:
    """All that counts in this phase of a rollout, in the order it is reported.

    `weight` (percent) is to be earned, None if there is none. Without `control` there are only the
    canary's own objectives.
    """
    objectives = _objective_terms(settings, evidence, weight, control)
    if not control:
        return tuple(objectives)
    pairs = zip(settings.measured, evidence.signals, strict=True)
    compared = (_signal_term(settings, evidence, s, m, weight) for s, m in pairs)
    return (*compared, *objectives)


def requests_needed(settings: Settings, next_weight: int, base_rate: float) -> int:
    """Canary requests that a canary as good as stable needs to earn `next_weight` from nothing.

    `base_rate` is stable's share of failures. Assumes that all are answered at the weight before
    it, and is the mean over canaries: one in two takes somewhat longer.
    """
    margin = settings.promotion_margin(next_weight)
    return _from_nothing(settings, next_weight, base_rate, margin)


# One signal


def _signal_term(
    settings: Settings, evidence: Evidence, signal: Signal, one: Measured, weight: int | None
) -> Term:
    found = _ratio_term(settings, evidence, signal, one, weight)
    if signal.kind is Kind.HISTOGRAM and signal.worse is Worse.HIGHER:
        found = _higher_term(settings, evidence, signal, one, found)
    elif not signal.is_ratio:
        found = _different_term(signal, one, found)
    raised = one.raised(settings.alpha)
    return replace(found, log_value=found.log_value - raised) if raised else found


def _ratio_term(
    settings: Settings, evidence: Evidence, signal: Signal, one: Measured, weight: int | None
) -> Term:
    """The term of a ratio; of anything else all but what is told of it."""
    counts, first = one.stream.compared, signals.bad_from(one, signal)
    table = _NOTHING if first is None else counts.table(first)
    unusual = not signal.paired and one.calm < CALM
    margin = settings.promotion_margin(_rung(settings, weight), signal) if weight else 0.0
    errors = signal.name == ERRORS
    unusable, lacking = _unusable(signal, one)
    return Term(
        name=signal.name,
        reason=Reason.ERRORS_HIGHER if errors else Reason.SIGNAL_WORSE,
        share=signal.share,
        log_value=one.value(evidence.starts),
        table=table,
        missing=_missing(settings, one.promotion, table, weight, margin),
        what="failed" if errors else f"had bad {_label(signal)} in",
        doubt=Reason.STABLE_IN_INCIDENT if unusual else None,
        unusable=unusable,
        lacking=lacking,
        freezes=signal.on_breach is OnBreach.FREEZE,
        tolerance=margin,
        phi=one.phi,
        placebo_runs=one.placebo_runs,
        units=one.units,
        span=_span(evidence, one),
    )


def _span(evidence: Evidence, one: Measured) -> timedelta:
    """From when the counting began to the last scrape that had both arms."""
    if one.canary_as_of is None or one.stable_as_of is None:
        return timedelta(0)
    return max(timedelta(0), min(one.canary_as_of, one.stable_as_of) - evidence.begun_at)


def _unusable(signal: Signal, one: Measured) -> tuple[str, Reason]:
    """Why a signal of the spec earns nothing yet; errors and latency have checks of their own."""
    missing = Reason.SIGNAL_MISSING
    if signal.name in (ERRORS, LATENCY):
        return "", missing
    arms = [
        arm for arm, at in (("canary", one.canary_as_of), ("stable", one.stable_as_of)) if not at
    ]
    if arms:
        return f"{signal.name}: no series of {' and '.join(arms)} yet.", missing
    if signal.threshold is not None and one.edges and signals.bad_from(one, signal) is None:
        text = no_edge(one.edges, signal.threshold, signal.unit)
        return f"{signal.name}: {text}", Reason.THRESHOLD_NOT_AN_EDGE
    if not sum(one.stream.compared.canary) or not sum(one.stream.compared.stable):
        return f"{signal.name}: nothing was counted on both arms at the same time yet.", missing
    return "", missing


def _higher_term(
    settings: Settings, evidence: Evidence, signal: Signal, one: Measured, found: Term
) -> Term:
    """The shape test, and half of it and half of the thresholds where there are usable ones."""
    over = [
        mixture.log_value(tests.harm, evidence.starts)
        for tests, objective in zip(evidence.objectives, settings.objectives, strict=True)
        if objective.signal == signal.name and tests.harm
    ]
    over += [mixture.log_value(one.harm, evidence.starts)] if one.harm else []
    by_shape = mixture.log_value(one.shape, evidence.starts)
    by_threshold = mixture.log_mean(over) if over else -inf
    value = mixture.log_mean([by_shape, by_threshold]) if over else by_shape
    telling = _telling_from(signal, one) if by_shape > max(by_threshold, 0.0) else None
    first, limit = telling or _slow_from(settings, evidence, signal, one)
    took = signal.name == LATENCY
    edge = f"{number(limit)} {signal.unit}".strip()
    return replace(
        found,
        reason=Reason.LATENCY_HIGHER if took else found.reason,
        log_value=value,
        table=one.stream.compared.table(first),
        what=f"took over {edge} for" if took else f"had {_label(signal)} over {edge} in",
    )


def _different_term(signal: Signal, one: Measured, found: Term) -> Term:
    """Any difference of two distributions, told by what differs most."""
    counts = one.stream.compared
    found = replace(found, reason=Reason.DISTRIBUTION_DIFFERS)
    if not sum(counts.canary) or not sum(counts.stable):
        return found
    if signal.kind is Kind.CATEGORIES:
        place = max(range(len(one.classes)), key=lambda k: abs(_score(_one_class(counts, k))))
        what = f"had {_label(signal)} {one.classes[place]} in"
        return replace(found, table=_one_class(counts, place), what=what)
    first = max(range(1, len(one.edges)), key=lambda k: abs(_score(counts.table(k))), default=0)
    edge = f"{number(one.edges[first - 1])} {signal.unit}".strip()
    return replace(found, table=counts.table(first), what=f"had {_label(signal)} over {edge} in")


def _one_class(counts: Tally, place: int) -> Table:
    canary, stable = counts.canary, counts.stable
    return Table(canary[place], sum(canary), stable[place], sum(stable))


def _label(signal: Signal) -> str:
    """How a person calls it: its name without the room it is from."""
    return signal.name.rpartition("/")[2]


def _score(table: Table) -> float:
    """How many standard errors the arms' shares differ by, as a two-sample z score."""
    n_c, n_s = table.canary_requests, table.stable_requests
    if not n_c or not n_s:
        return 0.0
    share = (table.canary_bad + table.stable_bad) / (n_c + n_s)
    spread = share * (1.0 - share) * (1.0 / n_c + 1.0 / n_s)
    return (table.canary_bad / n_c - table.stable_bad / n_s) / sqrt(spread) if spread > 0 else 0.0


def _telling_from(signal: Signal, one: Measured) -> tuple[int, float] | None:
    """The edge beyond the floor that tells a slower canary best, when it is its shape that does."""
    counts = one.stream.compared
    within = signals.floor_buckets(one, signal)
    best = max(range(within, len(counts.canary)), key=lambda k: _score(counts.table(k)), default=0)
    if not best or _score(counts.table(best)) <= 0.0:
        return None
    return best, one.edges[best - 1]


def _slow_from(
    settings: Settings, evidence: Evidence, signal: Signal, one: Measured
) -> tuple[int, float]:
    """What the sentence calls slow: over the first usable threshold, else over stable's p95."""
    own = signals.bad_from(one, signal)
    if own is not None:
        return own, one.edges[own - 1]
    for objective in settings.objectives:
        index = evidence.bad_from(objective)
        if objective.signal == signal.name and index is not None:
            return index, one.edges[index - 1]
    stable = one.stream.compared.stable
    usual = _SLOW * sum(stable)
    index = next((k for k, below in enumerate(accumulate(stable)) if below >= usual), 0) + 1
    index = max(signals.floor_buckets(one, signal), min(index, len(one.edges) - 1))
    return index, one.edges[index - 1] if one.edges else inf


# One objective


def _objective_terms(
    settings: Settings, evidence: Evidence, weight: int | None, control: bool
) -> Iterator[Term]:
    share = (ABSOLUTE_SHARE if control else ALONE_SHARE) / max(1, len(settings.objectives))
    for tests, objective in zip(evidence.objectives, settings.objectives, strict=True):
        first = evidence.bad_from(objective)
        stream = evidence.stream(objective)
        counts = stream.compared if control else _alone(settings, evidence, objective)
        table = _NOTHING if first is None else counts.table(first)
        slow = objective.kind is ObjectiveKind.LATENCY
        margin = settings.promotion_margin(_rung(settings, weight)) if weight else 0.0
        usable = slow and first is not None
        yield Term(
            name=f"objective/{objective.name}",
            reason=Reason.OBJECTIVE_BROKEN,
            share=share,
            log_value=mixture.log_value(
                tests.limits.canary if control else tests.limits.alone, evidence.starts
            ),
            table=table,
            missing=_missing(settings, tests.promotion, table, weight, margin) if usable else None,
            what=_what(objective),
            doubt=_doubt(settings, evidence, objective, tests) if control else None,
            unusable=_no_edge(evidence, objective) if first is None else "",
            lacking=Reason.THRESHOLD_NOT_AN_EDGE,
            tolerance=margin,
            span=_span(evidence, evidence.measured(objective.signal)),
        )


def _what(objective: Objective) -> str:
    match objective.kind:
        case ObjectiveKind.ERRORS:
            return "failed"
        case ObjectiveKind.LATENCY:
            return f"took over {objective.threshold_seconds:g} s for"
    return f"missed {objective.name} in"


def _alone(settings: Settings, evidence: Evidence, objective: Objective) -> Tally:
    """What the canary did without a control; where arms are scraped apart, what it did at all."""
    signal = settings.measured[evidence.place(objective.signal)]
    stream = evidence.stream(objective)
    return Tally(canary=stream.alone if signal.paired else stream.compared.canary)


def _doubt(
    settings: Settings, evidence: Evidence, objective: Objective, tests: Tests
) -> Reason | None:
    """Why a canary above its limit may not be to blame: stable is too, or hardly does better."""
    if mixture.log_value(tests.limits.stable, evidence.starts) >= -log(settings.alpha):
        return Reason.STABLE_IN_INCIDENT
    one = evidence.measured(objective.signal)
    compared = mixture.log_value(tests.harm or one.harm, evidence.starts)
    if compared - one.raised(settings.alpha) < log(CORROBORATED):
        return Reason.NOT_YET_PROVEN
    return None


# What is missing


def _rung(settings: Settings, weight: int) -> int:
    """The weight of the ladder whose test this weight is earned by."""
    return next(one for one in settings.ladder if one >= weight)


def _missing(
    settings: Settings,
    states: Sequence[Logs],
    table: Table,
    weight: int | None,
    margin: float,
) -> int | None:
    """Further canary requests until the weight is earned: 0 if it is, None if none would do."""
    if weight is None or not states:
        return None
    rung = settings.ladder.index(_rung(settings, weight))
    lacking = -log(settings.promotion_alpha) - mixture.log_mean(states[rung])
    if lacking <= 0.0:
        return 0
    rate = evalue.running_rate(table.stable_bad, table.stable_requests)
    if not table.canary_requests or not table.stable_requests:
        return _from_nothing(settings, weight, rate, margin)
    beside = table.stable_requests / table.canary_requests
    return sizes.requests_to_prove(rate, margin, lacking, beside)


def _from_nothing(settings: Settings, next_weight: int, rate: float, margin: float) -> int:
    before = max(
        (weight for weight in settings.ladder if weight < next_weight), default=next_weight
    )
    beside = inf if before >= 100 else (100 - before) / before
    return sizes.requests_to_prove(rate, margin, log(1.0 / settings.promotion_alpha), beside)


def _no_edge(evidence: Evidence, objective: Objective) -> str:
    if not evidence.edges:
        return f"objective/{objective.name}: no latency histogram yet."
    said = no_edge(evidence.edges, objective.threshold_seconds or 0.0, "s")
    return f"objective/{objective.name}: {said}"


def no_edge(edges: Sequence[float], wanted: float, unit: str) -> str:
    """Say that a threshold is no bucket edge, and which are the nearest."""
    finite = [edge for edge in edges if edge < inf]
    below = [edge for edge in finite if edge < wanted][-1:]
    above = [edge for edge in finite if edge > wanted][:1]
    nearest = " and ".join(f"{number(edge)} {unit}".strip() for edge in below + above)
    what = "the latency buckets" if unit == "s" else "the buckets"
    return (
        f"threshold {f'{number(wanted)} {unit}'.strip()}, wanted an edge of {what}; "
        f"the nearest are {nearest or 'none'}."
    )


def number(value: float) -> str:
    """Write a number as people do."""
    return f"{value:g}"
