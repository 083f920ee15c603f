"""Make the world as decided: whole desired states, safe to repeat.

Owns the order of writes. Must not decide. Traffic first, then what must run, then what need not run
any more, once the gateway has confirmed that nobody is sent there. A write that finds the world
changed raises Conflict, and the pass starts anew from what is there now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headgate.adapters.kserve import (
    Workload,
    is_stopped,
    own_labels,
    owner_reference,
    render_inference_service,
)
from headgate.core.lifecycle import Revision
from headgate.core.memory import RouteMemory
from headgate.core.rollout import Decision
from headgate.ports import (
    INFERENCE_SERVICE,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    Manifest,
)
from headgate.reconcile.acceptance import Resolved
from headgate.reconcile.observe import Observation
from headgate.reconcile.records import ensure_record
from headgate.reconcile.traffic import ensure_route
from headgate.reconcile.world import World


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
    route = await ensure_route(seen, decision, world)
    for resolved in filter(None, (seen.resolved, seen.restored)):
        if _is_wanted(resolved, decision):
            await _ensure_revision(seen, resolved, world)
    decision, record = await ensure_record(seen, decision, record, world)
    await _ensure_running(seen, decision, world)
    draining = await _stop_others(seen, decision, route, world)
    return Acted(decision, route, record, draining)


def _is_wanted(resolved: Resolved, decision: Decision) -> bool:
    return resolved.revision.hash in decision.running


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


async def _ensure_running(seen: Observation, decision: Decision, world: World) -> None:
    state = decision.state
    for revision in filter(None, (state.stable, state.canary)):
        template = seen.template_of(revision.hash)
        service = seen.children.services.get(revision.name)
        # Without its stored template a revision cannot be made again, only left as it is.
        if template is None or (service is not None and not is_stopped(service)):
            continue
        manifest = render_inference_service(
            _workload(seen, revision.name, revision.hash, template, world),
            seen.owner,
            stopped=False,
        )
        if service is None:
            await world.cluster.create(manifest)
        else:
            await world.cluster.apply(manifest)


def _workload(
    seen: Observation, name: str, hash: str, template: Mapping[str, Any], world: World
) -> Workload:
    metadata = seen.owner["metadata"]
    deployment, namespace = metadata["name"], metadata["namespace"]
    collector = world.options.collector_url if seen.is_watched(hash) else ""
    url = f"{collector}/v1/{namespace}/{deployment}/{hash}" if collector else ""
    return Workload(deployment, namespace, name, hash, template, url)


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
        workload = _workload(seen, name, hash, template, world)
        await world.cluster.apply(render_inference_service(workload, seen.owner, stopped=True))
    return False


def _is_up(seen: Observation, revision: Manifest) -> bool:
    service = seen.children.services.get(revision["metadata"]["name"])
    return service is not None and not is_stopped(service)


async def forget_old(seen: Observation, decision: Decision, world: World) -> None:
    """Delete the oldest stopped revisions and finished records beyond `spec.history`.

    Proven revisions outlive rejected ones: they are what can be gone back to.
    """
    if seen.deployment is None:
        return
    metadata, keep = seen.owner["metadata"], seen.deployment.spec.history
    resting = [r for h, r in seen.children.revisions.items() if h not in decision.running]
    for revision in _most_useful_first(resting, decision.state.last_proven)[keep:]:
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


def _most_useful_first(revisions: list[Manifest], back_to: Revision | None) -> list[Manifest]:
    def rank(revision: Manifest) -> tuple[bool, bool, str]:
        wanted = back_to is not None and revision["spec"]["hash"] == back_to.hash
        proven = bool((revision.get("status") or {}).get("proven"))
        return wanted, proven, str(revision["metadata"]["creationTimestamp"])

    return sorted(revisions, key=rank, reverse=True)


async def _delete(kind: Any, manifest: Manifest, world: World) -> None:
    metadata = manifest["metadata"]
    await world.cluster.delete(kind, metadata["namespace"], metadata["name"], metadata["uid"])
