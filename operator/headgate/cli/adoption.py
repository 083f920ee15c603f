"""From an InferenceService that runs to the ModelDeployment that would serve the same.

Owns what is taken over, what is left out as the server's or a tool's own, and what cannot be
adopted. Must not read or write the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.adapters.kserve import (
    AUTOSCALER_ANNOTATION,
    DEPLOYMENT_LABEL,
    MODE_ANNOTATION,
    STOP_ANNOTATION,
    VISIBILITY_LABEL,
    component_of,
    with_public_name,
)
from headgate.ports import MODEL_DEPLOYMENT, Manifest

ADOPTED = "headgate.dev/adopted-from"
"""Annotation of a ModelDeployment: the InferenceService that it took over."""

COMPONENTS = ("predictor", "transformer", "explainer")

# Kept by the server, by KServe's webhook, or by the tool that applied the object.
_NOT_OURS = (
    "kubectl.kubernetes.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "helm.sh/",
    "config.kubernetes.io/",
    "headgate.dev/",
)
_NOT_OURS_WHOLE = frozenset(
    {
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/instance",
        "modelFormat",
        MODE_ANNOTATION,
        STOP_ANNOTATION,
        VISIBILITY_LABEL,
    }
)
_TRACKED_BY = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}
_VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+-]{0,61}[A-Za-z0-9])?")
_ALL_PATHS = ("/", "^/.*$")


class Unadoptable(Exception):
    """What cannot be taken over as it is; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where the requests of a model come in: a Gateway, host names, and the longest a request may
    take there (None: no limit)."""

    gateway: str
    gateway_namespace: str
    hostnames: tuple[str, ...]
    section: str | None = None
    timeout: str | None = None


def tracked_by(manifest: Manifest) -> str:
    """Name the tool whose marks are on an object, and that would make it again; "" for none."""
    metadata = manifest["metadata"]
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return next((tool for mark, tool in _TRACKED_BY.items() if mark in marks), "")


def services_of(service: str) -> tuple[str, ...]:
    """Name all Services, and Deployments, that KServe makes of an InferenceService."""
    return tuple(f"{service}-{component}" for component in COMPONENTS)


def leads_to(route: Manifest, service: str) -> bool:
    """Whether an HTTPRoute sends requests to an InferenceService of its namespace."""
    return bool(set(_backends(route, route["metadata"]["namespace"])) & set(services_of(service)))


def _backends(route: Manifest, namespace: str) -> list[str]:
    return [
        str(ref.get("name"))
        for rule in route["spec"].get("rules") or ()
        for ref in rule.get("backendRefs") or ()
        if ref.get("kind", "Service") == "Service" and ref.get("namespace", namespace) == namespace
    ]


def check_adoptable(service: Manifest) -> None:
    """Raise Unadoptable for what no ModelDeployment can stand for."""
    metadata, spec = service["metadata"], service["spec"]
    name = f"InferenceService {metadata['namespace']}/{metadata['name']}"
    annotations = metadata.get("annotations") or {}
    mode = (service.get("status") or {}).get("deploymentMode") or annotations.get(MODE_ANNOTATION)
    if mode not in (None, "Standard", "RawDeployment"):
        raise Unadoptable(f"{name}: wanted deployment mode Standard, found {mode}")
    owners = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
    if owners:
        raise Unadoptable(f"{name} belongs to {owners[0]['kind']} {owners[0]['name']} already")
    if annotations.get(STOP_ANNOTATION) == "true":
        raise Unadoptable(f"{name} is stopped: it serves nothing that could be taken over")
    if spec.get("canary"):
        raise Unadoptable(f"{name} has a canary: end it first, Headgate moves the traffic")


def find_front(routes: Sequence[Manifest], service: Manifest) -> Front:
    """Find where requests come in, from the routes that lead to the InferenceService.

    Raises Unadoptable where that is not one place, or a route does more than lead there; the
    options say it then.
    """
    entry = f"{service['metadata']['name']}-{component_of(service)}"
    fronts = [_front(route, entry) for route in routes if _is_front(route, service)]
    if not fronts:
        raise Unadoptable(
            "no HTTPRoute leads to it: say where it is to be served by --gateway and --hostname"
        )
    first = fronts[0]
    places = {(front.gateway_namespace, front.gateway, front.section) for front in fronts}
    if len(places) > 1:
        told = ", ".join(sorted(f"{namespace}/{name}" for namespace, name, _ in places))
        raise Unadoptable(f"routes at several gateways lead to it ({told}): choose by --gateway")
    hostnames = tuple(dict.fromkeys(host for front in fronts for host in front.hostnames))
    timeouts = {front.timeout for front in fronts}
    timeout = first.timeout if len(timeouts) == 1 else None
    return Front(first.gateway, first.gateway_namespace, hostnames, first.section, timeout)


def _is_front(route: Manifest, service: Manifest) -> bool:
    """A route of KServe's for one component is not how clients come in; its own for all is."""
    name = service["metadata"]["name"]
    return leads_to(route, name) and route["metadata"]["name"] not in services_of(name)


def _front(route: Manifest, entry: str) -> Front:
    metadata, spec = route["metadata"], route["spec"]
    name = f"HTTPRoute {metadata['namespace']}/{metadata['name']}"
    rules = spec.get("rules") or []
    paths = [
        (match.get("path") or {}).get("value", "/")
        for rule in rules
        for match in rule.get("matches") or [{}]
    ]
    others = [one for one in _backends(route, metadata["namespace"]) if one != entry]
    filters = [one for rule in rules for one in rule.get("filters") or () if not _is_kserve(one)]
    if others or filters or any(path not in _ALL_PATHS for path in paths):
        raise Unadoptable(
            f"{name} does more than lead all requests to Service {entry}: say where the model is "
            "to be served by --gateway and --hostname, and change that route by hand"
        )
    parents = spec.get("parentRefs") or []
    if len(parents) != 1 or not spec.get("hostnames"):
        raise Unadoptable(f"{name}: wanted one gateway and host names of its own, found others")
    parent = parents[0]
    timeouts = {(rule.get("timeouts") or {}).get("request") for rule in rules}
    return Front(
        gateway=parent["name"],
        gateway_namespace=parent.get("namespace") or metadata["namespace"],
        hostnames=tuple(spec["hostnames"]),
        section=parent.get("sectionName"),
        timeout=next(iter(timeouts)) if len(timeouts) == 1 else None,
    )


def _is_kserve(filter: Mapping[str, Any]) -> bool:
    """KServe tells its models by headers which InferenceService was meant; they need none."""
    edits = filter.get("requestHeaderModifier") or {}
    names = {str(one.get("name", "")) for one in edits.get("set") or ()}
    return names <= {"KServe-Isvc-Name", "KServe-Isvc-Namespace"} and bool(names)


def render_adopted(service: Manifest, name: str, front: Front) -> dict[str, Any]:
    """Render the ModelDeployment `name` that serves what the InferenceService serves.

    The model keeps the name that clients call it by, whatever the deployment is called.
    """
    metadata = service["metadata"]
    spec = _clean(service["spec"])
    if name != metadata["name"]:
        spec = with_public_name(spec, metadata["name"])
    gateway = {"name": front.gateway, "namespace": front.gateway_namespace}
    if front.section:
        gateway["sectionName"] = front.section
    traffic: dict[str, Any] = {"gateway": gateway, "hostnames": list(front.hostnames)}
    if front.timeout:
        traffic["timeout"] = front.timeout
    kept = _metadata(metadata, spec)
    template = {"metadata": kept, "spec": spec} if kept else {"spec": spec}
    return {
        "apiVersion": MODEL_DEPLOYMENT.api_version,
        "kind": MODEL_DEPLOYMENT.kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "annotations": {ADOPTED: metadata["name"]},
        },
        "spec": {
            "model": {"version": _version(spec)},
            "template": template,
            "traffic": traffic,
        },
    }


def _metadata(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    labels = _own(metadata.get("labels") or {})
    annotations = _own(metadata.get("annotations") or {})
    predictor = spec["predictor"]
    scales = predictor.get("maxReplicas", 0) > predictor.get("minReplicas", 1)
    if scales and AUTOSCALER_ANNOTATION not in annotations:
        # KServe's default, which Headgate's is not: what scaled by itself goes on doing so.
        annotations[AUTOSCALER_ANNOTATION] = "hpa"
    kept = {"labels": labels, "annotations": annotations}
    return {key: value for key, value in kept.items() if value}


def _own(entries: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in entries.items()
        if key not in _NOT_OURS_WHOLE and key != DEPLOYMENT_LABEL and not key.startswith(_NOT_OURS)
    }


def _clean(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what KServe's types write though nobody said it, and what it ignores itself."""
    cleaned: dict[str, Any] = {}
    for component, found in spec.items():
        if component in COMPONENTS and isinstance(found, Mapping):
            kept = {k: v for k, v in found.items() if k != "canaryTrafficPercent"}
            if isinstance(kept.get("model"), Mapping):
                kept["model"] = _clean_container(kept["model"])
            cleaned[component] = kept
        elif found not in (None, {}, []):
            cleaned[component] = found
    return cleaned


def _clean_container(container: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"name": "", "resources": {}}
    return {k: v for k, v in container.items() if k not in empty or v not in (empty[k], None)}


def _version(spec: Mapping[str, Any]) -> str:
    """Guess the version: the last part of the model's address, if it can be one; else 1."""
    uri = str((spec["predictor"].get("model") or {}).get("storageUri") or "")
    last = uri.rstrip("/").rpartition("/")[2]
    return last if _VERSION.fullmatch(last) else "1"


OBJECTIVES = """\
  # What would be a breach. Without objectives a canary is still compared with the stable version.
  # objectives:
  # - {name: availability, target: "99.9", errors: {}}
  # - {name: latency, target: "99", latency: {threshold: 250ms}}
"""
