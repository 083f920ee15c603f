"""What stays of a ModelDeployment that is released: plain KServe and Gateway API objects.

Owns which they are and what Git should have of them. Must not read or write the cluster.
"""

from __future__ import annotations

from typing import Any

from headgate.adapters.kserve import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, REVISION_LABEL
from headgate.ports import HTTP_ROUTE, Manifest

_COMPONENTS = ("-predictor", "-transformer")
_NOISE = "kubectl.kubernetes.io/last-applied-configuration"


def kept_service(route: Manifest) -> str | None:
    """Name the InferenceService that has all requests of a route; None if no one has all."""
    rules = route["spec"].get("rules") or ()
    names = {ref.get("name", "") for rule in rules for ref in rule.get("backendRefs") or ()}
    if len(names) != 1:
        return None
    name = names.pop()
    return next((name.removesuffix(c) for c in _COMPONENTS if name.endswith(c)), None)


def other_owners(manifest: Manifest, owner: Manifest) -> list[Any]:
    """Return the owners of an object but this one."""
    uid = owner["metadata"]["uid"]
    return [o for o in manifest["metadata"].get("ownerReferences") or () if o["uid"] != uid]


def render_left(manifest: Manifest) -> dict[str, Any]:
    """Render what Git should have of an object that stays, so that applying it changes nothing.

    An InferenceService keeps all of its labels, Headgate's too: to change one would start its pods
    anew.
    """
    metadata = manifest["metadata"]
    is_route = manifest["kind"] == HTTP_ROUTE.kind
    ours = (DEPLOYMENT_LABEL, MANAGED_BY_LABEL, REVISION_LABEL) if is_route else ()
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k not in ours}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _NOISE}
    kept: dict[str, Any] = {"name": metadata["name"], "namespace": metadata["namespace"]}
    kept |= {"labels": labels} if labels else {}
    kept |= {"annotations": annotations} if annotations else {}
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": kept,
        "spec": manifest["spec"],
    }
