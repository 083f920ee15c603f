"""Make the world as decided: whole desired states, safe to repeat.

Owns the order of writes. Must not decide. Before traffic moves, what runs is made sure of; after
it has moved and the gateway has confirmed it, what is no longer wanted is stopped. A write that
finds the world changed raises Conflict, and the pass starts anew from what is there now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from headgate.adapters.gateway import (
    Backend,
    Listener,
    RouteView,
    is_as_rendered,
    observe_route,
    read_listener,
    render_route,
)
from headgate.adapters.kserve import (
    Workload,
    is_stopped,
    own_labels,
    owner_reference,
    render_inference_service,
    service_name,
)
from headgate.api.model_deployment import ModelDeployment
from headgate.core.lifecycle import Outcome, Reason, Revision
from headgate.core.memory import RouteMemory, Weights, remember_route, rollout_name
from headgate.core.rollout import Decision
from headgate.ports import (
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    Conflict,
    Manifest,
    Refused,
)
from headgate.reconcile.acceptance import Resolved, listener_of
from headgate.reconcile.observe import Observation, tried_revision
from headgate.reconcile.world import World

_VERIFY_POLL = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of acting.

    `decision` may name another rollout number than was decided (an older record had it);
    `draining` says that something still waits to be stopped.
    """

    decision: Decision
    route: RouteMemory | None
    record: Manifest | None
    draining: bool


async def act(
    seen: Observation, decision: Decision, record: Manifest | None, world: World
) -> Acted:
    """Carry out a decision; raises Conflict, Unavailable or Refused, and may then be repeated.

    The route comes first: weight is only ever given to what serves already, and taking it away
    must wait for nothing.
    """
    route = await _ensure_route(seen, decision, world)
    if seen.resolved is not None and _is_wanted(seen.resolved, decision):
        await _ensure_revision(seen, seen.resolved, world)
        decision, record = await _ensure_record(seen, seen.resolved, decision, record, world)
    await _ensure_running(seen, decision, world)
    draining = await _stop_others(seen, decision, route, world)
    return Acted(decision, route, record, draining)


def _is_wanted(resolved: Resolved, decision: Decision) -> bool:
    return resolved.revision.hash in decision.running


# --- revisions and records -----------------------------------------------------------------------


async def _ensure_revision(seen: Observation, resolved: Resolved, world: World) -> None:
    if resolved.revision.hash in seen.children.revisions:
        return
    owner = seen.owner
    await world.cluster.create(
        {
            "apiVersion": MODEL_REVISION.api_version,
            "kind": MODEL_REVISION.kind,
            "metadata": {
                "name": resolved.revision.name,
                "namespace": owner["metadata"]["namespace"],
                "labels": own_labels(owner["metadata"]["name"]),
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": resolved.spec,
        }
    )


async def _ensure_record(
    seen: Observation,
    resolved: Resolved,
    decision: Decision,
    record: Manifest | None,
    world: World,
) -> tuple[Decision, Manifest | None]:
    """Create the record of a try that starts, or that somebody deleted while it ran."""
    state = decision.state
    tried = tried_revision(state)
    if tried is None or tried.hash != resolved.revision.hash:
        return decision, record
    anew = state.reason is Reason.JUDGED_ANEW and decision.transition is not None
    if record is not None and _is_of(record, state.number, resolved) and not anew:
        return decision, record
    owner = seen.owner
    name = owner["metadata"]["name"]
    records = await world.cluster.list(
        MODEL_ROLLOUT, owner["metadata"]["namespace"], own_labels(name)
    )
    known = seen.memory.state.number
    begun = next((r for r in records if _is_begun(r, owner, resolved, known)), None)
    latest = max((r["spec"]["number"] for r in records), default=0)
    number = begun["spec"]["number"] if begun else max(latest + 1, state.number)
    decision = replace(decision, state=replace(state, number=number))
    if begun is None:
        manifest = _rendered_record(seen, decision, resolved, records)
        begun = await world.cluster.create(manifest)
    return decision, begun


def _is_of(record: Manifest, number: int, resolved: Resolved) -> bool:
    spec = record["spec"]
    return bool(spec["number"] == number and spec["to"]["hash"] == resolved.revision.hash)


def _is_begun(record: Manifest, owner: Manifest, resolved: Resolved, known: int) -> bool:
    """Whether this record is of the same attempt, begun by a pass that ended half-way."""
    spec, outcome = record["spec"], (record.get("status") or {}).get("outcome")
    return (
        spec["number"] > known
        and spec["deploymentUID"] == owner["metadata"]["uid"]
        and spec["to"]["hash"] == resolved.revision.hash
        and outcome in (None, Outcome.PROGRESSING.value)
    )


def _rendered_record(
    seen: Observation, decision: Decision, resolved: Resolved, records: Any
) -> dict[str, Any]:
    owner, deployment = seen.owner, seen.deployment
    if deployment is None:
        raise ValueError("a rollout starts from an accepted spec only")
    name, number = owner["metadata"]["name"], decision.state.number
    spec: dict[str, Any] = {
        "deployment": name,
        "deploymentUID": owner["metadata"]["uid"],
        "number": number,
        "to": _reference(resolved.revision),
        "model": deployment.spec.model.manifest(),
        "policy": _rendered_policy(deployment),
        "generation": owner["metadata"]["generation"],
        "startedAt": decision.state.phase_since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    if decision.state.stable is not None:
        spec["from"] = _reference(decision.state.stable)
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


def _rendered_policy(deployment: ModelDeployment) -> dict[str, Any]:
    return {
        "rollout": deployment.spec.rollout.manifest(),
        "objectives": [o.manifest() for o in deployment.spec.objectives],
    }


def _reference(revision: Revision) -> dict[str, str]:
    return {"revision": revision.name, "hash": revision.hash, "version": revision.version}


def _previous(records: Any) -> dict[str, str] | None:
    finished = [r for r in records if (r.get("status") or {}).get("digest")]
    if not finished:
        return None
    last = max(finished, key=lambda r: int(r["spec"]["number"]))
    return {"name": last["metadata"]["name"], "digest": last["status"]["digest"]}


# --- workloads -----------------------------------------------------------------------------------


async def _ensure_running(seen: Observation, decision: Decision, world: World) -> None:
    state = decision.state
    for revision in filter(None, (state.stable, state.canary)):
        template = _template_of(seen, revision.hash)
        service = seen.children.services.get(revision.name)
        # Without its stored template a revision cannot be made again, only left as it is.
        if template is None or (service is not None and not is_stopped(service)):
            continue
        manifest = render_inference_service(
            _workload(seen, revision.name, revision.hash, template), seen.owner, stopped=False
        )
        if service is None:
            await world.cluster.create(manifest)
        else:
            await world.cluster.apply(manifest)


def _template_of(seen: Observation, hash: str) -> Mapping[str, Any] | None:
    if seen.resolved is not None and seen.resolved.revision.hash == hash:
        return dict(seen.resolved.spec["template"])
    return seen.children.template(hash)


def _workload(seen: Observation, name: str, hash: str, template: Mapping[str, Any]) -> Workload:
    metadata = seen.owner["metadata"]
    return Workload(metadata["name"], metadata["namespace"], name, hash, template)


async def _stop_others(
    seen: Observation, decision: Decision, route: RouteMemory | None, world: World
) -> bool:
    """Stop what is neither wanted nor routed, once its last requests had time to end."""
    routed = {hash for hash, _ in route.weights} if route else set()
    idle = [
        (hash, manifest)
        for hash, manifest in seen.children.revisions.items()
        if hash not in decision.running and hash not in routed and _is_up(seen, manifest)
    ]
    if not idle:
        return False
    settled = route is None or (
        route.verified_at is not None
        and world.clock.now() - route.verified_at >= world.options.drain
    )
    if not settled:
        return True
    for hash, manifest in idle:
        name, template = manifest["metadata"]["name"], manifest["spec"]["template"]
        workload = _workload(seen, name, hash, template)
        await world.cluster.apply(render_inference_service(workload, seen.owner, stopped=True))
    return False


def _is_up(seen: Observation, revision: Manifest) -> bool:
    service = seen.children.services.get(revision["metadata"]["name"])
    return service is not None and not is_stopped(service)


# --- traffic -------------------------------------------------------------------------------------


async def _ensure_route(seen: Observation, decision: Decision, world: World) -> RouteMemory | None:
    """Write the route if it is not as decided, and wait a little for the gateway to take it up."""
    owner, route = seen.owner, seen.children.route
    listener = _listener(seen)
    if seen.children.foreign_route is not None or listener is None or not decision.backends:
        return seen.memory.route
    backends = [_backend(seen, revision, weight) for revision, weight in decision.backends]
    rendered = render_route(owner["metadata"]["name"], owner, listener, backends)
    if route is not None and is_as_rendered(route, rendered):
        known = seen.memory.route
        view = observe_route(route, listener.gateway)
        verified_at = known.verified_at if known else None
        name = rendered["metadata"]["name"]
        return remember_route(known, name, view.generation, view.weights, verified_at)
    await _check_unchanged(seen, world)
    written = await _write_route(rendered, backends, seen, world)
    weights: Weights = tuple((b.revision, b.weight) for b in backends)
    view, verified = await _await_verified(written, listener.gateway, world)
    verified_at = world.clock.now() if verified else None
    name = rendered["metadata"]["name"]
    return remember_route(seen.memory.route, name, view.generation, weights, verified_at)


def _listener(seen: Observation) -> Listener | None:
    """Return where requests come in: as an accepted spec says, else as they do now."""
    if seen.resolved is not None and seen.deployment is not None:
        return listener_of(seen.deployment)
    return read_listener(seen.children.route) if seen.children.route else None


async def _write_route(
    rendered: Mapping[str, Any], backends: Sequence[Backend], seen: Observation, world: World
) -> Manifest:
    """Write the route; if its new listener is refused, the weights still go to the present one."""
    route = seen.children.route
    if route is None:
        return await world.cluster.create(rendered)
    try:
        return await world.cluster.apply(rendered)
    except Refused:
        present = read_listener(route)
        if present is None or present == read_listener(rendered):
            raise
        name = seen.owner["metadata"]["name"]
        await world.cluster.apply(render_route(name, seen.owner, present, backends))
        raise


def _backend(seen: Observation, revision: Revision, weight: int) -> Backend:
    template = _template_of(seen, revision.hash) or seen.children.shape_of(revision)
    return Backend(revision.hash, service_name(revision.name, template), weight)


async def _check_unchanged(seen: Observation, world: World) -> None:
    """Read the parent and the route once more: metrics may have taken long to answer."""
    metadata = seen.owner["metadata"]
    owner, route = await asyncio.gather(
        world.cluster.get(MODEL_DEPLOYMENT, metadata["namespace"], metadata["name"]),
        world.cluster.get(HTTP_ROUTE, metadata["namespace"], metadata["name"]),
    )
    for before, after in ((seen.owner, owner), (seen.children.route, route)):
        if _version(before) != _version(after):
            name = f"{metadata['namespace']}/{metadata['name']}"
            raise Conflict(f"{name} or its HTTPRoute changed while the evidence was read")


def _version(manifest: Manifest | None) -> str | None:
    return str(manifest["metadata"]["resourceVersion"]) if manifest else None


async def _await_verified(written: Manifest, gateway: str, world: World) -> tuple[RouteView, bool]:
    metadata = written["metadata"]
    view = observe_route(written, gateway)
    deadline = world.clock.now() + world.options.verify_within
    while not view.verified and world.clock.now() < deadline:
        await asyncio.sleep(_VERIFY_POLL.total_seconds())
        route = await world.cluster.get(HTTP_ROUTE, metadata["namespace"], metadata["name"])
        if route is None or route["metadata"]["generation"] != metadata["generation"]:
            break
        view = observe_route(route, gateway)
    return view, view.verified


# --- history -------------------------------------------------------------------------------------


async def forget_old(seen: Observation, decision: Decision, world: World) -> None:
    """Delete the oldest stopped revisions and finished records beyond `spec.history`.

    Proven revisions outlive rejected ones: they are what can be gone back to.
    """
    if seen.deployment is None:
        return
    metadata, keep = seen.owner["metadata"], seen.deployment.spec.history
    resting = [r for h, r in seen.children.revisions.items() if h not in decision.running]
    for revision in _most_useful_first(resting)[keep:]:
        name = revision["metadata"]["name"]
        service = seen.children.services.get(name)
        if service is not None:
            await _delete(INFERENCE_SERVICE, service, world)
        await _delete(MODEL_REVISION, revision, world)
    records = await world.cluster.list(
        MODEL_ROLLOUT, metadata["namespace"], own_labels(metadata["name"])
    )
    # The one that has just ended is being written and counts as one of them.
    current = decision.state.number
    ended = [r for r in records if r["spec"]["number"] != current and _has_ended(r)]
    for record in sorted(ended, key=lambda r: -int(r["spec"]["number"]))[max(keep - 1, 0) :]:
        await _delete(MODEL_ROLLOUT, record, world)


def _has_ended(record: Manifest) -> bool:
    return bool((record.get("status") or {}).get("finishedAt"))


def _most_useful_first(revisions: list[Manifest]) -> list[Manifest]:
    def rank(revision: Manifest) -> tuple[bool, str]:
        proven = bool((revision.get("status") or {}).get("proven"))
        return proven, str(revision["metadata"]["creationTimestamp"])

    return sorted(revisions, key=rank, reverse=True)


async def _delete(kind: Any, manifest: Manifest, world: World) -> None:
    metadata = manifest["metadata"]
    await world.cluster.delete(kind, metadata["namespace"], metadata["name"], metadata["uid"])
