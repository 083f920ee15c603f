"""Tell what is so: record, revisions, status and Events.

Owns what is written about a pass and when. Must not decide or move traffic. Status is written
only when it says something else than before, and by compare-and-swap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from headgate.core.asked import find_commands
from headgate.core.conditions import Seen, render_conditions
from headgate.core.evidence import Evidence
from headgate.core.lifecycle import ABSENT, Outcome, Phase, State
from headgate.core.memory import (
    Memory,
    RouteMemory,
    render_memory,
    render_moment,
    render_reference,
    rollout_name,
)
from headgate.core.record import Judged, close_record, numbers_in_words, render_record
from headgate.core.rollout import Decision
from headgate.core.slo.gate import in_words
from headgate.core.verdict import Breach
from headgate.core.wording import plain
from headgate.ports import EVENT, Arms, Manifest, Refused, SignalSource, Unavailable
from headgate.reconcile.act import Acted
from headgate.reconcile.commits import commit_in_words, commits_of_revision, settle
from headgate.reconcile.guards import drift_in_words
from headgate.reconcile.observe import Observation, tried_revision
from headgate.reconcile.world import Transition, World

_WARNINGS = frozenset({Phase.ROLLED_BACK, Phase.DEGRADED})


async def report(seen: Observation, acted: Acted, world: World) -> Transition | None:
    """Write record, revisions and status in that order, then an Event if something happened."""
    failure: Exception | None = None
    try:
        record = await write_record(seen, acted.decision, acted.record, acted.route, world)
        await _close_left_record(seen, acted, world)
        record = await settle(seen, record, acted.decision.state.phase, world)
        await _write_revisions(seen, acted.decision.state, record, world)
    except (Unavailable, Refused) as error:
        # The state must be stored all the same, or the next pass would decide from the old one.
        failure = error
    status = _status(seen, acted)
    await _write_status(seen, status, world)
    if failure is not None:
        raise failure
    transition = _transition(seen, acted)
    if transition is not None:
        await _post_event(seen.owner, transition, world, _details(seen, acted, transition, world))
    for found in (*_emergency(seen, acted), *_findings(seen, status)):
        await _post_event(seen.owner, found, world)
    return transition


_WATCHED = ("BudgetAvailable", "InputsMatchReference", "CommandAccepted")


def _findings(seen: Observation, status: Mapping[str, Any]) -> list[Transition]:
    """What error budgets, inputs and commands have newly against them: it is told, whatever
    follows."""
    before = {c["type"]: c for c in (seen.owner.get("status") or {}).get("conditions", ())}
    return [
        Transition(
            phase=status["phase"],
            reason=condition["reason"],
            message=condition["message"],
            rollout="",
            revision="",
            outcome="",
            warning=True,
        )
        for condition in status["conditions"]
        if condition["type"] in _WATCHED
        and condition["status"] == "False"
        and before.get(condition["type"], {}).get("reason") != condition["reason"]
    ]


def _emergency(seen: Observation, acted: Acted) -> list[Transition]:
    """What is told when a rollout starts that no error budget could stop."""
    record = acted.record
    if record is None or _name(record) == _name(seen.children.record):
        return []
    emergency = record["spec"].get("emergency")
    if emergency is None:
        return []
    to, phase = record["spec"]["to"]["revision"], acted.decision.state.phase.value
    message = plain(emergency["message"])
    return [Transition(phase, "Emergency", message, _name(record), to, "", warning=True)]


async def report_objection(seen: Observation, world: World) -> None:
    """Write why nothing could be done; phase, revisions and route stay as they are."""
    memory, route = seen.memory, seen.memory.route
    verified = route is not None and route.verified_at is not None
    await _write_status(seen, _rendered(seen, memory, world.clock.now(), verified), world)


# --- status --------------------------------------------------------------------------------------


def _status(seen: Observation, acted: Acted) -> dict[str, Any]:
    situation, state = seen.situation, acted.decision.state
    if situation is None:
        raise ValueError("nothing was decided")
    verified = acted.route is not None and acted.route.verified_at is not None
    return _rendered(seen, Memory(state, acted.route), situation.now, verified)


def _rendered(seen: Observation, memory: Memory, now: datetime, verified: bool) -> dict[str, Any]:
    before = seen.owner.get("status") or {}
    status = {
        **{key: before[key] for key in ("url", "untracked") if key in before},
        **render_memory(memory, seen.owner["metadata"]["name"]),
        "observedGeneration": seen.owner["metadata"]["generation"],
        "conditions": _conditions(seen, memory.state, now, verified),
    }
    if seen.deployment is not None:
        traffic = seen.deployment.spec.traffic
        status["url"] = f"http://{traffic.hostnames[0]}{traffic.path_prefix}"
    if seen.resolved is not None:
        status["untracked"] = list(seen.resolved.untracked)
        status["desired"] = render_reference(seen.resolved.revision)
    status["budget"] = _budgets(seen, before.get("budget") or (), now)
    status["drift"] = _drifts(seen, before.get("drift") or (), now)
    return {key: value for key, value in status.items() if value or key not in _LISTS}


_LISTS = ("budget", "drift")


def _budgets(
    seen: Observation, before: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Render what is left of each budget, to a hundredth, so that status changes seldom."""
    known = {entry["objective"]: entry for entry in before}
    found = []
    for budget in seen.guards.budgets:
        if budget.remaining is None:
            continue
        entry = {
            "objective": budget.level.name,
            "remaining": f"{max(-9999.0, budget.remaining):.2f}",
            "burning": [f"{in_words(p.long)}/{in_words(p.short)}" for p in budget.firing],
        }
        earlier = known.get(budget.level.name, {})
        same = all(earlier.get(key) == value for key, value in entry.items())
        found.append({**entry, "asOf": earlier["asOf"] if same else render_moment(now)})
    return found


_MOST_DRIFTS = 16


def _drifts(
    seen: Observation, before: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Render which features have drifted; each keeps what was first said of it."""
    known = {entry["feature"]: entry for entry in before}
    found = []
    for drift in seen.guards.drifts[:_MOST_DRIFTS]:
        new = {
            "feature": plain(drift.feature, 253),
            "since": render_moment(now),
            "message": drift_in_words(drift),
        }
        found.append(dict(known.get(new["feature"], new)))
    return found


def _conditions(
    seen: Observation, state: State, now: datetime, verified: bool
) -> list[dict[str, Any]]:
    situation = seen.situation
    health = situation.health if situation else {}
    after = replace(situation, state=state) if situation else None
    desired = replace(after.desired, hold=after.hold) if after else None
    stable, canary = state.stable, state.canary
    return render_conditions(
        Seen(
            generation=seen.owner["metadata"]["generation"],
            objection=seen.objection,
            desired=desired if seen.resolved is not None else None,
            state=state,
            stable=health.get(stable.hash, ABSENT) if stable else ABSENT,
            canary=health.get(canary.hash, ABSENT) if canary else ABSENT,
            verified=verified,
            route_problem=seen.view.problem if seen.view else "",
            analysis=situation.analysis if situation else None,
            now=now,
            restraint=seen.guards.restraint,
            budget=seen.guards.budget,
            inputs=seen.guards.inputs,
            commands=find_commands(after, seen.told.malformed),
            untracked=_untracked(seen),
        ),
        (seen.owner.get("status") or {}).get("conditions", ()),
    )


def _untracked(seen: Observation) -> str:
    """Say which runtime may not be read; Secrets are listed in the status."""
    runtime = seen.resolved.spec.get("runtime") if seen.resolved is not None else None
    if runtime is None or "hash" in runtime:
        return ""
    name = f"{runtime['kind']} {runtime['name']}"
    return f"{name} is not tracked, as the operator may not read it: its changes are no revision"


async def _write_status(seen: Observation, status: Mapping[str, Any], world: World) -> None:
    if (seen.owner.get("status") or {}) != status:
        await world.cluster.patch_status(seen.owner, status)


# --- record and revisions ------------------------------------------------------------------------


async def write_record(
    seen: Observation,
    decision: Decision,
    record: Manifest | None,
    route: RouteMemory | None,
    world: World,
) -> Manifest | None:
    """Write what is new to the record in charge, and return it as it is now."""
    situation = seen.situation
    if record is None or situation is None:
        return record
    before = record.get("status") or {}
    # A rollout that starts has no evidence yet: what was read belongs to the one before it.
    same = _name(record) == _name(seen.children.record)
    after = render_record(
        record["spec"],
        before,
        decision,
        _judged(seen, world) if same else Judged(),
        route.generation if route else 0,
        situation.now,
        world.options.checkpoint_every,
    )
    return await world.cluster.patch_status(record, after) if after != before else record


def _judged(seen: Observation, world: World) -> Judged:
    found = seen.judgement
    if found.inputs is None or found.arms is None:
        return Judged(found.evidence, found.analysis)
    return Judged(
        evidence=found.evidence,
        analysis=found.analysis,
        control=found.inputs.control,
        weights=found.inputs.weights,
        stale_after=found.inputs.stale_after,
        budgets=found.inputs.budgets,
        drifted=found.inputs.drifted,
        queries=partial(_queries, found.arms, found.sources, found.evidence, world),
    )


def _queries(
    arms: Arms, sources: Sequence[SignalSource], evidence: Evidence | None, world: World
) -> Mapping[str, str]:
    """What was asked for each signal; for an objective it is what its signal was asked by."""
    asked = world.metrics.queries(arms, sources)
    objectives = evidence.settings.objectives if evidence is not None else ()
    named = {f"objective/{one.name}": asked.get(one.signal) for one in objectives}
    return {**asked, **{name: query for name, query in named.items() if query}}


async def _close_left_record(seen: Observation, acted: Acted, world: World) -> None:
    """Finish a record that nothing is in charge of any more: its own last write was lost, or
    something else is tried instead."""
    left, situation, state = seen.children.record, seen.situation, acted.decision.state
    if left is None or situation is None or acted.decision.finished is not None:
        return
    status, tried = left.get("status") or {}, tried_revision(state)
    in_charge = tried is not None and tried.hash == left["spec"]["to"]["hash"]
    if not status.get("finishedAt") and (not in_charge or _name(left) != _name(acted.record)):
        closed = close_record(left["spec"], status, state, situation.now)
        await world.cluster.patch_status(left, closed)


def _name(manifest: Manifest | None) -> str:
    return str(manifest["metadata"]["name"]) if manifest else ""


async def _write_revisions(
    seen: Observation, state: State, record: Manifest | None, world: World
) -> None:
    for hash, manifest in seen.children.revisions.items():
        before = manifest.get("status") or {}
        after = {**before, **_revision_status(hash, manifest, state, seen)}
        if record is not None and record["spec"]["to"]["hash"] == hash:
            commits = commits_of_revision(before.get("commits") or (), record)
            after |= {"commits": commits} if commits else {}
        if after != before:
            await world.cluster.patch_status(manifest, after)


def _revision_status(
    hash: str, manifest: Manifest, state: State, seen: Observation
) -> dict[str, Any]:
    generation = manifest["metadata"].get("generation", 1)
    status: dict[str, Any] = {"observedGeneration": generation, "phase": "Stopped"}
    rejection = state.rejection_of(hash)
    if state.stable is not None and hash == state.stable.hash:
        status["phase"] = "Serving"
        if state.proven:
            already = (manifest.get("status") or {}).get("provenAt")
            proven_at = already or _proven_elsewhere(hash, seen)
            status |= {"proven": True, "provenAt": proven_at or render_moment(state.phase_since)}
    elif state.canary is not None and hash == state.canary.hash:
        preparing = state.phase in (Phase.PREPARING, Phase.DEGRADED)
        status["phase"] = "Preparing" if preparing else "Serving"
    elif rejection is not None:
        name = rollout_name(seen.owner["metadata"]["name"], rejection.rollout)
        at = render_moment(rejection.at)
        status |= {
            "phase": "Rejected",
            "rejected": {"reason": rejection.reason, "rollout": name, "at": at},
        }
    return status


def _proven_elsewhere(hash: str, seen: Observation) -> str | None:
    """When a revision was proven that Git keeps; None for one that was proven here."""
    if seen.restored is None or seen.restored.revision.hash != hash or seen.deployment is None:
        return None
    proven = seen.deployment.spec.rollout.proven_revision
    return render_moment(proven.proven_at) if proven is not None else None


# --- events --------------------------------------------------------------------------------------


def _transition(seen: Observation, acted: Acted) -> Transition | None:
    decision = acted.decision
    if decision.transition is None:
        return None
    state, name = decision.state, seen.owner["metadata"]["name"]
    before = seen.memory.state.canary
    revision = state.canary or before or state.stable
    outcome = decision.finished
    warning = state.phase in _WARNINGS or outcome is Outcome.ROLLED_BACK
    return Transition(
        phase=state.phase.value,
        reason=state.reason.value,
        message=plain(state.message),
        rollout=rollout_name(name, state.number) if state.number else "",
        revision=revision.name if revision else "",
        outcome=outcome.value if outcome else "",
        warning=warning,
    )


def _details(seen: Observation, acted: Acted, transition: Transition, world: World) -> str:
    """What an Event adds to its sentence: of a start its commit, of a verdict its numbers."""
    record = acted.record
    if record is not None and _name(record) != _name(seen.children.record):
        return commit_in_words(record)
    return _numbers(seen, transition, world)


def _numbers(seen: Observation, transition: Transition, world: World) -> str:
    """What the verdict that a transition tells of rests on; "" if it tells of none."""
    judged = _judged(seen, world)
    analysis = judged.analysis
    if analysis is None or plain(analysis.verdict.message) not in transition.message:
        return ""
    named = analysis.verdict.signal if isinstance(analysis.verdict, Breach) else ""
    for report in analysis.reports:
        if report.name == named or (not named and report.canary_requests):
            return numbers_in_words(report, judged.queries().get(report.name, ""))
    return ""


async def _post_event(
    owner: Manifest, transition: Transition, world: World, numbers: str = ""
) -> None:
    """Tell what happened, in a sentence and, of a verdict, in numbers after it."""
    metadata, at = owner["metadata"], world.clock.now()
    # One name per object and moment: a pass that is repeated does not tell the same thing twice.
    text = f"{metadata['uid']} {transition.reason} {transition.rollout} {at.isoformat()}"
    suffix = hashlib.sha256(text.encode()).hexdigest()[:16]
    event = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{metadata['name']}.{suffix}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": transition.reason,
        "message": plain(f"{transition.message} {numbers}"),
        "type": "Warning" if transition.warning else "Normal",
        "firstTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "count": 1,
        "source": {"component": "headgate"},
        "reportingComponent": "headgate.dev/operator",
    }
    try:
        await world.cluster.create(event)
    except (Unavailable, Refused):
        # An Event is a courtesy: record and status have it already, so a pass must not fail by it.
        return
