"""The record of a try: made when it starts, found again after a crash, made anew when deleted.

Owns which ModelRollout a try has and what its spec says. Must not write its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.adapters.kserve import (
    own_labels,
)
from headgate.api.model_deployment import ModelDeployment
from headgate.core.commits.value import Commit, render
from headgate.core.lifecycle import Outcome, Reason, Revision
from headgate.core.memory import render_reference, rollout_name
from headgate.core.rollout import Decision
from headgate.ports import (
    MODEL_ROLLOUT,
    Manifest,
)
from headgate.reconcile.commits import commit_at_start
from headgate.reconcile.emergency import render_emergency
from headgate.reconcile.observe import Observation, tried_revision
from headgate.reconcile.world import World


async def ensure_record(
    seen: Observation, decision: Decision, record: Manifest | None, world: World
) -> tuple[Decision, Manifest | None]:
    """Create the record of a try that starts, or that somebody deleted while it ran.

    What is tried is what Git wants, or a proven revision that comes back.
    """
    state = decision.state
    tried = tried_revision(state)
    model = _model_of(seen, tried, state.returning) if tried is not None else None
    if tried is None or model is None:
        return decision, record
    anew = state.reason is Reason.JUDGED_ANEW and decision.transition is not None
    if record is not None and _is_of(record, state.number, tried) and not anew:
        return decision, record
    owner = seen.owner
    name = owner["metadata"]["name"]
    records = await world.cluster.list(
        MODEL_ROLLOUT, owner["metadata"]["namespace"], own_labels(name)
    )
    known = seen.memory.state.number
    begun = next((r for r in records if _is_begun(r, owner, tried, known)), None)
    latest = max((r["spec"]["number"] for r in records), default=0)
    number = begun["spec"]["number"] if begun else max(latest + 1, state.number)
    decision = replace(decision, state=replace(state, number=number))
    if begun is None:
        commit = await commit_at_start(owner, tried, state.returning, records, world)
        manifest = _rendered_record(seen, tried, model, decision, records, commit)
        begun = await world.cluster.create(manifest)
    return decision, begun


def _model_of(seen: Observation, tried: Revision, returning: bool) -> Mapping[str, Any] | None:
    """What the tried revision's model is; None if nothing is to be recorded of it."""
    said = seen.resolved_of(tried.hash)
    if said is not None:
        model: Mapping[str, Any] = said.spec["model"]
        return model
    stored = seen.children.revisions.get(tried.hash) if returning else None
    return stored["spec"]["model"] if stored is not None and seen.deployment is not None else None


def _is_of(record: Manifest, number: int, tried: Revision) -> bool:
    spec = record["spec"]
    return bool(spec["number"] == number and spec["to"]["hash"] == tried.hash)


def _is_begun(record: Manifest, owner: Manifest, tried: Revision, known: int) -> bool:
    """Whether this record is of the same attempt, begun by a pass that ended half-way."""
    spec, outcome = record["spec"], (record.get("status") or {}).get("outcome")
    return (
        spec["number"] > known
        and spec["deploymentUID"] == owner["metadata"]["uid"]
        and spec["to"]["hash"] == tried.hash
        and outcome in (None, Outcome.PROGRESSING.value)
    )


def _rendered_record(
    seen: Observation,
    tried: Revision,
    model: Mapping[str, Any],
    decision: Decision,
    records: Any,
    commit: Commit,
) -> dict[str, Any]:
    owner, deployment = seen.owner, seen.deployment
    if deployment is None:
        raise ValueError("a rollout starts from an accepted spec only")
    name, number = owner["metadata"]["name"], decision.state.number
    spec: dict[str, Any] = {
        "deployment": name,
        "deploymentUID": owner["metadata"]["uid"],
        "number": number,
        "to": render_reference(tried),
        "model": model,
        "policy": _rendered_policy(deployment),
        "generation": owner["metadata"]["generation"],
        "startedAt": decision.state.phase_since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "commit": render(commit),
    }
    if decision.state.stable is not None:
        spec["from"] = render_reference(decision.state.stable)
    if deployment.spec.rollout.emergency:
        spec["emergency"] = render_emergency(owner, commit)
    restored = _restored(seen, tried)
    if restored is not None:
        spec["restored"] = restored
    previous = _previous(records)
    if previous is not None:
        spec["previous"] = previous
    return {
        "apiVersion": MODEL_ROLLOUT.api_version,
        "kind": MODEL_ROLLOUT.kind,
        # No owner: the record outlives the deployment, that is what it is for.
        "metadata": {
            "name": rollout_name(name, number),
            "namespace": owner["metadata"]["namespace"],
            "labels": own_labels(name),
        },
        "spec": spec,
    }


def _restored(seen: Observation, tried: Revision) -> dict[str, Any] | None:
    """Say where a revision was proven that comes first because Git keeps it; None for others."""
    restored, deployment = seen.restored, seen.deployment
    proven = deployment.spec.rollout.proven_revision if deployment is not None else None
    if restored is None or proven is None or restored.revision.hash != tried.hash:
        return None
    kept = proven.manifest()
    return {name: kept[name] for name in ("provenAt", "rollout") if name in kept}


def _rendered_policy(deployment: ModelDeployment) -> dict[str, Any]:
    """Copy the rules in force, with the steps that a default or a ramp stands for."""
    spec = deployment.spec
    rollout = spec.rollout.manifest()
    # Not a rule of this rollout: what it means is over once something serves.
    rollout.pop("provenRevision", None)
    policy: dict[str, Any] = {
        "rollout": {
            **rollout,
            "steps": [step.manifest() for step in spec.rollout.stages],
        },
        "objectives": [objective.manifest() for objective in spec.objectives],
        "signals": [signal.manifest() for signal in spec.signals],
    }
    return {**policy, "drift": spec.drift.manifest()} if spec.drift is not None else policy


def _previous(records: Any) -> dict[str, str] | None:
    finished = [r for r in records if (r.get("status") or {}).get("digest")]
    if not finished:
        return None
    last = max(finished, key=lambda r: int(r["spec"]["number"]))
    return {"name": last["metadata"]["name"], "digest": last["status"]["digest"]}
