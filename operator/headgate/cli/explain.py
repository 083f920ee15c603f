"""Why traffic is as it is: one sentence, the numbers behind it, and what would change it.

Owns the sentences of `headgate why`. Must not know how objects were read. It tells what was stored
when it was decided and judges nothing anew: a decision is explained by its own record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headgate.cli.lines import (
    Line,
    Node,
    Span,
    at_time,
    between,
    columns,
    draw,
    number,
    points,
    share,
    span_of,
    text,
)
from headgate.cli.view import (
    Change,
    Deployment,
    Integrity,
    Link,
    Objects,
    Record,
    Reference,
    Role,
    Signal,
    Verdict,
    view_deployments,
    view_records,
)
from headgate.core.commits.value import Certainty
from headgate.core.wording import plain
from headgate.core.writeback.reasons import Refusal
from headgate.core.writeback.source import changes_between, written


class NoSuchRollout(LookupError):
    """No record has the number that was asked for; the text says which there are."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything `why` says.

    `deployment` is None when it is gone and only its records remain; `record` None before the
    first rollout. `records` are all that remain, oldest first.
    """

    namespace: str
    name: str
    answer: str
    changes: tuple[str, ...]
    deployment: Deployment | None
    record: Record | None
    records: tuple[Record, ...]

    @property
    def is_intact(self) -> bool:
        """Whether no record differs from its digest, nor from what its successor named."""
        return not any(
            r.integrity is Integrity.CHANGED or r.previous.link is Link.CHANGED
            for r in self.records
        )


def explain(
    objects: Objects, namespace: str, name: str, number: int | None, now: datetime
) -> Explanation:
    """Explain a deployment, or one rollout of it; at least one object of it must have been read.

    Raises:
        NoSuchRollout: `number` is not None and no record has it.
    """
    deployment = next(iter(view_deployments(objects, now)), None)
    manifest = next(iter(objects.deployments), None)
    records = view_records(objects, manifest)
    record = _chosen(deployment, records, number)
    asked = number is not None
    return Explanation(
        namespace=namespace,
        name=name,
        answer=_answer(deployment, record, asked),
        changes=(
            *_changes(deployment, record, namespace),
            *_restoring(deployment, record, objects, namespace),
        ),
        deployment=deployment,
        record=record,
        records=records,
    )


def _chosen(
    deployment: Deployment | None, records: Sequence[Record], number: int | None
) -> Record | None:
    """Choose the record that was asked for, else that of the rejected version, else the last."""
    if number is not None:
        found = next((r for r in records if r.number == number), None)
        if found is None:
            there = ", ".join(str(r.number) for r in records) or "none"
            raise NoSuchRollout(f"no rollout {number}; there is {there}")
        return found
    by_name = {record.name: record for record in records}
    if deployment is None:
        return records[-1] if records else None
    if deployment.phase == "RolledBack":
        for revision in deployment.revisions:
            if revision.rejection and revision.version == deployment.version:
                return by_name.get(revision.rejection.rollout, deployment.record)
    return deployment.record or (records[-1] if records else None)


# --- the one sentence ----------------------------------------------------------------------------

_CAUSES = {
    "ErrorsHigher": "it failed more of its requests than {stable}",
    "LatencyHigher": "it was slower than {stable}",
    "SignalWorse": "its signal {signal} was worse than that of {stable}",
    "DistributionDiffers": "its signal {signal} differed from that of {stable}",
    "ObjectiveBroken": "it broke the objective {signal}",
    "BudgetSpent": "it spent more of the error budget of {signal} than one rollout may",
    "CandidateNotReady": "it was not ready in time",
    "ProgressDeadlineExceeded": "there was no verdict before the progress deadline",
}


def _answer(deployment: Deployment | None, record: Record | None, asked: bool) -> str:
    if deployment is None:
        told = _told(record) if record else "It has no record."
        return f"The ModelDeployment is gone and its records remain. {told}"
    if asked and record is not None and (not record.is_running or record != deployment.record):
        return _told(record)
    accepted = deployment.condition("Accepted")
    if accepted is not None and accepted.status == "False":
        return f"{_traffic(deployment)}; the spec is not acted upon: {accepted.message}."
    return _by_phase(deployment, record)


def _told(record: Record) -> str:
    """Say in a sentence how a rollout ended."""
    version = f"Version {record.to.version}"
    match record.outcome:
        case "RolledBack":
            to = f" to version {record.from_.version}" if record.from_ else ""
            return f"{version} went back{to} because {_cause(record)}."
        case "Promoted" if record.reason == "RestoredProven":
            return f"{version} became the stable one at once: it was proven before, elsewhere."
        case "Promoted" if record.from_ is None:
            return f"{version} became the stable one as the first revision."
        case "Promoted" if (change := record.command("Promote")) is not None:
            unproven = f"it got all requests unproven, {_as_asked(change)}"
            return f"{version} became the stable one: {unproven}, and passed its bake."
        case "Promoted":
            return f"{version} became the stable one: it earned all weights and passed its bake."
        case "Aborted" if (change := record.command("Abort")) is not None:
            to = f" to version {record.from_.version}" if record.from_ else ""
            return f"{version} went back{to}, {_as_asked(change)}."
        case "Superseded" | "Aborted":
            return f"{version} was not tried to the end because {_lower(record.message)}."
    return f"{version} was still being tried when this was last written."


def _as_asked(change: Change) -> str:
    """Say who asked for a change, as its own sentence ends."""
    _, found, asked = change.message.partition(", as ")
    return f"as {asked.rstrip('.')}" if found else _lower(change.message)


def _cause(record: Record) -> str:
    """Say what it went back for, and of a breach the counts that show it."""
    verdict, reason, told = record.verdict, record.reason, ""
    if reason == "AnalysisFailed" and verdict is not None and verdict.verdict == "Breach":
        reason, told = verdict.reason, _lower(verdict.message)
    pattern = _CAUSES.get(reason)
    if pattern is None:
        return told or _lower(record.message) or f"of {reason}"
    signal = verdict.signal.removeprefix("objective/") if verdict else ""
    cause = pattern.format(stable=_name(record.from_), signal=signal)
    return f"{cause}: {told}" if told else cause


def _name(revision: Reference | None) -> str:
    return f"version {revision.version}" if revision else "the stable one"


def _traffic(view: Deployment) -> str:
    """Say who gets how many percent of the requests."""
    serving = [r for r in view.revisions if r.weight > 0]
    if not serving:
        return "No version gets requests"
    parts = [f"version {r.version} gets {r.weight} %" for r in serving]
    return _upper(" and ".join(parts)) + " of the requests"


def _by_phase(view: Deployment, record: Record | None) -> str:
    traffic = _traffic(view)
    match view.phase:
        case "Stable" if (held := _held_back(view)) is not None:
            return f"{traffic}; version {view.version} waits: {held}."
        case "Stable" if view.reason == "RestoredProven":
            return f"{traffic} because it was proven before, elsewhere, and nothing else is wanted."
        case "Stable":
            return f"{traffic} because it went through a whole rollout and nothing else is wanted."
        case "RolledBack":
            what = _told(record).rstrip(".") if record else _lower(view.message)
            return f"{what}; {_lower(traffic)}."
        case "Progressing" | "Paused" | "Baking" | "Preparing" if record is not None:
            return f"{traffic} because {_waiting(view, record)}."
        case "":
            return "The operator has not looked at it yet: is it running?"
    return f"{traffic}: {_lower(view.message) or 'nothing was started'}."


def _held_back(view: Deployment) -> str | None:
    """Say why a version that is wanted is not tried; None if none is wanted."""
    rolled_out = view.condition("RolledOut")
    if rolled_out is None or rolled_out.status != "False":
        return None
    return _lower(rolled_out.message) or rolled_out.reason


def _waiting(view: Deployment, record: Record) -> str:
    """Say what the rollout in charge waits for."""
    version, wait = f"version {record.to.version}", view.wait
    if view.phase == "Preparing":
        ready = view.condition("CanaryReady")
        problem = ready.message if ready is not None and ready.status == "False" else ""
        return f"{version} is not ready yet" + (f": {problem}" if problem else "")
    if view.phase == "Paused":
        return f"the rollout is paused: {view.message}"
    if view.phase == "Baking":
        left = span_of(wait.left) if wait else "0s"
        kept = f"; version {record.from_.version} is kept warm" if record.from_ else ""
        return f"it is in its bake, of which {left} are left{kept}"
    return _next_weight(view, record)


def _next_weight(view: Deployment, record: Record) -> str:
    wait, verdict = view.wait, record.verdict
    flowing = view.condition("EvidenceFlowing")
    if flowing is not None and flowing.status == "False":
        return f"there is no evidence to go on by: {flowing.message}"
    budget = view.condition("BudgetAvailable")
    if budget is not None and budget.status == "False" and budget.reason == "FastBurn":
        return f"the step waits: {_lower(budget.message)}"
    following = [s.weight for s in record.steps if s.state.value == "toCome"]
    weight = following[0] if following else 100
    if verdict is not None and verdict.reason not in ("NotYetProven", "Passed", "NoTraffic"):
        return f"the next weight of {weight} % is not earned: {_lower(verdict.message.rstrip('.'))}"
    if wait is not None and wait.left > timedelta(0):
        least = "" if wait.exact else "at least "
        return f"the step is held for {least}{span_of(wait.left)} more before {weight} %"
    needed = record.requests_needed
    some = f"about {needed:,} more requests" if needed else "more requests"
    return f"version {record.to.version} must prove itself by {some} before it gets {weight} %"


# --- what would change it ------------------------------------------------------------------------

_EVIDENCE_ADVICE = {
    "NoTraffic": "Requests through the gateway are needed: without them nothing is proven.",
    "EvidenceStale": "See whether Prometheus still scrapes the gateway; the last sample is old.",
    "MetricsUnavailable": "See whether the operator reaches Prometheus; its log names the query.",
    "StableInIncident": "The stable version breaks the same objective: cure the incident first.",
    "SignalMissing": "See whether the gateway exports its latency histogram and it is scraped.",
    "ThresholdNotAnEdge": "Set the objective's threshold to a bucket edge of the gateway.",
}


_IN_SPITE = "To release in spite of it, set spec.rollout.emergency to true; that is on record."
_GUARD_ADVICE = {
    "BudgetExhausted": _IN_SPITE,
    "BudgetLow": _IN_SPITE,
    "FastBurn": "Cure what burns the error budget: no weight rises while it burns fast.",
    "InputsDrifted": "Train on inputs as they are now: rolling back does not change them.",
}


def _changes(view: Deployment | None, record: Record | None, namespace: str) -> Iterator[str]:
    """Say what a person can do, and what happens by itself."""
    if view is not None:
        yield from _live_changes(view, record)
    went_back = record is not None and (
        record.outcome == "RolledBack" or record.command("Abort") is not None
    )
    if record is not None and went_back:
        yield from _retrying(view, record, namespace)


def _live_changes(view: Deployment, record: Record | None) -> Iterator[str]:
    accepted = view.condition("Accepted")
    if accepted is not None and accepted.status == "False":
        field = accepted.message.partition(":")[0]
        yield f"Fix {field} in the spec; it is looked at again as soon as it changes."
    if not view.is_seen:
        yield "The newest spec was not looked at yet; see whether the operator runs."
    if view.phase == "Paused" and view.paused:
        yield "Set spec.rollout.paused to false to go on."
    elif view.phase == "Paused" and record is not None and record.command("Pause") is not None:
        yield f"To go on, {_told_how('resume', view)}."
    for guard in ("BudgetAvailable", "InputsMatchReference"):
        found = view.condition(guard)
        if found is not None and found.status == "False" and found.reason in _GUARD_ADVICE:
            yield _GUARD_ADVICE[found.reason]
    route = view.condition("TrafficVerified")
    if route is not None and route.status != "True":
        yield f"The route must be taken up by the gateway: {route.message}."
    if record is not None and record.is_running and view.phase in ("Progressing", "Baking"):
        yield from _evidence_changes(view, record)
    if record is not None and record.is_running and record.from_ is not None:
        back = record.from_.version
        yield f"Committing version {back} again aborts the rollout and returns all requests to it."
        yield f"To stop it at once, {_told_how('abort', view)}."


def _evidence_changes(view: Deployment, record: Record) -> Iterator[str]:
    flowing = view.condition("EvidenceFlowing")
    silent = flowing is not None and flowing.status == "False"
    reason = flowing.reason if flowing is not None and silent else ""
    if not reason and record.verdict is not None:
        reason = record.verdict.reason
    if reason in _EVIDENCE_ADVICE:
        yield _EVIDENCE_ADVICE[reason]
    if not silent and record.requests_needed and view.phase == "Progressing":
        yield f"About {record.requests_needed:,} more canary requests earn the next weight."


def _retrying(view: Deployment | None, record: Record, namespace: str) -> Iterator[str]:
    version, hash = record.to.version, record.to.hash
    if view is not None:
        current = f' (now "{view.retry}")'
        still = any(r.role is Role.REJECTED and r.hash == hash for r in view.revisions)
        if still:
            yield f"To try version {version} again as it is, change spec.rollout.retry{current}."
            yield f"To try it once more without a commit, {_told_how('retry', view)}."
            yield "Another template or another model digest is a new revision and is tried at once."
        else:
            yield f"Version {version} ({hash}) is not barred any more."
    if record.reason == "CandidateNotReady":
        yield f"Its pods say why: kubectl logs -n {namespace} -l headgate.dev/revision={hash}"
    elif record.reason == "ProgressDeadlineExceeded":
        yield "More traffic, a longer progressDeadline or a larger tolerance gives a verdict."


def _told_how(verb: str, view: Deployment) -> str:
    return f"give `headgate {verb} {view.name} -n {view.namespace}`"


def _restoring(
    view: Deployment | None, record: Record | None, objects: Objects, namespace: str
) -> Iterator[str]:
    """Say what makes Git agree with the cluster while Git still wants what was rolled back."""
    if view is None or record is None or record.from_ is None or view.phase != "RolledBack":
        return
    roles = {revision.hash: revision.role for revision in view.revisions}
    back, tried = roles.get(record.from_.hash), roles.get(record.to.hash)
    if (back, tried) != (Role.STABLE, Role.REJECTED) or view.version != record.to.version:
        return
    specs = {found["metadata"]["name"]: found["spec"] for found in objects.revisions}
    rejected, stable = specs.get(record.to.revision), specs.get(record.from_.revision)
    if rejected is None or stable is None:
        return
    try:
        changes = changes_between(rejected, stable)
    except Refusal:
        shown = f"kubectl get modelrevision -n {namespace} {record.from_.revision} -o yaml"
        yield f"To let Git say what serves, restore version {record.from_.version}: {shown}"
        return
    told = ", ".join(f"{written(each.path)}: {plain(json.dumps(each.new), 80)}" for each in changes)
    yield f"To let Git say what serves, restore version {record.from_.version} there: {told}"


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _lower(words: str) -> str:
    """Continue a sentence with another one's words."""
    return (words[:1].lower() + words[1:]).rstrip(".")


# --- the page ------------------------------------------------------------------------------------

_INTEGRITY = {
    Integrity.INTACT: ("intact", "green"),
    Integrity.CHANGED: ("CHANGED since it was finished", "bold red"),
    Integrity.OPEN: ("not finished yet", ""),
}
_LINKS = {
    Link.INTACT: ("{name}, which is as it was named then", ""),
    Link.CHANGED: ("{name}, which is NOT what was named then", "bold red"),
    Link.GONE: ("{name}, which is gone (history keeps so many)", "dim"),
    Link.FIRST: ("none, it is the first", ""),
}


def page(explained: Explanation) -> tuple[Line, ...]:
    """Draw the explanation: the sentence, the record, what would change it, and the chain."""
    place = f"{explained.namespace}/{explained.name}"
    lines = [Line("", (Span(explained.answer, "bold"),))]
    if explained.record is not None:
        lines += [Line("", ()), *draw(_record(explained.record, place))]
    if explained.changes:
        said = tuple(Node(text(change)) for change in explained.changes)
        lines += [Line("", ()), *draw(Node(text("what would change it", style="bold"), said))]
    if len(explained.records) > 1:
        rows = columns([_history(record) for record in explained.records])
        kept = Node(text("records", style="bold"), tuple(Node(row) for row in rows))
        lines += [Line("", ()), *draw(kept)]
    return tuple(lines)


def _record(record: Record, place: str) -> Node:
    path = f"version {record.from_.version} ({record.from_.hash}) → " if record.from_ else "first: "
    title = (
        Span(f"rollout {record.name}", "bold"),
        Span(f" of {place}: {path}version {record.to.version} ({record.to.hash}), "),
        Span(record.outcome, "bold"),
    )
    nodes = [
        *_times(record),
        *_commit(record),
        *([_decision(record.verdict)] if record.verdict else []),
        Node(text("what happened"), tuple(Node(row) for row in columns(_happened(record.changes)))),
        *(_signals(record) if record.signals else []),
        *_chain(record),
    ]
    return Node(title, tuple(nodes))


def _times(record: Record) -> list[Node]:
    rows = [
        (Span("started"), Span(at_time(record.started_at))),
        (Span("first request"), Span(at_time(record.first_request_at))),
        (Span("finished"), Span(_finished(record))),
    ]
    return [Node(row) for row in columns([row for row in rows if row[1].text])]


def _commit(record: Record) -> list[Node]:
    """Name the commit that started it, and beneath it who says so."""
    commit = record.commit
    if commit is None:
        return []
    if commit.certainty is Certainty.UNKNOWN:
        return [Node(text(str(commit)))]
    return [Node(text(str(commit)), (Node(text(commit.message)),))]


def _finished(record: Record) -> str:
    if record.finished_at is None:
        return ""
    since = record.first_request_at
    took = f", {span_of(record.finished_at - since)} after the first request" if since else ""
    return at_time(record.finished_at) + took


def _decision(verdict: Verdict) -> Node:
    about = f"{verdict.verdict} ({verdict.reason}{f', {verdict.signal}' if verdict.signal else ''})"
    style = "red" if verdict.verdict == "Breach" else ""
    return Node(
        (Span("decision: "), Span(about, style), Span(f" at {at_time(verdict.at)}")),
        (Node(text(verdict.message)),),
    )


def _happened(changes: Sequence[Change]) -> list[tuple[Span, ...]]:
    return [
        (
            Span(at_time(change.at), "dim"),
            Span(f"{change.weight:3d} %"),
            Span(change.reason),
            Span(change.message),
        )
        for change in changes
    ] or [(Span("nothing yet"),)]


_SIGNAL_HEADER = (
    *("signal", "canary", "stable", "difference", "at 95 %"),
    *("harm (e-value)", "to roll back", "still needed"),
)


def _signals(record: Record) -> list[Node]:
    """Both arms of every signal with its test, what its noise was, and what was asked for it."""
    rows = [tuple(Span(word, "dim") for word in _SIGNAL_HEADER)]
    rows += [_signal(signal) for signal in record.signals]
    nodes = [Node(text(_counted(record)), tuple(Node(row) for row in columns(rows)))]
    noise = [(Span(s.name), Span(_noise(s))) for s in record.signals if s.pods]
    told = tuple(Node(row) for row in columns(noise)) or (Node(text(_NO_NOISE)),)
    nodes.append(Node(text("noise between the pods of the stable version"), told))
    queries = dict.fromkeys(s.query for s in record.signals if s.query)
    asked = [(Span(_asking(query, record)), Span(query, "dim")) for query in queries]
    if asked:
        nodes.append(Node(text("asked for"), tuple(Node(row) for row in columns(asked))))
    return nodes


def _asking(query: str, record: Record) -> str:
    """Name the signals that one query was asked for."""
    return ", ".join(signal.name for signal in record.signals if signal.query == query)


def _counted(record: Record) -> str:
    """Say from when to when the signals count."""
    since, until = at_time(record.counted_since), at_time(record.evidence_as_of)
    return f"signals, counted from {since} to {until}" if since and until else "signals"


def _signal(signal: Signal) -> tuple[Span, ...]:
    return (
        Span(signal.name),
        Span(share(signal.canary_bad, signal.canary_requests)),
        Span(share(signal.stable_bad, signal.stable_requests)),
        Span(points(signal.difference_points)),
        Span(between(signal.lowest_points, signal.highest_points)),
        Span(number(signal.evidence)),
        Span(number(signal.threshold)),
        Span("" if not signal.requests_needed else f"{signal.requests_needed:,} requests"),
    )


_NO_NOISE = "not measured: its pods are not told apart, or had too few bad requests"


def _noise(signal: Signal) -> str:
    effect = "not known" if signal.design_effect is None else f"{signal.design_effect:.3g}"
    runs = "no" if not signal.placebo_runs else f"{signal.placebo_runs:,}"
    return f"design effect {effect}, {runs} placebo runs, of {signal.pods} pods"


def _chain(record: Record) -> list[Node]:
    words, style = _INTEGRITY[record.integrity]
    before, mood = _LINKS[record.previous.link]
    named = before.format(name=record.previous.name)
    return [
        Node((Span("record: "), Span(words, style), Span("; before it: "), Span(named, mood))),
    ]


def _history(record: Record) -> tuple[Span, ...]:
    words, style = _INTEGRITY[record.integrity]
    return (
        Span(record.name),
        Span(f"version {record.to.version}"),
        Span(record.outcome),
        Span(at_time(record.finished_at or record.started_at), "dim"),
        Span(words, style),
    )
