"""The one write that moves traffic, and the wait for the gateway to take it up.

Owns when the route is written and what is remembered of it. Must not know why a weight is what it
is, nor touch a route that is not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
    service_name,
)
from headgate.core.lifecycle import Revision
from headgate.core.memory import RouteMemory, Weights, remember_route
from headgate.core.rollout import Decision
from headgate.ports import (
    HTTP_ROUTE,
    MODEL_DEPLOYMENT,
    Conflict,
    Manifest,
    Refused,
)
from headgate.reconcile.acceptance import listener_of
from headgate.reconcile.observe import Observation
from headgate.reconcile.world import World

_VERIFY_POLL = timedelta(milliseconds=100)


async def ensure_route(seen: Observation, decision: Decision, world: World) -> RouteMemory | None:
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
    accepted = seen.resolved is not None or seen.restored is not None
    if accepted and seen.deployment is not None:
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
    template = seen.template_of(revision.hash) or seen.children.shape_of(revision)
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
