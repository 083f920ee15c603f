"""Can this spec be acted upon, and which revision does it ask for?

Owns the checks that need a look at the world, and the resolving of a template into a hash. Must
not know phases, weights or evidence. A world that does not answer is no objection: the read
raises Unavailable and the pass is tried again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.adapters.gateway import (
    Listener,
    conflicting_host,
    read_listener,
    render_timeout,
)
from headgate.adapters.kserve import MANAGED_BY, MANAGED_BY_LABEL, is_controlled_by, runtime_of
from headgate.adapters.profiles import ProfileUnusable
from headgate.api.accept import PROVEN, TEMPLATE
from headgate.api.model_deployment import ModelDeployment
from headgate.api.model_rollout import Policy
from headgate.api.proven_revision import ProvenRevision
from headgate.core.conditions import Objection
from headgate.core.lifecycle import Revision
from headgate.core.revision import (
    References,
    content_hash,
    references,
    revision_hash,
    revision_name,
)
from headgate.ports import (
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    GATEWAY,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_REVISION,
    SECRET,
    SERVING_RUNTIME,
    Forbidden,
    Kind,
    Manifest,
    MetricsUnavailable,
    NotCounted,
    check_type,
)
from headgate.reconcile.profiles import read_profile
from headgate.reconcile.sources import own_source, signals_of
from headgate.reconcile.world import World


class Objected(Exception):
    """The spec cannot be acted upon; carries the objection up to the one place that reports it."""

    def __init__(self, objection: Objection) -> None:
        super().__init__(objection.message)
        self.objection = objection


@dataclass(frozen=True, slots=True)
class Resolved:
    """The revision a spec asks for, and the ModelRevision spec that keeps it."""

    revision: Revision
    spec: Mapping[str, Any]
    untracked: tuple[str, ...]


def listener_of(deployment: ModelDeployment) -> Listener:
    """Return where the requests of this deployment come in."""
    traffic = deployment.spec.traffic
    return Listener(
        gateway=traffic.gateway.name,
        gateway_namespace=traffic.gateway.namespace,
        section=traffic.gateway.section_name,
        hostnames=traffic.hostnames,
        path_prefix=traffic.path_prefix,
        timeout=render_timeout(traffic.timeout.timedelta) if traffic.timeout else None,
    )


async def resolve(
    deployment: ModelDeployment, stored: Collection[Manifest], world: World
) -> Resolved:
    """Resolve everything the template names into one hash; raises Objected for what is absent.

    `stored` are the ModelRevisions that there are.
    """
    namespace = deployment.metadata.namespace
    template = deployment.spec.template.manifest()
    track = world.options.track_secrets
    named, runtime, config_maps, secrets = await _read_named(
        TEMPLATE, template, namespace, track, stored, world
    )
    untracked = () if track else named.secrets
    digest = deployment.spec.model.digest
    reference = await _reference(deployment, stored, world)
    hash = revision_hash(
        template=template,
        digest=digest,
        config_maps=config_maps,
        secrets=secrets,
        runtime_hash=runtime.get("hash") if runtime else None,
        profile=reference["digest"] if reference else None,
    )
    name = revision_name(deployment.metadata.name, hash)
    spec: dict[str, Any] = {
        "deployment": deployment.metadata.name,
        "hash": hash,
        "model": deployment.spec.model.manifest(),
        "template": template,
        "configMaps": [{"name": name, "hash": config_maps[name]} for name in sorted(config_maps)],
        # Names only: from the hash of a short secret its reader could guess it back.
        "secrets": sorted(secrets),
        "untracked": list(untracked),
    }
    if runtime:
        spec["runtime"] = runtime
    if reference:
        spec["drift"] = {"reference": reference}
    revision = Revision(name, hash, deployment.spec.model.version)
    return Resolved(revision, spec, untracked)


async def _read_named(
    field: str,
    template: Mapping[str, Any],
    namespace: str,
    track_secrets: bool,
    stored: Collection[Manifest],
    world: World,
) -> tuple[References, dict[str, str] | None, dict[str, str], dict[str, str]]:
    """Read what the template at `field` names: its runtime, and the contents' hashes by name."""
    named = references(template["spec"], (template.get("metadata") or {}).get("annotations"))
    _check_names(field, named)
    tracked = named.secrets if track_secrets else ()
    maps, optional = named.config_maps, named.optional_config_maps
    runtime, config_maps, secrets = await asyncio.gather(
        _runtime(field, template, namespace, stored, world),
        _contents(field, CONFIG_MAP, maps, optional, namespace, world),
        _contents(field, SECRET, tracked, named.optional_secrets, namespace, world),
    )
    return named, runtime, config_maps, secrets


async def resolve_proven(
    deployment: ModelDeployment, proven: ProvenRevision, world: World
) -> Resolved:
    """Resolve what Git keeps of a proven revision, if the world can still serve the same.

    Raises Objected where a ConfigMap, a Secret or the runtime is not what it was proven with: what
    came up would be something else, and nobody has proven that.
    """
    namespace, track = deployment.metadata.namespace, bool(proven.secrets)
    if track and not world.options.track_secrets:
        wanted = "an operator that may read Secrets, as it was proven by one"
        found = "one that may not"
        raise Objected(Objection("InvalidSpec", f"{PROVEN}.secrets", wanted, found))
    _, runtime, config_maps, secrets = await _read_named(
        f"{PROVEN}.template", proven.template.manifest(), namespace, track, (), world
    )
    if runtime and proven.runtime and proven.runtime.hash is None:
        # It was proven where the runtime could not be read, and that is no part of its hash.
        runtime.pop("hash", None)
    kept = {one.name: one.hash for one in proven.config_maps}
    for name in sorted(kept.keys() | config_maps.keys()):
        _check_same(f"configMaps[{name}].hash", kept.get(name), config_maps.get(name))
    _check_same("runtime.hash", _runtime_text(proven), _told_runtime(runtime))
    _check_same("hash", proven.hash, proven.hash_with(secrets))
    name = revision_name(deployment.metadata.name, proven.hash)
    spec = {"deployment": deployment.metadata.name, **proven.revision_spec}
    revision = Revision(name, proven.hash, proven.model.version)
    return Resolved(revision, spec, proven.untracked)


def _check_same(field: str, proven: str | None, now: str | None) -> None:
    if proven != now:
        wanted = f"{proven or 'none'}, as it was proven"
        raise Objected(Objection("Conflict", f"{PROVEN}.{field}", wanted, now or "none"))


def _runtime_text(proven: ProvenRevision) -> str | None:
    return _told_runtime(proven.runtime.manifest() if proven.runtime else None)


def _told_runtime(runtime: Mapping[str, str] | None) -> str | None:
    if runtime is None:
        return None
    return f"{runtime['kind']} {runtime['name']} {runtime.get('hash', 'that may not be read')}"


async def _reference(
    deployment: ModelDeployment, stored: Collection[Manifest], world: World
) -> Mapping[str, Any] | None:
    """Read the training data's profile; its contents are part of the revision."""
    drift = deployment.spec.drift
    if drift is None:
        return None
    if not world.options.collector_url:
        wanted = "an operator with --collector-url, as only the collector sees a model's data"
        raise Objected(Objection("InvalidSpec", "spec.drift", wanted, "none"))
    try:
        referred = await read_profile(deployment.metadata.namespace, drift.reference, stored, world)
    except ProfileUnusable as error:
        reason = "NotFound" if error.found == "none" else "InvalidSpec"
        raise Objected(Objection(reason, error.field, error.wanted, error.found)) from error
    if drift.predictions is not None and referred.profile.predictions is None:
        wanted = "a profile with predictions (headgate profile build --predictions COLUMN)"
        raise Objected(Objection("InvalidSpec", "spec.drift.predictions", wanted, "none in it"))
    return referred.kept


_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MOST_NAMES = 64
"""How many ConfigMaps, and how many Secrets, a revision can list; the schema's bound."""


def _check_names(field: str, named: References) -> None:
    """Refuse names that no object can have, before they become part of a URL or a status."""
    field = f"{field}.spec"
    for kind, names in (("ConfigMap", named.config_maps), ("Secret", named.secrets)):
        for name in names:
            if len(name) > 253 or not _NAME.fullmatch(name):
                wanted = f"a {kind} name as Kubernetes allows it"
                raise Objected(Objection("InvalidSpec", field, wanted, repr(name)[:80]))
        if len(names) > _MOST_NAMES:
            wanted = f"at most {_MOST_NAMES} {kind}s"
            raise Objected(Objection("InvalidSpec", field, wanted, str(len(names))))


async def _contents(
    field: str,
    kind: Kind,
    names: Sequence[str],
    optional: Collection[str],
    namespace: str,
    world: World,
) -> dict[str, str]:
    found = await asyncio.gather(*(world.cluster.get(kind, namespace, n) for n in names))
    hashes: dict[str, str] = {}
    for name, manifest in zip(names, found, strict=True):
        if manifest is None and name in optional:
            continue
        if manifest is None:
            raise Objected(_absent(f"{field}.spec", f"{kind.kind} {namespace}/{name}"))
        hashes[name] = content_hash(
            {key: manifest.get(key) or {} for key in ("data", "binaryData")}
        )
    return hashes


async def _runtime(
    field: str,
    template: Mapping[str, Any],
    namespace: str,
    stored: Collection[Manifest],
    world: World,
) -> dict[str, str] | None:
    name = runtime_of(template)
    if name is None:
        return None
    # KServe prefers the namespace's runtime over the cluster's of the same name.
    for kind, place in ((SERVING_RUNTIME, namespace), (CLUSTER_SERVING_RUNTIME, None)):
        try:
            manifest = await world.cluster.get(kind, place, name)
        except Forbidden:
            if place is not None or _must_be_tracked(name, stored, world):
                raise
            return {"kind": kind.kind, "name": name}
        if manifest is not None:
            return {"kind": kind.kind, "name": name, "hash": content_hash(manifest["spec"])}
    wanted = f"a ServingRuntime in {namespace} or a ClusterServingRuntime named {name}"
    raise Objected(_absent(f"{field}.spec.predictor.model.runtime", wanted))


def _must_be_tracked(name: str, stored: Collection[Manifest], world: World) -> bool:
    """Whether a ClusterServingRuntime that may not be read is an objection.

    An operator for some namespaces has no rights in the cluster, and does without. Not so if a
    revision was made with its contents: a right that is missing for a moment, as while an API
    server starts, would make another revision of the same spec.
    """
    runtimes = [revision["spec"].get("runtime") or {} for revision in stored]
    known = any(each.get("name") == name and "hash" in each for each in runtimes)
    return known or not world.options.namespaces


def _absent(field: str, wanted: str) -> Objection:
    return Objection("NotFound", field, wanted, "none")


async def check_signals(deployment: ModelDeployment, world: World) -> None:
    """Raise Objected for a signal that no pack knows, or whose series are no raw counters.

    A Prometheus that does not answer says nothing against a signal.
    """
    for index, signal in enumerate(deployment.spec.signals):
        field = f"spec.signals[{index}]"
        try:
            source = own_source(signal)
            if signal.pack is not None:
                signals_of(Policy(signals=(signal,)), None)
        except ValueError as error:
            raise Objected(
                Objection("InvalidSpec", field, "a signal there is", str(error))
            ) from error
        selectors = (source.bad, source.total, source.histogram, source.categories)
        for metric in sorted({one.metric for one in selectors if one is not None}):
            await _check_type(f"{field} ({metric})", metric, world)


async def _check_type(field: str, metric: str, world: World) -> None:
    try:
        found = await world.metrics.type_of(metric, world.clock.now())
    except MetricsUnavailable:
        found = None
    try:
        check_type(metric, found)
    except NotCounted as error:
        raise Objected(Objection("InvalidSpec", field, error.wanted, error.found)) from error


async def check_gateway(deployment: ModelDeployment, world: World) -> None:
    """Raise Objected if the Gateway, or the listener named, does not exist."""
    wanted = deployment.spec.traffic.gateway
    namespace = wanted.namespace or deployment.metadata.namespace
    gateway = await world.cluster.get(GATEWAY, namespace, wanted.name)
    if gateway is None:
        text = f"Gateway {namespace}/{wanted.name}"
        raise Objected(_absent("spec.traffic.gateway.name", text))
    sections = [entry["name"] for entry in gateway["spec"].get("listeners", ())]
    if wanted.section_name and wanted.section_name not in sections:
        field = "spec.traffic.gateway.sectionName"
        found = ", ".join(sections) or "none"
        raise Objected(Objection("NotFound", field, f"a listener {wanted.section_name}", found))


async def check_hostnames(
    owner: Manifest, deployment: ModelDeployment, route: Manifest | None, world: World
) -> None:
    """Raise Objected if another ModelDeployment has claimed one of our hostnames.

    Asked only while a claim is made: routes of all namespaces that we may look at are read for it.
    """
    listener = listener_of(deployment)
    if route is not None and read_listener(route) == listener:
        return
    label = {MANAGED_BY_LABEL: MANAGED_BY}
    places = world.options.namespaces or (None,)
    found = await asyncio.gather(*(world.cluster.list(HTTP_ROUTE, each, label) for each in places))
    conflict = conflicting_host([one for each in found for one in each], owner, listener)
    if conflict is not None:
        host, other = conflict
        text = f"{host}, which ModelDeployment {other} has claimed"
        wanted = f"hostnames that no other ModelDeployment has at gateway {listener.gateway}"
        raise Objected(Objection("Conflict", "spec.traffic.hostnames", wanted, text))


def check_ownership(
    owner: Manifest, revision_name: str, held: Mapping[Kind, Manifest | None]
) -> None:
    """Raise Objected if an object with a name of ours belongs to somebody else.

    It is never taken over: whoever made it relies on it.
    """
    for kind in (HTTP_ROUTE, INFERENCE_SERVICE, MODEL_REVISION):
        manifest = held.get(kind)
        if manifest is None or is_controlled_by(manifest, owner):
            continue
        name = owner["metadata"]["name"] if kind is HTTP_ROUTE else revision_name
        wanted = f"no {kind.kind} {name} but our own"
        found = "one that this ModelDeployment does not control"
        raise Objected(Objection("Conflict", "metadata.name", wanted, found))
