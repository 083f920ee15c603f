"""The record of a rollout: what was decided, on what numbers, when.

Owns the content of a ModelRollout's status. Must not know how it is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headgate.core.analysis import (
    Analysis,
    Breach,
    Inconclusive,
    Pass,
    SignalReport,
    Verdict,
)
from headgate.core.commands import Command
from headgate.core.evidence import Evidence
from headgate.core.lifecycle import Outcome, Reason, State
from headgate.core.memory import render_moment
from headgate.core.revision import record_digest
from headgate.core.rollout import Decision
from headgate.core.slo.exposure import BudgetLeft
from headgate.core.stats.interval import Interval, difference_interval
from headgate.core.wording import plain

MAX_STEPS = 64
"""How many changes of weight a record keeps; the schema's bound."""

_LARGEST_LOG = 300.0
"""Evidence is reported up to e^300: beyond that it says nothing more to anybody."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a look found: the evidence, the verdict, and what that was made from besides.

    `budgets` and `drifted` are what was left of error budgets, and the features whose inputs were
    not as in training. `queries` finds by the name of a signal what was asked for it: it costs
    time, and is asked only when something is written. Without an analysis there was nothing to
    judge.
    """

    evidence: Evidence | None = None
    analysis: Analysis | None = None
    control: bool = False
    weights: tuple[int, ...] = ()
    stale_after: timedelta = timedelta(0)
    budgets: tuple[BudgetLeft, ...] = ()
    drifted: tuple[str, ...] = ()
    queries: Callable[[], Mapping[str, str]] = dict


FIRST_GENERATION = 1
"""metadata.generation of an object whose spec was never changed."""


def render_record(
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    decision: Decision,
    judged: Judged,
    route_generation: int,
    now: datetime,
    checkpoint_every: timedelta,
) -> dict[str, Any]:
    """Return the record's next status, equal to `status` when there is nothing new to store.

    Evidence and the signals' numbers are stored at transitions and every `checkpoint_every`:
    between them they can be read again from the samples.
    """
    if status.get("finishedAt"):
        return dict(status)
    evidence, analysis = judged.evidence, judged.analysis
    due = decision.transition is not None or _is_due(status, evidence, now, checkpoint_every)
    if not due:
        return dict(status)
    weight = _weight_of(spec["to"]["hash"], decision)
    record = dict(status)
    # Its spec never changes, so this is about its first generation, and its last.
    record["observedGeneration"] = FIRST_GENERATION
    record["outcome"] = (decision.finished or Outcome.PROGRESSING).value
    record["phase"] = decision.state.phase.value
    record["reason"] = decision.state.reason.value
    record["message"] = plain(decision.state.message)
    if decision.transition is not None:
        record["steps"] = [*status.get("steps", ()), _step(decision, weight, now)]
        record["steps"] = record["steps"][-MAX_STEPS:]
    if evidence is not None:
        record["evidence"] = {
            "asOf": render_moment(now),
            "state": evidence.to_json(),
            "routeGeneration": route_generation,
        }
        if evidence.first_canary_request_at is not None:
            record["firstRequestAt"] = render_moment(evidence.first_canary_request_at)
    if analysis is not None:
        queries = judged.queries()
        record["signals"] = [render_signal(r, queries) for r in analysis.reports]
        record["decision"] = {
            **render_verdict(analysis.verdict),
            "at": render_moment(now),
            "weight": weight,
            "inputs": _inputs(judged),
        }
    return _finished(spec, record, now) if decision.finished is not None else record


def close_record(
    spec: Mapping[str, Any], status: Mapping[str, Any], state: State, now: datetime
) -> dict[str, Any]:
    """Return the status of a record that is over and was never finished, as the state tells it."""
    tried, record = spec["to"]["hash"], {**status, "observedGeneration": FIRST_GENERATION}
    rejection = state.rejection_of(tried)
    outcome, reason = Outcome.SUPERSEDED, Reason.SUPERSEDED.value
    if rejection is not None and rejection.rollout == spec["number"]:
        outcome = Outcome.ABORTED if rejection.by else Outcome.ROLLED_BACK
        reason = rejection.reason
    elif state.stable is not None and state.stable.hash == tried and state.proven:
        outcome, reason = Outcome.PROMOTED, Reason.PROMOTED.value
    record["outcome"], record["reason"] = outcome.value, reason
    record["message"] = plain(state.message)
    return _finished(spec, record, now)


def _finished(spec: Mapping[str, Any], record: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    ended = {**record, "finishedAt": render_moment(now)}
    return {**ended, "digest": record_digest({"spec": spec, "status": ended})}


def _is_due(
    status: Mapping[str, Any], evidence: Evidence | None, now: datetime, every: timedelta
) -> bool:
    if not status.get("outcome"):
        return True
    stored = status.get("evidence") or {}
    if evidence is None or stored.get("state") == evidence.to_json():
        return False
    return not stored or now - datetime.fromisoformat(stored["asOf"]) >= every


def _weight_of(tried: str, decision: Decision) -> int:
    return next((weight for revision, weight in decision.backends if revision.hash == tried), 0)


def _step(decision: Decision, weight: int, now: datetime) -> dict[str, Any]:
    step = {
        "weight": weight,
        "at": render_moment(now),
        "reason": decision.state.reason.value,
        "message": plain(decision.state.message),
    }
    command = decision.command
    return {**step, "command": render_command(command)} if command is not None else step


def render_command(command: Command) -> dict[str, Any]:
    """Render who asked for what; what is not known is left out."""
    rendered = {"verb": command.verb.value, "manager": command.manager}
    if command.set_at is not None:
        rendered["setAt"] = render_moment(command.set_at)
    return {**rendered, "reason": command.reason} if command.reason else rendered


def _inputs(judged: Judged) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "control": judged.control,
        "staleAfterSeconds": _number(judged.stale_after.total_seconds()),
    }
    if judged.weights:
        rendered["nextWeight"] = judged.weights[0]
    if len(judged.weights) > 1:
        rendered["ramp"] = list(judged.weights)
    # Also when empty, as absent means that an older operator did not say. To the last digit: the
    # decision is to be made again from these numbers.
    rendered["budgets"] = [
        {"objective": one.objective, "remaining": repr(one.remaining), "requests": one.served}
        for one in judged.budgets
    ]
    rendered["driftedInputs"] = list(judged.drifted)
    return rendered


_INTERVAL_ALPHA = 0.05


def interval_of(report: SignalReport) -> Interval | None:
    """Bound the difference, in percentage points, at 95 % and all looks together.

    None without requests on both arms. It takes a rate that stays as it is on either arm.
    """
    if report.difference_points is None:
        return None
    within = difference_interval(
        report.canary_bad,
        report.canary_requests,
        report.stable_bad,
        report.stable_requests,
        _INTERVAL_ALPHA,
        report.design_effect,
    )
    return Interval(100.0 * within.low, 100.0 * within.high)


def render_signal(report: SignalReport, queries: Mapping[str, str]) -> dict[str, Any]:
    """Render what one signal said; `queries` say by name what was asked for it."""
    rendered: dict[str, Any] = {
        "name": report.name,
        "canary": {"requests": report.canary_requests, "bad": report.canary_bad},
        "stable": {"requests": report.stable_requests, "bad": report.stable_bad},
        "evidence": _number(math.exp(min(report.log_evidence, _LARGEST_LOG))),
        "threshold": _number(report.threshold),
        "message": plain(report.message),
    }
    within = interval_of(report)
    if report.difference_points is not None and within is not None:
        rendered["differencePoints"] = _number(report.difference_points)
        rendered["lowestPoints"] = _number(within.low)
        rendered["highestPoints"] = _number(within.high)
    if report.requests_needed is not None:
        rendered["requestsNeeded"] = report.requests_needed
    if report.units:
        rendered["designEffect"] = _number(report.design_effect)
        rendered["placeboRuns"] = report.placebo_runs
        rendered["pods"] = report.units
    if report.name in queries:
        rendered["query"] = plain(queries[report.name])
    return rendered


def numbers_in_words(report: SignalReport, query: str) -> str:
    """Say on one line what one signal's part in a decision rests on, its counts left out.

    `query` is what was asked for it, "" if that is not known.
    """
    e_value = math.exp(min(report.log_evidence, _LARGEST_LOG))
    parts = [f"e-value {e_value:.3g}, rolls back at {report.threshold:.3g}"]
    within = interval_of(report)
    if report.difference_points is not None and within is not None:
        bounds = f"{within.low:+.3g} to {within.high:+.3g} at 95 %"
        parts.insert(0, f"difference {report.difference_points:+.3g} points ({bounds})")
    if report.requests_needed:
        parts.append(f"about {report.requests_needed:,} more requests needed")
    if report.units:
        runs = f"{report.placebo_runs} placebo runs of {report.units} pods"
        parts.append(f"design effect {report.design_effect:.3g}, {runs}")
    if query:
        parts.append(f"asked: {query}")
    return f"{report.name}: {'; '.join(parts)}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def render_verdict(verdict: Verdict) -> dict[str, Any]:
    """Render what a decision says of the evidence; not when it was made, nor what followed."""
    rendered: dict[str, Any] = {"message": plain(verdict.message)}
    match verdict:
        case Breach():
            return {
                **rendered,
                "verdict": "Breach",
                "signal": verdict.signal,
                "reason": verdict.reason.value,
            }
        case Pass():
            return {**rendered, "verdict": "Pass", "reason": "Passed"}
        case Inconclusive():
            return {**rendered, "verdict": "Inconclusive", "reason": verdict.reason.value}
