"""The pictures of `headgate status`: a tree for one deployment, a table for many.

Owns what is shown where and in which style. Must not know where the values came from, nor what
they are printed to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from headgate.cli.lines import (
    Line,
    Node,
    Span,
    Spans,
    ago,
    bar,
    columns,
    draw,
    number,
    points,
    share,
    span_of,
    text,
)
from headgate.cli.view import (
    Budget,
    Burn,
    Condition,
    Deployment,
    Record,
    Revision,
    Role,
    Signal,
    Step,
    StepState,
)
from headgate.core.commits.value import Certainty
from headgate.core.slo.gate import LOW, in_words

PHASE_STYLES = {
    "Stable": "green",
    "RolledBack": "bold red",
    "Degraded": "bold red",
    "Paused": "yellow",
    "Pending": "yellow",
}
_MOVING = "cyan"
_ROLE_STYLES = {Role.STABLE: "green", Role.CANARY: "cyan", Role.REJECTED: "red", Role.OLD: "dim"}
_STEPS = {
    StepState.DONE: ("✔", "green"),
    StepState.CURRENT: ("▸", "bold cyan"),
    StepState.TO_COME: ("○", ""),
    StepState.ENDED_HERE: ("✗", "bold red"),
    StepState.NOT_REACHED: ("○", "dim"),
}
_OUTCOME_STYLES = {"Promoted": "green", "RolledBack": "bold red", "Progressing": _MOVING}
_HEADER = ("NAMESPACE", "NAME", "PHASE", "SINCE", "STABLE", "CANARY", "WEIGHT", "READY")
_WIDE_HEADER = ("BUDGET LEFT", "BURNS TOO FAST", "DRIFT")


def tree(view: Deployment, now: datetime) -> tuple[Line, ...]:
    """Draw one deployment; the first line says where it is, the rest why."""
    children = (
        text(view.message) if view.message else (),
        text(view.url, style="underline") if view.url else (),
    )
    nodes = [
        *(Node(body) for body in children if body),
        *_revisions(view.revisions, now),
        *_budgets(view.budgets, now),
        *_drifts(view, now),
        *_rollout(view, now),
        *_attention(view),
    ]
    return draw(Node(_headline(view, now), tuple(nodes)))


def table(views: Sequence[Deployment], now: datetime, wide: bool = False) -> tuple[Line, ...]:
    """Draw one line for each deployment, under a header; `wide` with budgets and drift."""
    header = (*_HEADER, *(_WIDE_HEADER if wide else ()), "MESSAGE")
    rows = [tuple(Span(word, "bold") for word in header)]
    for view in views:
        message = Span(_table_message(view))
        rows.append((*_row(view, now), *(_wide_cells(view) if wide else ()), message))
    return tuple(Line("", body) for body in columns(rows))


def _row(view: Deployment, now: datetime) -> tuple[Span, ...]:
    stable, canary = view.having(Role.STABLE), view.having(Role.CANARY)
    ready = view.condition("Ready")
    phase = view.phase or "Unseen"
    return (
        Span(view.namespace),
        Span(view.name, "bold"),
        Span(phase, phase_style(phase)),
        Span(span_of(now - view.phase_since) if view.phase_since else "-"),
        Span(stable.version if stable else "-"),
        Span(canary.version if canary else "-"),
        Span(f"{canary.weight} %" if canary else "-"),
        Span(ready.status if ready else "-", "" if ready and ready.status == "True" else "red"),
    )


def _wide_cells(view: Deployment) -> tuple[Span, ...]:
    """Show the budget with least left, all that burn, and the features that drifted."""
    known = [budget for budget in view.budgets if budget.remaining is not None]
    least = min(known, key=lambda budget: budget.remaining or 0.0, default=None)
    left = f"{_percent(least)} ({least.objective})" if least else "-"
    burning = [f"{b.windows} ({one.objective})" for one in view.budgets for b in one.burning]
    drifted = [drift.feature for drift in view.drifts]
    return (
        Span(left, _budget_style(least) if least else ""),
        Span(_listed(burning) or "-", "bold red" if burning else ""),
        Span(_listed(drifted) or ("none" if _inputs_watched(view) else "-")),
    )


def _listed(names: Sequence[str]) -> str:
    """Name the first, and how many more there are."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names)


def _table_message(view: Deployment) -> str:
    accepted = view.condition("Accepted")
    if accepted is not None and accepted.status == "False":
        return accepted.message
    return view.message if view.phase else "the operator has not looked at it yet"


def phase_style(phase: str) -> str:
    """Return the style of a phase; what moves has one, an unknown phase too."""
    return PHASE_STYLES.get(phase, _MOVING)


def _headline(view: Deployment, now: datetime) -> Spans:
    phase = view.phase or "Unseen"
    since = f" for {span_of(now - view.phase_since)}" if view.phase_since else ""
    reason = f" ({view.reason})" if view.reason and view.reason != view.phase else ""
    return (
        Span(f"{view.namespace}/{view.name}", "bold"),
        Span("  "),
        Span(phase, phase_style(phase)),
        Span(f"{reason}{since}"),
    )


# --- revisions -----------------------------------------------------------------------------------


def _revisions(revisions: Sequence[Revision], now: datetime) -> list[Node]:
    if not revisions:
        return []
    rows = columns([_revision(revision, now) for revision in revisions])
    return [Node(text("revisions", style="bold"), tuple(Node(row) for row in rows))]


def _revision(revision: Revision, now: datetime) -> tuple[Span, ...]:
    style = _ROLE_STYLES[revision.role]
    return (
        Span(revision.role.value, style),
        Span(f"version {revision.version}"),
        Span(revision.hash, "dim"),
        Span(bar(revision.weight), style),
        Span(f"{revision.weight:3d} %"),
        Span(_pods(revision)),
        Span(_remark(revision, now)),
    )


def _pods(revision: Revision) -> str:
    if revision.pods is None:
        return "no pods" if revision.phase in ("Stopped", "Rejected") else "pods -"
    return f"pods {revision.pods.ready}/{revision.pods.wanted}"


def _remark(revision: Revision, now: datetime) -> str:
    rejection = revision.rejection
    if rejection is not None:
        when = ago(rejection.at, now)
        by = f" ({rejection.by})" if rejection.by else ""
        return f"{rejection.reason}{by} in {rejection.rollout}" + (f", {when}" if when else "")
    if revision.role is Role.STABLE:
        return "proven" if revision.proven else "not proven yet"
    return "was proven" if revision.role is Role.OLD and revision.proven else ""


# --- budgets and drift ---------------------------------------------------------------------------


def _budgets(budgets: Sequence[Budget], now: datetime) -> list[Node]:
    if not budgets:
        return []
    rows = columns([_budget(budget, now) for budget in budgets])
    return [Node(text("error budgets", style="bold"), tuple(Node(row) for row in rows))]


def _budget(budget: Budget, now: datetime) -> tuple[Span, ...]:
    over = f"over {in_words(budget.window)}"
    return (
        Span(budget.objective),
        Span(f"{budget.target} % {over}" if budget.target else over),
        Span(_left_of(budget), _budget_style(budget)),
        Span("; ".join(_burn(one) for one in budget.burning), "bold red"),
        Span(f"since {ago(budget.as_of, now)}" if budget.as_of else "", "dim"),
    )


def _left_of(budget: Budget) -> str:
    if budget.remaining is None:
        return "too little is known yet"
    if budget.remaining < 0.0:
        return f"nothing left, overspent by {-100 * budget.remaining:.3g} %"
    return f"{_percent(budget)} left"


def _percent(budget: Budget) -> str:
    return f"{100 * (budget.remaining or 0.0):.3g} %"


def _budget_style(budget: Budget) -> str:
    if budget.remaining is None:
        return "dim"
    return "bold red" if budget.remaining <= 0.0 else "yellow" if budget.remaining < LOW else ""


def _burn(burn: Burn) -> str:
    """Say over which windows it burns, by which rate that is too fast, and what it calls for."""
    rate = "too fast" if burn.factor is None else f"at a rate above {burn.factor:.3g}"
    calls = f" ({burn.severity})" if burn.severity else ""
    return f"burns {rate} over {burn.windows}{calls}"


def _inputs_watched(view: Deployment) -> bool:
    """Whether the live inputs were found to be as in training."""
    inputs = view.condition("InputsMatchReference")
    return inputs is not None and inputs.status == "True"


def _drifts(view: Deployment, now: datetime) -> list[Node]:
    if not view.drifts and not _inputs_watched(view):
        return []
    told = tuple(
        Node(text(drift.message, f"(since {ago(drift.since, now)})" if drift.since else ""))
        for drift in view.drifts
    )
    fine = Node(text("none: inputs are like those the model was trained on"))
    style = "bold yellow" if told else "bold"
    return [Node(text("drift", style=style), told or (fine,))]


# --- rollout -------------------------------------------------------------------------------------


def _rollout(view: Deployment, now: datetime) -> list[Node]:
    record = view.record
    if record is None:
        return []
    children = [Node(row) for row in columns(_steps(record, view))]
    steps = Node(text("steps"), tuple(children))
    nodes = [*_commit(record), steps, *_evidence(record, now)]
    return [Node(_rollout_line(record, now), tuple(nodes))]


def _commit(record: Record) -> list[Node]:
    """Name the commit; that it is unknown only where a tool should have known it."""
    commit = record.commit
    if commit is None or (commit.certainty is Certainty.UNKNOWN and not commit.told_by):
        return []
    return [Node(text(str(commit)))]


def _rollout_line(record: Record, now: datetime) -> Spans:
    path = f"version {record.from_.version} → " if record.from_ else "first, "
    when = ago(record.finished_at or record.started_at, now)
    word = "ended" if record.finished_at else "began"
    return (
        Span(f"{'last ' if record.finished_at else ''}rollout {record.name}", "bold"),
        Span(f"  {path}version {record.to.version}  "),
        Span(record.outcome, _OUTCOME_STYLES.get(record.outcome, "yellow")),
        Span(f"  {word} {when}" if when else ""),
    )


def _steps(record: Record, view: Deployment) -> list[tuple[Span, ...]]:
    rows = [_step(step, view) for step in record.steps]
    mark, style = _STEPS[record.bake_state]
    left = _left(view) if record.bake_state is StepState.CURRENT else ""
    rows.append(
        (
            Span(mark, style),
            Span("100 %"),
            Span(f"bake {span_of(record.bake)}"),
            Span(left, _MOVING),
        )
    )
    return rows


def _step(step: Step, view: Deployment) -> tuple[Span, ...]:
    mark, style = _STEPS[step.state]
    left = _left(view) if step.state is StepState.CURRENT else ""
    return (
        Span(mark, style),
        Span(f"{step.weight:3d} %", style if step.state is StepState.CURRENT else ""),
        Span(f"hold {span_of(step.hold)}"),
        Span(left, _MOVING),
    )


def _left(view: Deployment) -> str:
    """Say what the current step waits for: time first, then evidence, then a person."""
    wait = view.wait
    if view.phase == "Paused":
        return "paused"
    if wait is None:
        return ""
    if wait.left > timedelta(0):
        return f"{'' if wait.exact else 'at least '}{span_of(wait.left)} left"
    return "time is over, waits for evidence"


def _evidence(record: Record, now: datetime) -> list[Node]:
    if not record.signals:
        return []
    as_of = ago(record.evidence_as_of, now)
    stored = ", stored at changes and once a minute" if record.is_running else ""
    title = f"evidence as of {as_of}{stored}" if as_of else "evidence"
    header = ("signal", "canary", "stable", "difference", "harm", "to roll back", "still needed")
    rows = [tuple(Span(word, "dim") for word in header)]
    rows += [_signal(signal, record.is_running) for signal in record.signals]
    return [Node(text(title), tuple(Node(row) for row in columns(rows)))]


def _signal(signal: Signal, running: bool) -> tuple[Span, ...]:
    over = signal.threshold > 0 and signal.evidence >= signal.threshold
    needed = signal.requests_needed if running else None
    return (
        Span(signal.name),
        Span(share(signal.canary_bad, signal.canary_requests)),
        Span(share(signal.stable_bad, signal.stable_requests)),
        Span(points(signal.difference_points)),
        Span(number(signal.evidence), "bold red" if over else ""),
        Span(number(signal.threshold)),
        Span("" if needed is None else f"{needed:,} requests" if needed else "nothing"),
    )


# --- what is not as it should be -----------------------------------------------------------------


def _attention(view: Deployment) -> list[Node]:
    nodes = [Node(_condition(c, view.message)) for c in view.unusual]
    if not view.is_seen:
        seen = "never" if view.observed_generation < 0 else f"last at {view.observed_generation}"
        words = f"spec generation {view.generation} was not looked at yet ({seen})"
        nodes.insert(0, Node(text(words, style="yellow")))
    return [Node(text("attention", style="bold yellow"), tuple(nodes))] if nodes else []


def _condition(condition: Condition, told: str) -> Spans:
    message = condition.message if condition.message != told else ""
    return (
        Span(f"{condition.type} is {condition.status}", "yellow"),
        Span(f" ({condition.reason})"),
        Span(f": {message}" if message else ""),
    )
