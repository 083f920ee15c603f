"""Evidence into a verdict with a reason and a plain sentence.

Owns which tests make a breach, what earns the next weight, and the sentences that say so. Must not
know phases, Kubernetes objects or where counts come from.

All tests of a rollout share one alpha: their e-values are averaged with fixed weights, and a breach
is an average of 1/alpha (Vovk and Wang 2021: the only admissible merge under any dependence). A
test without data adds nothing. The largest term names the culprit.

    errors    .40   more failures than stable by more than the margin
    latency   .25   half: slower by shape; half: more over an objective's threshold by the margin
    absolute  .15   shared by the objectives: above its limit, and stable is not
    alone     .10   shared by the objectives: above twice its budget while there is no control

A limit is an assumption about stable (its history, its objective), and an incident of the service
breaks it for both arms at once; by chance the canary then crosses it first. So an objective counts
while compared only if stable does not break it too *and* the comparison itself is at 50: whatever
happens to the service, a healthy canary gets there once in fifty at most (replayed: less than once
in a hundred), and while the assumption holds alpha is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from math import exp, floor, inf, log, log10, sqrt

from headgate.core.counters import ERRORS, LATENCY, Arm
from headgate.core.evidence import Evidence, Objective, ObjectiveKind, Settings, Tally
from headgate.core.stats import evalue, mixture, sizes
from headgate.core.stats.mixture import Logs
from headgate.core.verdict import (
    Analysis,
    Breach,
    Inconclusive,
    Pass,
    Reason,
    SignalReport,
    Verdict,
)

__all__ = [
    "Analysis",
    "Breach",
    "Inconclusive",
    "Pass",
    "Reason",
    "SignalReport",
    "Verdict",
    "judge",
    "requests_needed",
]

_ERRORS_SHARE = 0.40
_LATENCY_SHARE = 0.25
_ABSOLUTE_SHARE = 0.15
_ALONE_SHARE = 0.10
_SLOW = 0.95  # without a latency objective, slower than this share of stable's requests is "slow"
_CORROBORATED = 50.0  # e-value of the comparison below which a broken objective blames nobody
_CERTAIN = 1_000_000  # no sentence claims a smaller chance than one in this many


def judge(
    settings: Settings,
    evidence: Evidence,
    next_weight: int | None,
    now: datetime,
    stale_after: timedelta,
    control: bool,
) -> Analysis:
    """Judge a rollout once; the first check that has something to say decides.

    `next_weight` (percent) is the weight to be earned; None where there is nothing to earn (first
    revision, bake): then Pass means that data flows and nothing is broken. Without `control` only
    the canary's own objectives are tested and nothing can be earned. Scrapes older than
    `stale_after` give EvidenceStale, whatever they said.
    """
    weight = next_weight if control else None
    terms = _terms(settings, evidence, weight, control)
    total = _total_share(settings)
    checks = (
        _check_fresh(evidence, now, stale_after, control),
        _check_breach(settings, terms, total),
        _check_traffic(settings, evidence, weight, control),
        _check_usable(settings, evidence, weight),
        _check_proof(settings, terms, weight),
    )
    found: Verdict | None = next((one for one in checks if one is not None), None)
    verdict = found if found is not None else _passed(evidence, terms, weight)
    reports = tuple(_report(settings, term, total) for term in terms)
    return Analysis(verdict, reports, _newest(evidence))


def requests_needed(settings: Settings, next_weight: int, base_rate: float) -> int:
    """Canary requests that a canary as good as stable needs to earn `next_weight` from nothing.

    `base_rate` is stable's share of failures. Assumes that all are answered at the weight before
    it, and is the mean over canaries: one in two takes somewhat longer.
    """
    before = max(
        (weight for weight in settings.ladder if weight < next_weight), default=next_weight
    )
    beside = inf if before >= 100 else (100 - before) / before
    margin = settings.promotion_margin(next_weight)
    return sizes.requests_to_prove(base_rate, margin, log(1.0 / settings.promotion_alpha), beside)


# Terms: one signal's share of alpha, its e-value and its counts


@dataclass(frozen=True, slots=True)
class _Term:
    """One signal. `doubt` says why its evidence is no reason to roll back, `unusable` why there can
    be none.
    """

    name: str
    reason: Reason
    share: float
    log_value: float
    counts: Tally
    bad_from: int
    missing: int | None
    what: str
    doubt: Reason | None = None
    unusable: str = ""


def _terms(
    settings: Settings, evidence: Evidence, weight: int | None, control: bool
) -> tuple[_Term, ...]:
    """All signals that count in this phase of a rollout, in the order they are reported."""
    objectives = _objective_terms(settings, evidence, weight, control)
    if not control:
        return tuple(objectives)
    return (
        _errors_term(settings, evidence, weight),
        _latency_term(settings, evidence),
        *objectives,
    )


def _errors_term(settings: Settings, evidence: Evidence, weight: int | None) -> _Term:
    tests, counts = evidence.tests, evidence.errors.compared
    return _Term(
        name=ERRORS,
        reason=Reason.ERRORS_HIGHER,
        share=_ERRORS_SHARE,
        log_value=mixture.log_value(tests.harm, tests.starts),
        counts=counts,
        bad_from=1,
        missing=_missing(settings, tests.promotion, counts, 1, weight),
        what="failed",
    )


def _latency_term(settings: Settings, evidence: Evidence) -> _Term:
    """The shape test, and with usable latency objectives half of it and half of their average."""
    tests = evidence.tests
    over = [
        mixture.log_value(logs, tests.starts)
        for logs, objective in zip(tests.harm_by_objective, settings.objectives, strict=True)
        if objective.kind is ObjectiveKind.LATENCY
    ]
    by_shape = mixture.log_value(tests.shape, tests.starts)
    by_threshold = mixture.log_mean(over) if over else -inf
    found = _telling_from(evidence) if by_shape > max(by_threshold, 0.0) else None
    bad_from, limit = found or _slow_from(settings, evidence)
    return _Term(
        name=LATENCY,
        reason=Reason.LATENCY_HIGHER,
        share=_LATENCY_SHARE,
        log_value=mixture.log_mean([by_shape, by_threshold]) if over else by_shape,
        counts=evidence.latency.compared,
        bad_from=bad_from,
        missing=None,
        what=f"took over {_number(limit)} s for",
    )


def _telling_from(evidence: Evidence) -> tuple[int, float] | None:
    """The edge beyond the floor that tells the arms apart best, when it is their shape that does.

    By the difference of the shares above it over its standard error, as a two-sample z score.
    """
    canary, stable = evidence.latency.compared.canary, evidence.latency.compared.stable
    n_c, n_s = sum(canary), sum(stable)
    if not n_c or not n_s:
        return None

    def score(index: int) -> float:
        over_c, over_s = sum(canary[index:]), sum(stable[index:])
        share = (over_c + over_s) / (n_c + n_s)
        spread = share * (1.0 - share) * (1.0 / n_c + 1.0 / n_s)
        return (over_c / n_c - over_s / n_s) / sqrt(spread) if spread > 0.0 else 0.0

    best = max(range(evidence.floor_buckets, len(canary)), key=score, default=0)
    return (best, evidence.edges[best - 1]) if best and score(best) > 0.0 else None


def _slow_from(settings: Settings, evidence: Evidence) -> tuple[int, float]:
    """What the sentence calls slow: over the first usable threshold, else over stable's p95."""
    for objective in settings.objectives:
        index = evidence.bad_from(objective)
        if objective.kind is ObjectiveKind.LATENCY and index is not None:
            return index, evidence.edges[index - 1]
    stable = evidence.latency.compared.stable
    usual = _SLOW * sum(stable)
    index = next((k for k, below in enumerate(accumulate(stable)) if below >= usual), 0) + 1
    index = max(evidence.floor_buckets, min(index, len(evidence.edges) - 1))
    return index, evidence.edges[index - 1] if evidence.edges else inf


def _objective_terms(
    settings: Settings, evidence: Evidence, weight: int | None, control: bool
) -> Iterator[_Term]:
    tests = evidence.tests
    share = (_ABSOLUTE_SHARE if control else _ALONE_SHARE) / max(1, len(settings.objectives))
    for n, objective in enumerate(settings.objectives):
        limits, bad_from = tests.limits[n], evidence.bad_from(objective)
        own = limits.canary if control else limits.alone
        stream = evidence.stream(objective)
        counts = stream.compared if control else Tally(canary=stream.alone)
        if bad_from is None:
            counts = Tally()
        slow = objective.kind is ObjectiveKind.LATENCY
        yield _Term(
            name=f"objective/{objective.name}",
            reason=Reason.OBJECTIVE_BROKEN,
            share=share,
            log_value=mixture.log_value(own, tests.starts),
            counts=counts,
            bad_from=bad_from or 0,
            missing=(
                _missing(settings, tests.promotion_by_objective[n], counts, bad_from, weight)
                if slow
                else None
            ),
            what=f"took over {objective.threshold_seconds:g} s for" if slow else "failed",
            doubt=_doubt(settings, evidence, n) if control else None,
            unusable=_no_edge(evidence, objective) if bad_from is None else "",
        )


def _doubt(settings: Settings, evidence: Evidence, n: int) -> Reason | None:
    """Why a canary above its limit may not be to blame: stable is too, or hardly does better."""
    tests = evidence.tests
    if mixture.log_value(tests.limits[n].stable, tests.starts) >= -log(settings.alpha):
        return Reason.STABLE_IN_INCIDENT
    compared = tests.harm_by_objective[n] or tests.harm
    if mixture.log_value(compared, tests.starts) < log(_CORROBORATED):
        return Reason.NOT_YET_PROVEN
    return None


def _total_share(settings: Settings) -> float:
    """What the shares of all tests add up to; fixed, so that no test's absence helps another."""
    objectives = _ABSOLUTE_SHARE + _ALONE_SHARE if settings.objectives else 0.0
    return _ERRORS_SHARE + _LATENCY_SHARE + objectives


def _missing(
    settings: Settings,
    states: Sequence[Logs],
    counts: Tally,
    bad_from: int | None,
    weight: int | None,
) -> int | None:
    """Further canary requests until the weight is earned: 0 if it is, None if none would do."""
    if weight is None or bad_from is None:
        return None
    rung = next(n for n, one in enumerate(settings.ladder) if one >= weight)
    lacking = -log(settings.promotion_alpha) - mixture.log_mean(states[rung])
    if lacking <= 0.0:
        return 0
    table = counts.table(bad_from)
    rate = evalue.running_rate(table.stable_bad, table.stable_requests)
    if not table.canary_requests or not table.stable_requests:
        return requests_needed(settings, weight, rate)
    beside = table.stable_requests / table.canary_requests
    margin = settings.promotion_margin(settings.ladder[rung])
    return sizes.requests_to_prove(rate, margin, lacking, beside)


# Checks: each says why not, or nothing


def _check_fresh(
    evidence: Evidence, now: datetime, stale_after: timedelta, control: bool
) -> Inconclusive | None:
    for arm in (Arm.STABLE, Arm.CANARY) if control else (Arm.CANARY,):
        at = evidence.as_of(arm)
        if at is not None and now - at > stale_after:
            age, limit = (now - at).total_seconds(), stale_after.total_seconds()
            message = f"The last sample of {arm} is {age:.0f} s old, wanted at most {limit:.0f} s."
            return Inconclusive(Reason.EVIDENCE_STALE, message, None)
    return None


def _check_breach(
    settings: Settings, terms: Sequence[_Term], total: float
) -> Breach | Inconclusive | None:
    needed = -log(settings.alpha)
    counted = [term for term in terms if sum(term.counts.canary)]
    blamed = [term for term in counted if term.doubt is None]
    average = _log_average(blamed, total)
    if average >= needed:
        worst = max(blamed, key=_weighed)
        chance = _one_in(average)
        message = f"{_sentence(worst)}; chance of this without harm below 1 in {chance:,}."
        return Breach(worst.name, worst.reason, message, sum(worst.counts.canary))
    if _log_average(counted, total) < needed:
        return None
    worst = max((term for term in counted if term.doubt is not None), key=_weighed)
    if worst.doubt is Reason.STABLE_IN_INCIDENT:
        why = "both break the objective, so rolling back would not help"
    else:
        why = "the canary breaks the objective, but is not yet shown to be worse than stable"
    return Inconclusive(worst.doubt or Reason.NOT_YET_PROVEN, f"{_sentence(worst)}: {why}.", None)


def _check_traffic(
    settings: Settings, evidence: Evidence, weight: int | None, control: bool
) -> Inconclusive | None:
    compared = evidence.requests(Arm.STABLE, ERRORS), evidence.requests(Arm.CANARY, ERRORS)
    message = ""
    if _newest(evidence) is None:
        message = "No counter of either version yet: no requests, or nothing scrapes the gateway."
    elif evidence.first_canary_request_after_rebase_at is None:
        message = "The canary has answered no request since the route was verified."
    elif control and weight is not None and not all(compared):
        message = "No requests of both versions at the same time yet."
    if not message:
        return None
    if weight is None:
        return Inconclusive(Reason.NO_TRAFFIC, message, 1)
    stable = evidence.errors.known
    rate = evalue.running_rate(sum(stable[1:]), sum(stable))
    missing = _missing(settings, evidence.tests.promotion, evidence.errors.compared, 1, weight)
    missing = max(1, missing if missing is not None else requests_needed(settings, weight, rate))
    wanted = f" A weight of {weight} % needs about {missing:,} more requests of it."
    return Inconclusive(Reason.NO_TRAFFIC, message + wanted, missing)


def _check_usable(
    settings: Settings, evidence: Evidence, weight: int | None
) -> Inconclusive | None:
    """A latency objective that cannot be measured earns nothing; it is no breach either."""
    for objective in settings.objectives:
        if weight is None or objective.kind is not ObjectiveKind.LATENCY:
            continue
        if not evidence.edges or not evidence.requests(Arm.CANARY, LATENCY):
            message = f"objective/{objective.name}: no latency histogram of both versions yet."
            return Inconclusive(Reason.SIGNAL_MISSING, message, None)
        if evidence.bad_from(objective) is None:
            return Inconclusive(Reason.THRESHOLD_NOT_AN_EDGE, _no_edge(evidence, objective), None)
    return None


def _check_proof(
    settings: Settings, terms: Sequence[_Term], weight: int | None
) -> Inconclusive | None:
    waiting = [term for term in terms if term.missing]
    if weight is None or not waiting:
        return None
    slowest = max(waiting, key=lambda term: term.missing or 0)
    points = 100.0 * settings.promotion_margin(weight)
    message = (
        f"No harm seen: {_sentence(slowest)}. A weight of {weight} % needs proof that the canary "
        f"is less than {points:.3g} points worse: about {slowest.missing:,} more of its requests."
    )
    return Inconclusive(Reason.NOT_YET_PROVEN, message, slowest.missing)


def _passed(evidence: Evidence, terms: Sequence[_Term], weight: int | None) -> Pass:
    said = next((_sentence(term) for term in terms if sum(term.counts.canary)), "")
    said = said or f"canary answered {evidence.canary_requests:,} requests"
    if weight is None:
        return Pass(f"No harm seen: {said}.", evidence.canary_requests)
    return Pass(f"Earned a weight of {weight} %: {said}.", evidence.canary_requests)


# Numbers and sentences


def _weighed(term: _Term) -> float:
    return log(term.share) + term.log_value


def _log_average(terms: Sequence[_Term], total: float) -> float:
    """Log of the weighted average; what is left out counts as nothing, which only costs power."""
    return mixture.log_sum([_weighed(term) for term in terms]) - log(total)


def _report(settings: Settings, term: _Term, total: float) -> SignalReport:
    table = term.counts.table(term.bad_from)
    both = table.canary_requests and table.stable_requests
    return SignalReport(
        name=term.name,
        canary_requests=table.canary_requests,
        canary_bad=table.canary_bad,
        stable_requests=table.stable_requests,
        stable_bad=table.stable_bad,
        difference_points=100.0 * (_rate_c(term) - _rate_s(term)) if both else None,
        log_evidence=term.log_value,
        threshold=total / (term.share * settings.alpha),
        requests_needed=term.missing,
        message=term.unusable or f"{_sentence(term)}.",
    )


def _rate_c(term: _Term) -> float:
    table = term.counts.table(term.bad_from)
    return table.canary_bad / table.canary_requests


def _rate_s(term: _Term) -> float:
    table = term.counts.table(term.bad_from)
    return table.stable_bad / table.stable_requests


def _sentence(term: _Term) -> str:
    """What was counted, as a clause: the numbers a person checks first."""
    table = term.counts.table(term.bad_from)
    canary = f"canary {term.what} {table.canary_bad:,} of {table.canary_requests:,} requests"
    if not table.stable_requests:
        return canary
    return f"{canary}, stable {table.stable_bad:,} of {table.stable_requests:,} at the same time"


def _one_in(log_average: float) -> int:
    """The e-value with one significant digit, rounded down: the claim is never too strong."""
    value = exp(min(log_average, log(_CERTAIN))) * (1.0 + 1e-12)
    unit = 10 ** floor(log10(value))
    return int(floor(value / unit) * unit)


def _no_edge(evidence: Evidence, objective: Objective) -> str:
    wanted = objective.threshold_seconds or 0.0
    if not evidence.edges:
        return f"objective/{objective.name}: no latency histogram yet."
    finite = [edge for edge in evidence.edges if edge < inf]
    below = [edge for edge in finite if edge < wanted][-1:]
    above = [edge for edge in finite if edge > wanted][:1]
    nearest = " and ".join(f"{_number(edge)} s" for edge in below + above)
    return (
        f"objective/{objective.name}: threshold {_number(wanted)} s, wanted an edge of the latency "
        f"buckets; the nearest are {nearest or 'none'}."
    )


def _number(value: float) -> str:
    return f"{value:g}"


def _newest(evidence: Evidence) -> datetime | None:
    seen = (evidence.as_of(Arm.STABLE), evidence.as_of(Arm.CANARY))
    return max((at for at in seen if at is not None), default=None)
