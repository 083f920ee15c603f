"""Gateway API: the one HTTPRoute that moves traffic, rendered whole and read back.

Owns the shape of the route and what counts as verified. Must not know why a weight is what it is.
Every backendRef carries a filter of its own: without one, Envoy Gateway merges a rule's backends
into one cluster and there are no metrics per revision (envoyproxy/gateway issues 6742, 7008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headgate.adapters.kserve import own_labels, owner_reference
from headgate.ports import Manifest

REVISION_HEADER = "headgate-revision"


@dataclass(frozen=True, slots=True)
class Listener:
    """Where requests come in, as `spec.traffic` says. `timeout` is Gateway API's duration text."""

    gateway: str
    gateway_namespace: str | None
    section: str | None
    hostnames: tuple[str, ...]
    path_prefix: str
    timeout: str | None


@dataclass(frozen=True, slots=True)
class Backend:
    """One revision's share: the Service requests go to, and an integer percent of them."""

    revision: str
    service: str
    weight: int


@dataclass(frozen=True, slots=True)
class RouteView:
    """An HTTPRoute as it was read.

    Attributes:
        generation: Of the spec that was read.
        weights: Revision hash and weight of each backend, by list position.
        verified: The gateway has accepted this very generation and resolved all of its backends.
        problem: What the gateway says against it; "" if it is verified or has not said anything.
    """

    generation: int
    weights: tuple[tuple[str, int], ...]
    verified: bool
    problem: str


def render_timeout(timeout: timedelta) -> str:
    """Render a timeout as Gateway API writes durations (GEP-2257), which knows no days."""
    seconds, rest = divmod(timeout, timedelta(seconds=1))
    milliseconds = rest // timedelta(milliseconds=1)
    parts = [f"{seconds}s" if seconds else "", f"{milliseconds}ms" if milliseconds else ""]
    return "".join(parts) or "0s"


def render_route(
    name: str, owner: Manifest, listener: Listener, backends: Sequence[Backend]
) -> dict[str, Any]:
    """Render the whole HTTPRoute; backends keep their order, since metrics are named by position.

    A backend without weight is left out: weight 0 leaks requests on some gateways.
    """
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": listener.path_prefix}}],
        "backendRefs": [_backend_ref(b) for b in backends if b.weight > 0],
    }
    if listener.timeout is not None:
        rule["timeouts"] = {"request": listener.timeout}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": own_labels(owner["metadata"]["name"]),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "parentRefs": [_parent_ref(listener)],
            "hostnames": list(listener.hostnames),
            "rules": [rule],
        },
    }


def _backend_ref(backend: Backend) -> dict[str, Any]:
    header = {"name": REVISION_HEADER, "value": backend.revision}
    return {
        "group": "",
        "kind": "Service",
        "name": backend.service,
        "port": 80,
        "weight": backend.weight,
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header]}}],
    }


def _parent_ref(listener: Listener) -> dict[str, Any]:
    reference = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": listener.gateway,
    }
    if listener.gateway_namespace:
        reference["namespace"] = listener.gateway_namespace
    if listener.section:
        reference["sectionName"] = listener.section
    return reference


def read_listener(route: Manifest) -> Listener | None:
    """Read back where requests come in, from a route of ours; None if a hand took that out.

    A spec that cannot be read must not keep traffic from going back.
    """
    spec = route["spec"]
    parents, rules = list(spec.get("parentRefs") or []), list(spec.get("rules") or [])
    matches = list(rules[0].get("matches") or []) if rules else []
    if not parents or not matches:
        return None
    return Listener(
        gateway=parents[0]["name"],
        gateway_namespace=parents[0].get("namespace"),
        section=parents[0].get("sectionName"),
        hostnames=tuple(spec.get("hostnames") or ()),
        path_prefix=(matches[0].get("path") or {}).get("value", "/"),
        timeout=(rules[0].get("timeouts") or {}).get("request"),
    )


def is_as_rendered(route: Manifest, rendered: Manifest) -> bool:
    """Whether the route is what we would write; the server may have added defaults."""
    same = read_listener(route) == read_listener(rendered)
    return (
        same
        and _covers(route["spec"], rendered["spec"])
        and _covers(route["metadata"].get("labels", {}), rendered["metadata"]["labels"])
    )


def _covers(found: Any, wanted: Any) -> bool:
    match wanted:
        case Mapping():
            return isinstance(found, Mapping) and all(
                k in found and _covers(found[k], v) for k, v in wanted.items()
            )
        case list():
            return (
                isinstance(found, list)
                and len(found) == len(wanted)
                and all(_covers(f, w) for f, w in zip(found, wanted, strict=True))
            )
    return bool(found == wanted)


def observe_route(route: Manifest, gateway: str) -> RouteView:
    """Read the weights in force and whether the gateway of this name has taken them up."""
    generation = int(route["metadata"]["generation"])
    problem, verified = _verdict(route, gateway, generation)
    return RouteView(generation, _weights(route), verified, problem)


def _weights(route: Manifest) -> tuple[tuple[str, int], ...]:
    rules = route["spec"].get("rules") or [{}]
    references = rules[0].get("backendRefs") or ()
    return tuple((_revision_of(r), int(r.get("weight", 1))) for r in references)


def _revision_of(reference: Mapping[str, Any]) -> str:
    for entry in reference.get("filters", ()):
        for header in entry.get("requestHeaderModifier", {}).get("set", ()):
            if header["name"] == REVISION_HEADER:
                return str(header["value"])
    return ""


def _verdict(route: Manifest, gateway: str, generation: int) -> tuple[str, bool]:
    parents = route.get("status", {}).get("parents", ())
    ours = [p for p in parents if p.get("parentRef", {}).get("name") == gateway]
    seen: dict[str, str] = {}
    for parent in ours:
        for condition in parent.get("conditions", ()):
            if condition.get("observedGeneration", 0) != generation:
                continue
            seen[condition["type"]] = condition["status"]
            if condition["status"] == "False" and condition["type"] in ("Accepted", "ResolvedRefs"):
                text = f"{condition['reason']}: {condition.get('message', '')}"
                return f"HTTPRoute {route['metadata']['name']}: {text}", False
    return "", seen.get("Accepted") == "True" and seen.get("ResolvedRefs") == "True"


def conflicting_host(
    routes: Sequence[Manifest], owner: Manifest, listener: Listener
) -> tuple[str, str] | None:
    """Return (hostname, ModelDeployment) of another route of ours that has claimed it, or None.

    The gateway would let the older route win without a word; we say so before writing anything.
    """
    for route in routes:
        metadata, spec = route["metadata"], route["spec"]
        if any(
            r["uid"] == owner["metadata"]["uid"] for r in metadata.get("ownerReferences", ())
        ) or not _same_place(spec, metadata["namespace"], owner, listener):
            continue
        shared = sorted(set(spec.get("hostnames", ())) & set(listener.hostnames))
        if shared:
            return shared[0], f"{metadata['namespace']}/{metadata['name']}"
    return None


def _same_place(
    spec: Mapping[str, Any], namespace: str, owner: Manifest, listener: Listener
) -> bool:
    wanted = (listener.gateway, listener.gateway_namespace or owner["metadata"]["namespace"])
    # Gateway API reads a PathPrefix with and without a trailing slash alike.
    prefix = listener.path_prefix.rstrip("/")
    parents = [(p["name"], p.get("namespace", namespace)) for p in spec.get("parentRefs", ())]
    paths = [
        m.get("path", {}).get("value", "/").rstrip("/")
        for r in spec.get("rules", ())
        for m in r.get("matches", ())
    ]
    return wanted in parents and prefix in paths
