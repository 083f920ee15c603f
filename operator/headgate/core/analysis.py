"""Evidence into a verdict with a reason and a plain sentence.

Owns which tests make a breach, what earns the next weight, and the sentences that say so. Must not
know phases, Kubernetes objects or where counts come from.

The terms' e-values are averaged with fixed weights (`core.signals` says which), and a breach is an
average of 1/alpha. The largest term names the culprit. A signal that only freezes is tested by
itself, and keeps the weight where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import exp, floor, log, log10

from headgate.core.counters import ERRORS, LATENCY, Arm
from headgate.core.evidence import Evidence
from headgate.core.signals import ObjectiveKind, Settings
from headgate.core.stats import evalue, mixture
from headgate.core.terms import Term, requests_needed, terms_of
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
    "judge_ramp",
    "requests_needed",
]

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
    terms = terms_of(settings, evidence, weight, control)
    checks = (
        _check_fresh(evidence, now, stale_after, control),
        _check_breach(settings, terms),
        _check_traffic(settings, evidence, terms, weight, control),
        _check_usable(settings, evidence, terms, weight),
        _check_signals_fresh(settings, evidence, weight, now, stale_after),
        _check_frozen(settings, terms, weight),
        _check_proof(terms, weight),
    )
    found: Verdict | None = next((one for one in checks if one is not None), None)
    verdict = found if found is not None else _passed(evidence, terms, weight)
    reports = tuple(_report(settings, term) for term in terms)
    return Analysis(verdict, reports, _newest(evidence), weight)


def judge_ramp(
    settings: Settings,
    evidence: Evidence,
    weights: Sequence[int],
    now: datetime,
    stale_after: timedelta,
    control: bool,
) -> Analysis:
    """Judge a rollout whose next weight may be any of `weights`, ascending: the largest earned one.

    Without one that is earned, what is said is about the first. A larger weight asks for a stricter
    proof, so the first that is not earned ends the search.
    """
    best: Analysis | None = None
    for weight in weights or (None,):
        found = judge(settings, evidence, weight, now, stale_after, control)
        if best is not None and not isinstance(found.verdict, Pass):
            return best
        best = found
        if not isinstance(found.verdict, Pass):
            return found
    if best is None:
        raise ValueError("nothing was judged")
    return best


# Checks: each says why not, or nothing


def _check_fresh(
    evidence: Evidence, now: datetime, stale_after: timedelta, control: bool
) -> Inconclusive | None:
    for arm in (Arm.STABLE, Arm.CANARY) if control else (Arm.CANARY,):
        stale = _stale(f"The last sample of {arm}", evidence.as_of(arm), now, stale_after)
        if stale is not None:
            return stale
    return None


def _stale(
    what: str, at: datetime | None, now: datetime, stale_after: timedelta
) -> Inconclusive | None:
    """What was never sampled is not stale: other checks miss it."""
    if at is None or now - at <= stale_after:
        return None
    age, most = (now - at).total_seconds(), stale_after.total_seconds()
    message = f"{what} is {age:.0f} s old, wanted at most {most:.0f} s."
    return Inconclusive(Reason.EVIDENCE_STALE, message, None)


def _check_breach(settings: Settings, terms: Sequence[Term]) -> Breach | Inconclusive | None:
    needed, total = -log(settings.alpha), settings.total_share
    counted = [term for term in terms if term.table.canary_requests and not term.freezes]
    blamed = [term for term in counted if term.doubt is None]
    average = _log_average(blamed, total)
    if average >= needed:
        worst = max(blamed, key=_weighed)
        chance = _one_in(average)
        message = f"{worst.sentence}; chance of this without harm below 1 in {chance:,}."
        return Breach(worst.name, worst.reason, message, worst.table.canary_requests)
    if _log_average(counted, total) < needed:
        return None
    worst = max((term for term in counted if term.doubt is not None), key=_weighed)
    if worst.doubt is not Reason.STABLE_IN_INCIDENT:
        why = "the canary breaks the objective, but is not yet shown to be worse than stable"
    elif worst.reason is Reason.OBJECTIVE_BROKEN:
        why = "both break the objective, so rolling back would not help"
    else:
        why = "stable is in an incident itself, so it is no control now"
    return Inconclusive(worst.doubt or Reason.NOT_YET_PROVEN, f"{worst.sentence}: {why}.", None)


def _check_traffic(
    settings: Settings,
    evidence: Evidence,
    terms: Sequence[Term],
    weight: int | None,
    control: bool,
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
    missing = next(term.missing for term in terms if term.name == ERRORS)
    missing = max(1, missing if missing is not None else requests_needed(settings, weight, rate))
    wanted = f" A weight of {weight} % needs about {missing:,} more requests of it."
    return Inconclusive(Reason.NO_TRAFFIC, message + wanted, missing)


def _check_usable(
    settings: Settings, evidence: Evidence, terms: Sequence[Term], weight: int | None
) -> Inconclusive | None:
    """What cannot be measured earns nothing; it is no breach either."""
    if weight is None:
        return None
    slow = [one for one in settings.objectives if one.kind is ObjectiveKind.LATENCY]
    if slow and (not evidence.edges or not evidence.requests(Arm.CANARY, LATENCY)):
        message = f"objective/{slow[0].name}: no latency histogram of both versions yet."
        return Inconclusive(Reason.SIGNAL_MISSING, message, None)
    unusable = [term for term in terms if term.unusable]
    if not unusable:
        return None
    first = min(unusable, key=lambda term: term.reason is not Reason.OBJECTIVE_BROKEN)
    return Inconclusive(first.lacking, first.unusable, None)


def _check_signals_fresh(
    settings: Settings,
    evidence: Evidence,
    weight: int | None,
    now: datetime,
    stale_after: timedelta,
) -> Inconclusive | None:
    """What was proven by a signal that nobody scrapes any more earns no further weight.

    It is asked after a breach: one signal's silence hides no other's harm.
    """
    if weight is None:
        return None
    for signal, one in zip(settings.measured, evidence.signals, strict=True):
        for arm in (Arm.CANARY, Arm.STABLE):
            what = f"The last sample of {arm} for {signal.name}"
            stale = _stale(what, one.as_of(arm), now, stale_after)
            if stale is not None:
                return stale
    return None


def _check_frozen(
    settings: Settings, terms: Sequence[Term], weight: int | None
) -> Inconclusive | None:
    """A signal that may not roll back by itself keeps a weight from being entered."""
    for term in terms:
        if weight is not None and term.freezes and term.log_value >= -log(settings.alpha):
            message = f"{term.sentence}; {term.name} freezes the rollout and does not roll back."
            return Inconclusive(Reason.FROZEN, message, None)
    return None


def _check_proof(terms: Sequence[Term], weight: int | None) -> Inconclusive | None:
    waiting = [term for term in terms if term.missing]
    if weight is None or not waiting:
        return None
    slowest = max(waiting, key=lambda term: term.missing or 0)
    points = 100.0 * slowest.tolerance
    message = (
        f"No harm seen: {slowest.sentence}. A weight of {weight} % needs proof that the canary "
        f"is less than {points:.3g} points worse: about {slowest.missing:,} more of its requests."
    )
    return Inconclusive(Reason.NOT_YET_PROVEN, message, slowest.missing)


def _passed(evidence: Evidence, terms: Sequence[Term], weight: int | None) -> Pass:
    said = next((term.sentence for term in terms if term.table.canary_requests), "")
    said = said or f"canary answered {evidence.canary_requests:,} requests"
    if weight is None:
        return Pass(f"No harm seen: {said}.", evidence.canary_requests)
    return Pass(f"Earned a weight of {weight} %: {said}.", evidence.canary_requests)


# Numbers


def _weighed(term: Term) -> float:
    return log(term.share) + term.log_value


def _log_average(terms: Sequence[Term], total: float) -> float:
    """Log of the weighted average; what is left out counts as nothing, which only costs power."""
    return mixture.log_sum([_weighed(term) for term in terms]) - log(total)


def _report(settings: Settings, term: Term) -> SignalReport:
    table = term.table
    n_c, n_s = table.canary_requests, table.stable_requests
    difference = None
    if n_c and n_s:
        difference = 100.0 * (table.canary_bad / n_c - table.stable_bad / n_s)
    alone = 1.0 if term.freezes else term.share / settings.total_share
    return SignalReport(
        name=term.name,
        canary_requests=n_c,
        canary_bad=table.canary_bad,
        stable_requests=n_s,
        stable_bad=table.stable_bad,
        difference_points=difference,
        log_evidence=term.log_value,
        threshold=1.0 / (alone * settings.alpha),
        requests_needed=term.missing,
        message=term.unusable or f"{term.sentence}.",
        design_effect=term.phi,
        placebo_runs=term.placebo_runs,
        units=term.units,
    )


def _one_in(log_average: float) -> int:
    """The e-value with one significant digit, rounded down: the claim is never too strong."""
    value = exp(min(log_average, log(_CERTAIN))) * (1.0 + 1e-12)
    unit = 10 ** floor(log10(value))
    return int(floor(value / unit) * unit)


def _newest(evidence: Evidence) -> datetime | None:
    seen = (evidence.as_of(Arm.STABLE), evidence.as_of(Arm.CANARY))
    return max((at for at in seen if at is not None), default=None)
